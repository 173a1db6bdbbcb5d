"""PodAllocation: what one pod holds on its node, and what the agent made of it.

``spec`` is the checkpoint: there is no other record of what has been given out. A ``PodGrant``
rendered and read back is equal, byte for byte and container for container, so that a restart of
operator or agent changes nothing. ``spec.summary`` repeats it as texts for people and is never
read back.

``spec.cpus`` is everything the pod takes from the node. With ``podLevel`` it is the bubble that
the containers divide among themselves; without, it is the union of the containers' own CPUs, and
an object in which it is anything else has been edited and is refused.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.allocator import (
    Admitted,
    AssignmentType,
    ContainerGrant,
    ContainerKind,
    CpuSet,
    Isolation,
    MemoryBlock,
    NodeSet,
    PodGrant,
    Rejected,
    TopologyManagerScope,
    cpuset,
    nodeset,
    quantities,
)
from podnuma.api import names
from podnuma.api.conditions import Condition, read_conditions, render_conditions
from podnuma.api.node_topology import AssignmentCounts, read_assignments, render_assignments
from podnuma.api.quantity import read_bytes
from podnuma.api.reading import (
    Fields,
    Metadata,
    Problems,
    boolean,
    choice,
    integer,
    parsed,
    read_metadata,
    subject,
    text,
)

MAX_CONTAINERS: Final = 512
MAX_BLOCKS: Final = 64
LONGEST_CPUS: Final = 32768
LONGEST_NODES: Final = 1024
LONGEST_EXPLANATION: Final = 8192

ADMITTED: Final = "Admitted"


class Phase(enum.Enum):
    """What became of an allocation."""

    PENDING = "Pending"
    APPLIED = "Applied"
    DRIFTED = "Drifted"
    REJECTED = "Rejected"
    RELEASED = "Released"


class Verdict(enum.Enum):
    """Whether a container ran on its CPUs from its first instruction on."""

    PINNED_AT_START = "PinnedAtStart"
    PINNED_LATE = "PinnedLate"
    NOT_PINNED = "NotPinned"
    PENDING = "Pending"

    def __bool__(self) -> bool:
        raise TypeError("a verdict has four values; compare with one of them")


@dataclass(frozen=True, slots=True)
class Decision:
    """How an allocation came about. ``reason`` is "Admitted" or the kubelet's for a refusal."""

    admitted: bool
    reason: str = ADMITTED
    message: str = ""
    generation: int = 0
    explanation: str = ""

    @classmethod
    def of(cls, decided: Admitted | Rejected, generation: int = 0, explanation: str = "") -> "Decision":
        """Return the record of an allocator's answer; ``generation`` is the node's for a refusal."""
        match decided:
            case Admitted():
                return cls(True, ADMITTED, "", decided.generation, explanation)
            case Rejected():
                return cls(False, decided.reason.value, decided.message, generation, explanation)


@dataclass(frozen=True, slots=True)
class Values:
    """Values of a cgroup: kernel lists and ``cpu.max``; empty where not set or not known."""

    cpus: str = ""
    mems: str = ""
    cpu_max: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What became of one container."""

    name: str
    container_id: str = ""
    written: Values | None = None
    effective: Values | None = None
    verdict: Verdict = Verdict.PENDING
    pinned_after_millis: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class PodAllocationStatus:
    """What the agent (for a rejected pod: the operator) made of an allocation."""

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    pod_written: Values | None = None
    pod_effective: Values | None = None
    containers: tuple[ContainerStatus, ...] = ()
    assignments: AssignmentCounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodAllocation:
    """A PodAllocation as stored. ``grant`` has no containers when the pod was rejected."""

    metadata: Metadata
    node_name: str
    grant: PodGrant
    decision: Decision
    static_uid: str = ""
    status: PodAllocationStatus = field(default_factory=PodAllocationStatus)

    @property
    def pod_uid(self) -> str:
        """The UID of the pod's API object."""
        return self.grant.uid

    @property
    def uid_on_node(self) -> str:
        """The UID that names the pod's cgroup and that the runtime reports."""
        return self.static_uid or self.grant.uid


