"""NodeTopology: the settings in force on a node, its hardware, and what has been given out there.

One object, three writers. ``spec`` is the operator's (or a person's); of ``status`` the agent
owns ``hardware``, ``hugepagesInUse``, ``agent``, its conditions and three texts of ``summary``;
the operator owns ``observedGeneration``, ``allocation``, its conditions and the other texts. Each
renders only its part and applies it server-side under its own field manager. Where there is no
object, the agent makes one without settings (``registration``): the hardware can be seen before
there is a profile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import (
    CpuManagerPolicy,
    KubeletRelease,
    ManagerSettings,
    MemoryManagerPolicy,
    quantities,
)
from podnuma.allocator.memory.others import PagesInUse
from podnuma.api import names
from podnuma.api.conditions import Condition, read_conditions, render_conditions
from podnuma.api.decoding import FieldError, FieldErrors, Fields, choice, integer, text
from podnuma.api.hardware import MAX_GROUPS, Hardware, read_hardware, render_hardware
from podnuma.api.node_allocation import (
    NodeAllocation,
    allocation_summary,
    read_node_allocation,
    render_node_allocation,
)
from podnuma.api.node_settings import (
    Mode,
    NodeSettings,
    PodPolicy,
    read_node_settings,
    render_node_settings,
)
from podnuma.api.object_metadata import Metadata, read_metadata, subject
from podnuma.api.quantity import read_bytes
from podnuma.api.resource_types import NODE_TOPOLOGY

MAX_PAGES_IN_USE: Final = 512
"""Entries of ``status.hugepagesInUse``; pods beyond it are told without their UID."""

_SHOWN_ERRORS: Final = 3
_OPERATOR_SUMMARY: Final = ("exclusive", "shared", "pods", "freeMemory")


@dataclass(frozen=True, slots=True)
class ProfileReference:
    """The NodeProfile that the settings of a node come from."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says about itself. Times are RFC 3339."""

    version: str = ""
    mechanism: str = ""
    runtime: str = ""
    failure_policy: str = ""
    cgroup_driver: str = ""
    boot_id: str = ""
    heartbeat_time: str = ""


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """A NodeTopology as stored. ``hardware`` is None until the agent has reported.

    ``pages_in_use`` are the huge pages that are in use and in no grant that the agent knows.
    ``unreadable`` are the errors in the status. A part with an error (the hardware, the agent's report,
    what is given out) is taken as absent, a condition as Unknown.
    """

    metadata: Metadata
    profile: ProfileReference | None
    node: NodeSettings
    hardware: Hardware | None = None
    pages_in_use: tuple[PagesInUse, ...] = ()
    agent: AgentReport | None = None
    allocation: NodeAllocation | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    unreadable: tuple[FieldError, ...] = ()

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.metadata.name

    @property
    def has_settings(self) -> bool:
        """Whether anybody wants something of the node: a profile, or who wrote a policy by hand."""
        managers = self.node.managers
        return (
            self.profile is not None
            or managers.cpu_manager_policy is not CpuManagerPolicy.NONE
            or managers.memory_manager_policy is not MemoryManagerPolicy.NONE
        )

    @property
    def hardware_problem(self) -> str | None:
        """What is wrong with the hardware that is stored; None if it can be read or is not there."""
        wrong = [error for error in self.unreadable if _is_within(error.path, "status.hardware")]
        return "; ".join(str(error) for error in wrong[:_SHOWN_ERRORS]) or None


def read_node_topology(value: Any) -> NodeTopology:
    """Read the NodeTopology in a JSON object.

    Raises ``InvalidObjectError`` with everything wrong with its spec. What is wrong with its status
    stands in ``unreadable``.
    """
    errors, unreadable = FieldErrors(), FieldErrors()
    fields = Fields.of(value, "", errors)
    spec = fields.fields("spec")
    status = fields.tolerant("status", unreadable)
    topology = NodeTopology(
        metadata=read_metadata(fields),
        profile=_read_profile(spec.fields("profile")),
        node=read_node_settings(
            spec, spec.optional("kubeletVersion", choice(KubeletRelease), KubeletRelease.V1_38)
        ),
        hardware=status.part("hardware", read_hardware),
        pages_in_use=status.whole(_read_pages) or (),
        agent=status.part("agent", _read_agent),
        allocation=status.part("allocation", read_node_allocation),
        observed_generation=status.optional("observedGeneration", integer(), 0),
        conditions=read_conditions(status),
        unreadable=tuple(unreadable.found),
    )
    errors.check(subject(NODE_TOPOLOGY.kind, value))
    return topology


def _is_within(path: str, part: str) -> bool:
    return path == part or path.startswith((f"{part}.", f"{part}["))


