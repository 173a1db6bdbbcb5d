"""The status of a PodAllocation: what its agent (for a rejected pod: the operator) made of it.

``acceptedSpec`` is the agent's copy of the spec it acts on: what an unreadable spec is put back from.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.allocator import (
    AssignmentCounts,
)
from podnuma.api.conditions import Condition, read_conditions, render_conditions
from podnuma.api.decoding import (
    Fields,
    choice,
    integer,
    mapping,
    text,
)
from podnuma.api.device_plugins import (
    MAX_REPORTED,
    ReportedDevice,
    read_reported_device,
    render_reported_device,
)
from podnuma.api.grant import LONGEST_CPUS, LONGEST_NODES, MAX_CONTAINERS
from podnuma.api.node_allocation import read_assignments, render_assignments

MAX_SPEC_FIELDS: Final = 64
"""Fields of an accepted spec, those of other versions included."""

AGENT_REFUSED: Final = "Refused"
"""Reason of the condition Ready: the agent does not act on this spec, since others have these CPUs."""

CONTENDED: Final = "Contended"
"""Condition: somebody else keeps changing values of the pod; they are set again only once a minute."""

NOT_ISOLATED: Final = "NotIsolated"
"""Condition: others could not be taken off CPUs that containers of the pod have for themselves."""

OUTSIDE_KUBEPODS: Final = "OutsideKubepods"
"""Condition: the cgroup of all pods lacks CPUs or memory that the pod holds; it cannot run there."""


class Phase(enum.Enum):
    """What became of an allocation."""

    PENDING = "Pending"
    APPLIED = "Applied"
    DRIFTED = "Drifted"
    REJECTED = "Rejected"
    RELEASED = "Released"
    RESIZE_PENDING = "ResizePending"
    RESERVED = "Reserved"
    AUDIT = "Audit"
    UNINSTALLED = "Uninstalled"

    @property
    def given_back(self) -> bool:
        """Whether nobody is kept off the pod's CPUs any more."""
        return self in (Phase.RELEASED, Phase.UNINSTALLED)

    @property
    def in_force(self) -> bool:
        """Whether the agent had applied the decision, whatever has become of it since."""
        return self in (Phase.APPLIED, Phase.DRIFTED, Phase.RESIZE_PENDING)


class Verdict(enum.Enum):
    """Whether a container ran on its CPUs from its first instruction on.

    UNKNOWN: it ended before anybody had seen on which CPUs it ran.
    """

    PINNED_AT_START = "PinnedAtStart"
    PINNED_LATE = "PinnedLate"
    NOT_PINNED = "NotPinned"
    PENDING = "Pending"
    UNKNOWN = "Unknown"

    def __bool__(self) -> bool:
        raise TypeError("a verdict has five values; compare with one of them")


@dataclass(frozen=True, slots=True)
class ObservedCgroup:
    """A cgroup as its kernel files say: cpuset lists and ``cpu.max``; empty where not set or not known."""

    cpus: str = ""
    mems: str = ""
    cpu_max: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What became of one container."""

    name: str
    container_id: str = ""
    written: ObservedCgroup | None = None
    effective: ObservedCgroup | None = None
    verdict: Verdict = Verdict.PENDING
    pinned_after_millis: int | None = None
    message: str = ""
    throttled_percent: int | None = None


@dataclass(frozen=True, slots=True)
class PodAllocationStatus:
    """What the agent (for a rejected pod: the operator) made of an allocation.

    ``accepted_spec`` is the JSON of the last spec by which the agent acts; None if it never accepted one.
    """

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    pod_written: ObservedCgroup | None = None
    pod_effective: ObservedCgroup | None = None
    containers: tuple[ContainerStatus, ...] = ()
    assignments: AssignmentCounts = field(default_factory=dict)
    accepted_spec: Mapping[str, Any] | None = None
    devices: tuple[ReportedDevice, ...] = ()


def read_status(status: Fields) -> PodAllocationStatus:
    """Read ``status``; a field that cannot be read is taken as absent."""
    if not status.content:  # as in each answer to what the operator writes
        return PodAllocationStatus()
    pod = status.fields("pod")
    return PodAllocationStatus(
        observed_generation=status.optional("observedGeneration", integer(), 0),
        phase=status.optional("phase", choice(Phase), Phase.PENDING),
        conditions=read_conditions(status),
        pod_written=_read_cgroup(pod, "written"),
        pod_effective=_read_cgroup(pod, "effective"),
        containers=tuple(
            container
            for item in status.items("containers", MAX_CONTAINERS)
            if (container := item.whole(_read_container_status)) is not None
        ),
        assignments=read_assignments(status.fields("assignmentCounts")),
        accepted_spec=status.maybe("acceptedSpec", mapping(MAX_SPEC_FIELDS)),
        devices=tuple(
            device
            for item in status.items("devices", MAX_REPORTED)
            if (device := item.whole(read_reported_device)) is not None
        ),
    )


def render_status(status: PodAllocationStatus) -> dict[str, Any]:
    """Render the JSON of ``status``."""
    body: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
        "phase": status.phase.value,
        "conditions": render_conditions(status.conditions),
        "containers": [_render_container_status(container) for container in status.containers],
        "assignmentCounts": render_assignments(status.assignments),
    }
    if status.devices:
        body["devices"] = [render_reported_device(one) for one in status.devices]
    pod = _render_cgroups(status.pod_written, status.pod_effective)
    if pod:
        body["pod"] = pod
    if status.accepted_spec is not None:
        body["acceptedSpec"] = status.accepted_spec
    return body


def _read_container_status(item: Fields) -> ContainerStatus:
    return ContainerStatus(
        name=item.required("name", text(63, shortest=1), ""),
        container_id=item.optional("containerID", text(253), ""),
        written=_read_cgroup(item, "written"),
        effective=_read_cgroup(item, "effective"),
        verdict=item.optional("verdict", choice(Verdict), Verdict.PENDING),
        pinned_after_millis=item.maybe("pinnedAfterMillis", integer()),
        message=item.optional("message", text(1024), ""),
        throttled_percent=item.maybe("throttledPercent", integer(0, 100)),
    )


def _render_container_status(container: ContainerStatus) -> dict[str, Any]:
    body: dict[str, Any] = {"name": container.name, "verdict": container.verdict.value}
    if container.container_id:
        body["containerID"] = container.container_id[:253]
    if container.pinned_after_millis is not None:
        body["pinnedAfterMillis"] = container.pinned_after_millis
    if container.message:
        body["message"] = container.message[:1024]
    if container.throttled_percent is not None:
        body["throttledPercent"] = container.throttled_percent
    return body | _render_cgroups(container.written, container.effective)


def _read_cgroup(parent: Fields, name: str) -> ObservedCgroup | None:
    if not parent.has(name):
        return None
    fields = parent.fields(name)
    return ObservedCgroup(
        cpus=fields.optional("cpus", text(LONGEST_CPUS), ""),
        mems=fields.optional("mems", text(LONGEST_NODES), ""),
        cpu_max=fields.optional("cpuMax", text(64), ""),
    )


def _render_cgroups(written: ObservedCgroup | None, effective: ObservedCgroup | None) -> dict[str, Any]:
    pairs = {"written": written, "effective": effective}
    return {
        name: {"cpus": values.cpus, "mems": values.mems, "cpuMax": values.cpu_max}
        for name, values in pairs.items()
        if values is not None
    }