def read_pod_allocation(value: Any) -> PodAllocation:
    """Read the allocation in a JSON object. Raises ``ApiError`` with everything that is wrong with it."""
    problems = Problems()
    fields = Fields.of(value, "", problems)
    metadata = read_metadata(fields)
    spec = fields.fields("spec")
    allocation = PodAllocation(
        metadata=metadata,
        node_name=spec.required("nodeName", text(253, shortest=1), ""),
        grant=_read_grant(spec, metadata),
        decision=_read_decision(spec.fields("decision")),
        static_uid=spec.optional("uidOnNode", text(128, shortest=1), ""),
        status=_read_status(fields.fields("status")),
    )
    problems.check(subject(names.POD_ALLOCATION.kind, value))
    return allocation


def render_pod_allocation(
    grant: PodGrant, node_name: str, decision: Decision, static_uid: str = ""
) -> dict[str, Any]:
    """Render the JSON of an allocation without status, to apply; owned by the pod, which goes first.

    ``static_uid`` is the UID of a static pod on its node (``pod.PodFacts.static_uid``), else empty.
    """
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POD_ALLOCATION.kind,
        "metadata": {
            "name": grant.name,
            "namespace": grant.namespace,
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": grant.name,
                    "uid": grant.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": render_spec(grant, node_name, decision, static_uid),
    }


def render_spec(grant: PodGrant, node_name: str, decision: Decision, static_uid: str = "") -> dict[str, Any]:
    """Render the JSON of ``spec``. Two grants are equal exactly when their specs are."""
    body: dict[str, Any] = {
        "podUID": grant.uid,
        "nodeName": node_name,
        "scope": grant.scope.value,
        "podLevel": grant.pod_level,
        "podCPUQuota": grant.pod_quota,
        "podCPUShares": grant.pod_shares,
        "containers": [_render_container(container) for container in grant.containers],
        "summary": render_summary(grant),
        "decision": _render_decision(decision),
    }
    if static_uid:
        body["uidOnNode"] = static_uid
    if grant.exclusive_cpus:
        body["cpus"] = cpuset.render(grant.exclusive_cpus)
    if grant.memory_nodes:
        body["memoryNodes"] = nodeset.render(grant.memory_nodes)
    if grant.memory:
        body["memory"] = _render_blocks(grant.memory)
    return body


def rejected_grant(uid: str, namespace: str, name: str, scope: TopologyManagerScope) -> PodGrant:
    """Return what a rejected pod holds: nothing."""
    return PodGrant(
        uid=uid,
        namespace=namespace,
        name=name,
        scope=scope,
        pod_level=False,
        cpus=None,
        memory=(),
        containers=(),
        pod_quota=-1,
        pod_shares=0,
    )


def render_summary(grant: PodGrant) -> dict[str, str]:
    """Render the texts of the printer columns; "-" for nothing, "node" for the node shared pool."""
    own = shared = 0
    on_node = False
    for container in grant.containers:
        match container.cpu_assignment:
            case AssignmentType.NODE_EXCLUSIVE | AssignmentType.POD_EXCLUSIVE:
                own |= container.cpus or 0
            case AssignmentType.POD_SHARED:
                # A standard init container runs before the pool exists, on what will be the pool and more.
                shared |= (container.cpus or 0) if container.kind is not ContainerKind.INIT else 0
            case AssignmentType.NODE_SHARED:
                on_node = True
    pool = cpuset.render(CpuSet(shared)) or ("node" if on_node else names.NOTHING)
    return {
        "cpus": cpuset.render(grant.exclusive_cpus) or names.NOTHING,
        "numa": nodeset.render(grant.memory_nodes) or names.NOTHING,
        "exclusive": cpuset.render(CpuSet(own)) or names.NOTHING,
        "shared": pool,
    }


def render_status(status: PodAllocationStatus) -> dict[str, Any]:
    """Render the JSON of ``status``."""
    body: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
        "phase": status.phase.value,
        "conditions": render_conditions(status.conditions),
        "containers": [_render_container_status(container) for container in status.containers],
        "assignmentCounts": render_assignments(status.assignments),
    }
    pod = _render_values_pair(status.pod_written, status.pod_effective)
    if pod:
        body["pod"] = pod
    return body