def render_node_topology(
    name: str,
    node: NodeSettings,
    profile: ProfileReference | None,
    owners: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Render the JSON of a NodeTopology without status, to apply. ``owners`` are owner references."""
    metadata: dict[str, Any] = {"name": name}
    references = [dict(owner) for owner in owners]
    if references:
        metadata["ownerReferences"] = references
    spec = render_node_settings(node)
    if profile is not None:
        spec["profile"] = {"name": profile.name, "generation": profile.generation}
    return {
        **NODE_TOPOLOGY.type_meta,
        "metadata": metadata,
        "spec": spec,
    }


def without_settings(mode: Mode) -> NodeSettings:
    """Return the settings of a node of which nobody wants anything.

    With Enforce everything may run everywhere again; with Audit nothing is written.
    """
    return NodeSettings(ManagerSettings(), PodPolicy(mode=mode))


def registration(name: str) -> dict[str, Any]:
    """Render the NodeTopology that an agent makes for its node."""
    metadata = {"name": name}
    return {**NODE_TOPOLOGY.type_meta, "metadata": metadata, "spec": {"mode": Mode.AUDIT.value}}


def render_agent_status(
    hardware: Hardware | None,
    agent: AgentReport,
    conditions: Iterable[Condition],
    pages_in_use: Iterable[PagesInUse] = (),
) -> dict[str, Any]:
    """Render the agent's part of the status. Without hardware the previous one is withdrawn."""
    summary = {"agent": agent.mechanism[:64] or names.NOTHING}
    body: dict[str, Any] = {"agent": _render_agent(agent), "conditions": render_conditions(conditions)}
    if hardware is not None:
        body["hardware"] = render_hardware(hardware)
        summary["cpus"] = str(len(hardware.topology.cpus))
        summary["numa"] = str(len(hardware.topology.nodes))
    if pages := [_render_pages(one) for one in pages_in_use][:MAX_PAGES_IN_USE]:
        body["hugepagesInUse"] = pages
    return body | {"summary": summary}


def _render_pages(one: PagesInUse) -> dict[str, Any]:
    pod = {"podUID": one.pod_uid} if one.pod_uid else {}
    return {
        "numaNode": one.node,
        "resource": one.resource,
        "size": quantities.format_bytes(one.size),
        **pod,
    }


def render_operator_status(
    allocation: NodeAllocation | None, observed_generation: int, conditions: Iterable[Condition]
) -> dict[str, Any]:
    """Render the operator's part of the status. Without usable settings there is no allocation."""
    body: dict[str, Any] = {
        "observedGeneration": observed_generation,
        "conditions": render_conditions(conditions),
    }
    if allocation is not None:
        body["allocation"] = render_node_allocation(allocation)
        body["summary"] = allocation_summary(allocation)
    return body


def operator_part(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operator's part of a stored or rendered status, but for its conditions."""
    part = {name: status[name] for name in ("observedGeneration", "allocation") if name in status}
    summary = status.get("summary")
    texts = summary if isinstance(summary, Mapping) else {}
    return {**part, "summary": {name: texts[name] for name in _OPERATOR_SUMMARY if name in texts}}


def _read_profile(fields: Fields) -> ProfileReference | None:
    name = fields.optional("name", text(253, shortest=1), names.NOTHING)
    generation = fields.optional("generation", integer(), 0)
    return None if name == names.NOTHING else ProfileReference(name, generation)


def _read_pages(status: Fields) -> tuple[PagesInUse, ...]:
    return tuple(
        PagesInUse(
            node=item.required("numaNode", integer(0, MAX_GROUPS - 1), 0),
            resource=item.required("resource", text(63, shortest=1), "-"),
            size=item.required("size", read_bytes, 0),
            pod_uid=item.optional("podUID", text(64), ""),
        )
        for item in status.items("hugepagesInUse", MAX_PAGES_IN_USE)
    )


def _read_agent(fields: Fields) -> AgentReport:
    return AgentReport(
        version=fields.optional("version", text(64), ""),
        mechanism=fields.optional("mechanism", text(64), ""),
        runtime=fields.optional("runtime", text(253), ""),
        failure_policy=fields.optional("failurePolicy", text(64), ""),
        cgroup_driver=fields.optional("cgroupDriver", text(64), ""),
        boot_id=fields.optional("bootID", text(64), ""),
        heartbeat_time=fields.optional("heartbeatTime", text(64), ""),
    )


def _render_agent(agent: AgentReport) -> dict[str, str]:
    body = {
        "version": agent.version[:64],
        "mechanism": agent.mechanism[:64],
        "runtime": agent.runtime[:253],
        "failurePolicy": agent.failure_policy[:64],
        "cgroupDriver": agent.cgroup_driver[:64],
        "bootID": agent.boot_id[:64],
        "heartbeatTime": agent.heartbeat_time,
    }
    return {name: value for name, value in body.items() if value}