# spec


def _read_grant(spec: Fields, metadata: Metadata) -> PodGrant:
    pod_level = spec.optional("podLevel", boolean, default=False)
    cpus = spec.maybe("cpus", _read_cpus)
    containers = tuple(_read_container(item) for item in spec.items("containers", MAX_CONTAINERS))
    grant = PodGrant(
        uid=spec.required("podUID", text(128, shortest=1), ""),
        namespace=metadata.namespace,
        name=metadata.name,
        scope=spec.required("scope", choice(TopologyManagerScope), TopologyManagerScope.CONTAINER),
        pod_level=pod_level,
        cpus=cpus if pod_level else None,
        memory=tuple(_read_block(item) for item in spec.items("memory", MAX_BLOCKS)),
        containers=containers,
        pod_quota=spec.optional("podCPUQuota", integer(-1), -1),
        pod_shares=spec.optional("podCPUShares", integer(0, 262144), 0),
    )
    _check_sets(spec, grant, cpus)
    return grant


def _check_sets(spec: Fields, grant: PodGrant, cpus: CpuSet | None) -> None:
    union = 0
    for container in grant.containers:
        union |= container.cpus or 0
    given = cpus or cpuset.EMPTY
    if grant.pod_level and union & ~given:
        outside = cpuset.render(CpuSet(union & ~given))
        spec.problems.add(spec.at("cpus"), cpuset.render(given), f"lacks CPUs of its containers: {outside}")
    if not grant.pod_level and union != given:
        spec.problems.add(
            spec.at("cpus"),
            cpuset.render(given),
            f"is not what the containers have together: {cpuset.render(CpuSet(union)) or 'nothing'}",
        )
    seen: set[str] = set()
    for index, container in enumerate(grant.containers):
        if container.name in seen:
            spec.problems.add(f"{spec.at('containers')}[{index}].name", container.name, "is there twice")
        seen.add(container.name)


def _read_container(item: Fields) -> ContainerGrant:
    assignment = item.fields("assignment")
    shared = AssignmentType.NODE_SHARED
    return ContainerGrant(
        name=item.required("name", text(63, shortest=1), ""),
        kind=item.required("kind", choice(ContainerKind), ContainerKind.APP),
        cpu_assignment=assignment.required("cpu", choice(AssignmentType), shared),
        memory_assignment=assignment.required("memory", choice(AssignmentType), shared),
        isolation=item.required("isolation", choice(Isolation), Isolation.HOST),
        cpus=item.maybe("cpus", _read_cpus),
        memory_nodes=item.maybe("memoryNodes", _read_nodes),
        memory=tuple(_read_block(block) for block in item.items("memory", MAX_BLOCKS)),
        cpu_quota=item.required("cpuQuota", integer(-1), -1),
        cpu_period=item.required("cpuPeriod", integer(1000, 1_000_000), 100_000),
        memory_limit=item.maybe("memoryLimit", read_bytes),
        cpu_shares=item.required("cpuShares", integer(0, 262144), 0),
    )


def _render_container(container: ContainerGrant) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": container.name,
        "kind": container.kind.value,
        "assignment": {
            "cpu": container.cpu_assignment.value,
            "memory": container.memory_assignment.value,
        },
        "isolation": container.isolation.value,
        "cpuQuota": container.cpu_quota,
        "cpuPeriod": container.cpu_period,
        "cpuShares": container.cpu_shares,
    }
    if container.cpus is not None:
        body["cpus"] = cpuset.render(container.cpus)
    if container.memory_nodes is not None:
        body["memoryNodes"] = nodeset.render(container.memory_nodes)
    if container.memory:
        body["memory"] = _render_blocks(container.memory)
    if container.memory_limit is not None:
        body["memoryLimit"] = quantities.format_bytes(container.memory_limit)
    return body


def _read_block(item: Fields) -> MemoryBlock:
    return MemoryBlock(
        resource=item.required("resource", text(63, shortest=1), ""),
        nodes=item.required("nodes", _read_nodes, nodeset.EMPTY),
        size=item.required("size", read_bytes, 0),
    )


def _render_blocks(blocks: Iterable[MemoryBlock]) -> list[dict[str, str]]:
    return [
        {
            "resource": block.resource,
            "size": quantities.format_bytes(block.size),
            "nodes": nodeset.render(block.nodes),
        }
        for block in blocks
    ]


def _read_cpus(value: Any) -> CpuSet:
    cpus = parsed(cpuset.parse, LONGEST_CPUS)(value)
    # In a cpuset file an empty list means "as the parent has it": never what a grant says.
    if not cpus:
        raise ValueError("must not be empty; leave the field out")
    return cpus


def _read_nodes(value: Any) -> NodeSet:
    nodes = parsed(nodeset.parse, LONGEST_NODES)(value)
    if not nodes:
        raise ValueError("must not be empty; leave the field out")
    return nodes


def _read_decision(fields: Fields) -> Decision:
    return Decision(
        admitted=fields.required("admitted", boolean, placeholder=False),
        reason=fields.required("reason", text(128, shortest=1), ""),
        message=fields.optional("message", text(2048), ""),
        generation=fields.optional("generation", integer(), 0),
        explanation=fields.optional("explanation", text(LONGEST_EXPLANATION), ""),
    )


def _render_decision(decision: Decision) -> dict[str, Any]:
    body: dict[str, Any] = {
        "admitted": decision.admitted,
        "reason": decision.reason[:128],
        "generation": decision.generation,
    }
    if decision.message:
        body["message"] = decision.message[:2048]
    if decision.explanation:
        body["explanation"] = decision.explanation[:LONGEST_EXPLANATION]
    return body


# status


def _read_status(status: Fields) -> PodAllocationStatus:
    pod = status.fields("pod")
    return PodAllocationStatus(
        observed_generation=status.optional("observedGeneration", integer(), 0),
        phase=status.optional("phase", choice(Phase), Phase.PENDING),
        conditions=read_conditions(status),
        pod_written=_read_values(pod, "written"),
        pod_effective=_read_values(pod, "effective"),
        containers=tuple(_read_container_status(item) for item in status.items("containers", MAX_CONTAINERS)),
        assignments=read_assignments(status.fields("assignmentCounts")),
    )


def _read_container_status(item: Fields) -> ContainerStatus:
    return ContainerStatus(
        name=item.required("name", text(63, shortest=1), ""),
        container_id=item.optional("containerID", text(253), ""),
        written=_read_values(item, "written"),
        effective=_read_values(item, "effective"),
        verdict=item.optional("verdict", choice(Verdict), Verdict.PENDING),
        pinned_after_millis=item.maybe("pinnedAfterMillis", integer()),
        message=item.optional("message", text(1024), ""),
    )


def _render_container_status(container: ContainerStatus) -> dict[str, Any]:
    body: dict[str, Any] = {"name": container.name, "verdict": container.verdict.value}
    if container.container_id:
        body["containerID"] = container.container_id[:253]
    if container.pinned_after_millis is not None:
        body["pinnedAfterMillis"] = container.pinned_after_millis
    if container.message:
        body["message"] = container.message[:1024]
    return body | _render_values_pair(container.written, container.effective)


def _read_values(parent: Fields, name: str) -> Values | None:
    if not parent.has(name):
        return None
    fields = parent.fields(name)
    return Values(
        cpus=fields.optional("cpus", text(LONGEST_CPUS), ""),
        mems=fields.optional("mems", text(LONGEST_NODES), ""),
        cpu_max=fields.optional("cpuMax", text(64), ""),
    )


def _render_values_pair(written: Values | None, effective: Values | None) -> dict[str, Any]:
    pairs: Mapping[str, Values | None] = {"written": written, "effective": effective}
    return {
        name: {"cpus": values.cpus, "mems": values.mems, "cpuMax": values.cpu_max}
        for name, values in pairs.items()
        if values is not None
    }
