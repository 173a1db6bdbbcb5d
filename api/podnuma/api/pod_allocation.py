"""PodAllocation: what one pod holds on its node, and what the agent made of it.

``spec`` is the checkpoint: there is no other record of what has been given out, so a grant is
read back exactly as it was rendered (see ``grant``), or not at all where its checksum does not fit.
``spec.summary`` repeats it as texts for people; no decision is read back from it.
``status.acceptedSpec`` is the agent's copy of the spec it acts on: what an unreadable spec is put back from.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from podnuma.allocator import (
    Admitted,
    AssignmentCounts,
    AssignmentType,
    ContainerKind,
    NodeSet,
    PodGrant,
    Rejected,
    Topology,
    TopologyManagerScope,
    cpuset,
    nodeset,
)
from podnuma.api import names
from podnuma.api.conditions import Condition, read_conditions, render_conditions
from podnuma.api.decoding import (
    FieldError,
    FieldErrors,
    Fields,
    InvalidObjectError,
    Metadata,
    boolean,
    choice,
    integer,
    mapping,
    read_metadata,
    subject,
    text,
)
from podnuma.api.device_plugins import (
    MAX_REPORTED,
    ReportedDevice,
    read_reported_device,
    render_reported_device,
)
from podnuma.api.grant import LONGEST_CPUS, LONGEST_NODES, MAX_CONTAINERS, read_grant, render_grant
from podnuma.api.node_topology import read_assignments, render_assignments
from podnuma.api.pod import LONGEST_STATIC_UID
from podnuma.api.resource_types import POD_ALLOCATION
from podnuma.api.spec_checksum import check_checksum, with_checksum

LONGEST_EXPLANATION: Final = 8192

LONGEST_REVISION: Final = 64

MAX_SPEC_FIELDS: Final = 64
"""Fields of an accepted spec, those of other versions included."""

ADMITTED: Final = "Admitted"

RESERVED: Final = "Reserved"
"""Reason of a decision about a pod that is not bound yet; it becomes "Admitted" when the pod is."""

AGENT_REFUSED: Final = "Refused"
"""Reason of the condition Ready: the agent does not act on this spec, since others have these CPUs."""

CONTENDED: Final = "Contended"
"""Condition: somebody else keeps changing values of the pod; they are set again only once a minute."""

NOT_ISOLATED: Final = "NotIsolated"
"""Condition: others could not be taken off CPUs that containers of the pod have for themselves."""

OUTSIDE_KUBEPODS: Final = "OutsideKubepods"
"""Condition: the cgroup of all pods lacks CPUs or memory that the pod holds; it cannot run there."""

DEVICES_PENDING: Final = "DevicesPending"
"""The reason of an allocation that is not decided: which devices the pod got is not known yet."""

_COLUMNS: Final = MappingProxyType(
    {"cpus": LONGEST_CPUS, "numa": LONGEST_NODES, "exclusive": LONGEST_CPUS, "shared": LONGEST_CPUS}
)


class Phase(enum.Enum):
    """What became of an allocation."""

    PENDING = "Pending"
    APPLIED = "Applied"
    DRIFTED = "Drifted"
    REJECTED = "Rejected"
    RELEASED = "Released"
    RESIZE_PENDING = "ResizePending"
    RESERVED = "Reserved"

    @property
    def in_force(self) -> bool:
        """Whether the agent had applied the decision, whatever has become of it since."""
        return self in (Phase.APPLIED, Phase.DRIFTED, Phase.RESIZE_PENDING)


class ResizeReason(enum.Enum):
    """Why a pod keeps what was decided for the resources it had before a resize.

    The first two are the kubelet's words: a later try may succeed, or none can on this node. The third is
    what the NodeProfile says.
    """

    DEFERRED = "Deferred"
    INFEASIBLE = "Infeasible"
    IGNORED = "Ignored"


class _Resource(enum.Enum):
    CPU = "cpu"
    MEMORY = "memory"


class _Source(enum.Enum):
    POD = "pod"
    NODE = "node"


class Verdict(enum.Enum):
    """Whether a container ran on its CPUs from its first instruction on."""

    PINNED_AT_START = "PinnedAtStart"
    PINNED_LATE = "PinnedLate"
    NOT_PINNED = "NotPinned"
    PENDING = "Pending"

    def __bool__(self) -> bool:
        raise TypeError("a verdict has four values; compare with one of them")


@dataclass(frozen=True, slots=True)
class PendingResize:
    """A resize that the decision does not follow: to which revision of the pod's resources, and why."""

    revision: str
    reason: ResizeReason
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How an allocation came about. ``reason`` is "Admitted", "Reserved", DEVICES_PENDING, or the kubelet's.

    ``refused_by`` are resource and source of the manager that refused, as the kubelet's metric of errors
    has them; None for an admission, and where the merge of hints was refused. ``revision`` is that of the
    pod's resources that were decided about (``pod_resize.resources_revision``).
    """

    admitted: bool
    reason: str = ADMITTED
    message: str = ""
    generation: int = 0
    explanation: str = ""
    refused_by: tuple[str, str] | None = None
    revision: str = ""
    pending_resize: PendingResize | None = None

    @property
    def reserved(self) -> bool:
        """Whether the pod was placed, and not bound to the node since."""
        return self.admitted and self.reason == RESERVED

    @property
    def undecided(self) -> bool:
        """Whether it waits for the devices of the pod: neither admitted nor refused."""
        return not self.admitted and self.reason == DEVICES_PENDING

    @property
    def refused(self) -> bool:
        """Whether the pod does not fit."""
        return not self.admitted and not self.undecided

    @classmethod
    def of(
        cls, decided: Admitted | Rejected, generation: int = 0, explanation: str = "", revision: str = ""
    ) -> "Decision":
        """Return the record of an allocator's answer; ``generation`` is the node's for a refusal."""
        match decided:
            case Admitted():
                return cls(True, ADMITTED, "", decided.generation, explanation, None, revision)
            case Rejected():
                reason, message = decided.reason.value, decided.message
                manager = next(iter(decided.counts.errors), None)
                return cls(False, reason, message, generation, explanation, manager, revision)


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


@dataclass(frozen=True, slots=True)
class PodAllocation:
    """A PodAllocation as stored. ``grant`` has no containers when the pod was rejected.

    ``summary`` is what stands in the printer columns; nothing depends on it. ``unreadable`` are the errors
    in summary and status: such a field, container or condition is taken as absent or not known.
    """

    metadata: Metadata
    node_name: str
    grant: PodGrant
    decision: Decision
    static_uid: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)
    status: PodAllocationStatus = field(default_factory=PodAllocationStatus)
    unreadable: tuple[FieldError, ...] = ()

    @property
    def pod_uid(self) -> str:
        """The UID of the pod's API object."""
        return self.grant.uid

    @property
    def uid_on_node(self) -> str:
        """The UID that names the pod's cgroup and that the runtime reports."""
        return self.static_uid or self.grant.uid


@dataclass(frozen=True, slots=True)
class SentSpec:
    """A spec that was sent, and the grant that it was rendered from."""

    content: Mapping[str, Any]
    grant: PodGrant

    def stored_in(self, spec: Fields, metadata: Metadata) -> bool:
        """Tell whether an object has just this spec: then its grant is known, and its checksum fits."""
        named = (self.grant.namespace, self.grant.name) == (metadata.namespace, metadata.name)
        return named and spec.content == self.content


def read_pod_allocation(value: Any, *, as_it_is: bool = False, sent: SentSpec | None = None) -> PodAllocation:
    """Read the allocation in a JSON object; ``as_it_is``: though its checksum may not fit.

    ``sent``: what was written just before; where the object has it, its grant is not parsed again.

    Raises ``InvalidObjectError`` with everything wrong with its spec, but for the summary. What is wrong
    with that and with the status stands in ``unreadable``.
    """
    errors, unreadable = FieldErrors(), FieldErrors()
    fields = Fields.of(value, "", errors)
    metadata = read_metadata(fields)
    spec = fields.fields("spec")
    known = sent if sent is not None and sent.stored_in(spec, metadata) else None
    allocation = PodAllocation(
        metadata=metadata,
        node_name=spec.required("nodeName", text(253, shortest=1), ""),
        grant=read_grant(spec, metadata) if known is None else known.grant,
        decision=_read_decision(spec.fields("decision")),
        static_uid=spec.optional("uidOnNode", text(LONGEST_STATIC_UID, shortest=1), ""),
        summary=_read_summary(spec.tolerant("summary", unreadable)),
        status=_read_status(fields.tolerant("status", unreadable)),
        unreadable=tuple(unreadable.found),
    )
    if not as_it_is and known is None:
        check_checksum(spec)
    errors.check(subject(POD_ALLOCATION.kind, value))
    return allocation


def read_accepted_allocation(value: Any) -> PodAllocation | None:
    """Read an allocation with the spec that its agent last accepted; None if there is no such spec.

    For one whose own spec cannot be read: by this the node acts, and this is put back.
    """
    status = value.get("status") if isinstance(value, Mapping) else None
    accepted = status.get("acceptedSpec") if isinstance(status, Mapping) else None
    if not isinstance(accepted, Mapping):
        return None
    try:
        return read_pod_allocation({**value, "spec": accepted})
    except InvalidObjectError:
        return None


def _read_summary(fields: Fields) -> dict[str, str]:
    return {
        column: fields.optional(column, text(longest, shortest=1), "") for column, longest in _COLUMNS.items()
    }


def render_pod_allocation(
    grant: PodGrant,
    node_name: str,
    decision: Decision,
    static_uid: str = "",
    numa: NodeSet | None = None,
) -> dict[str, Any]:
    """Render the JSON of an allocation without status, to apply; owned by the pod, which goes first.

    ``static_uid`` is the UID of a static pod on its node (``pod.PodFacts.static_uid``), else empty: the
    pod in the API is only its mirror, whose deletion ends nothing, so it owns nothing.
    ``numa`` is for the summary, see ``numa_nodes``.
    """
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": grant.name,
        "uid": grant.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
    metadata: dict[str, Any] = {"name": grant.name, "namespace": grant.namespace}
    if not static_uid:
        metadata["ownerReferences"] = [owner]
    if grant.holds_anything:
        metadata["finalizers"] = [names.CGROUP_FINALIZER]
    return {
        **POD_ALLOCATION.type_meta,
        "metadata": metadata,
        "spec": render_spec(grant, node_name, decision, static_uid, numa),
    }


def render_spec(
    grant: PodGrant,
    node_name: str,
    decision: Decision,
    static_uid: str = "",
    numa: NodeSet | None = None,
) -> dict[str, Any]:
    """Render the JSON of ``spec``, with its checksum. Two grants are equal exactly when their specs are."""
    body = {
        **render_grant(grant),
        "nodeName": node_name,
        "summary": render_summary(grant, numa),
        "decision": _render_decision(decision),
    }
    if static_uid:
        body["uidOnNode"] = static_uid
    return with_checksum(body)


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


def numa_nodes(grant: PodGrant, topology: Topology) -> NodeSet:
    """Return the NUMA nodes of what a pod holds: of its CPUs and of its memory."""
    return NodeSet(grant.memory_nodes | topology.nodes_of(grant.exclusive_cpus))


def numa_in(summary: Mapping[str, str]) -> NodeSet | None:
    """Return the NUMA nodes that a summary names; None if it names none that can be read."""
    try:
        return NodeSet(nodeset.parse(summary.get("numa", "").replace(names.NOTHING, "", 1)))
    except ValueError:
        return None


def render_summary(grant: PodGrant, numa: NodeSet | None = None) -> dict[str, str]:
    """Render the texts of the printer columns; "-" for nothing, "node" for the node shared pool.

    ``numa`` are the NUMA nodes of the whole (``numa_nodes``); without them those of its memory are named.
    Standard init containers are left out: what they run on is, for the rest of the pod's life,
    somebody else's or the pool's.
    """
    own = shared = 0
    on_node = False
    for container in grant.containers:
        if container.kind is ContainerKind.INIT:
            continue
        match container.cpu_assignment:
            case AssignmentType.NODE_EXCLUSIVE | AssignmentType.POD_EXCLUSIVE:
                own |= container.cpus or 0
            case AssignmentType.POD_SHARED:
                shared |= container.cpus or 0
            case AssignmentType.NODE_SHARED:
                on_node = True
    return {
        "cpus": cpuset.render(grant.exclusive_cpus) or names.NOTHING,
        "numa": nodeset.render(grant.memory_nodes if numa is None else numa) or names.NOTHING,
        "exclusive": cpuset.render(own) or names.NOTHING,
        "shared": cpuset.render(shared) or ("node" if on_node else names.NOTHING),
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
    if status.devices:
        body["devices"] = [render_reported_device(one) for one in status.devices]
    pod = _render_cgroups(status.pod_written, status.pod_effective)
    if pod:
        body["pod"] = pod
    if status.accepted_spec is not None:
        body["acceptedSpec"] = status.accepted_spec
    return body


def _read_decision(fields: Fields) -> Decision:
    return Decision(
        admitted=fields.required("admitted", boolean, placeholder=False),
        reason=fields.required("reason", text(128, shortest=1), ""),
        message=fields.optional("message", text(2048), ""),
        generation=fields.optional("generation", integer(), 0),
        explanation=fields.optional("explanation", text(LONGEST_EXPLANATION), ""),
        refused_by=_read_manager(fields.fields("refusedBy")) if fields.has("refusedBy") else None,
        revision=fields.optional("revision", text(LONGEST_REVISION), ""),
        pending_resize=_read_pending(fields.fields("pendingResize")) if fields.has("pendingResize") else None,
    )


def _read_pending(fields: Fields) -> PendingResize:
    return PendingResize(
        revision=fields.required("revision", text(LONGEST_REVISION), ""),
        reason=fields.required("reason", choice(ResizeReason), ResizeReason.DEFERRED),
        message=fields.optional("message", text(2048), ""),
    )


def _read_manager(fields: Fields) -> tuple[str, str]:
    resource = fields.required("resource", choice(_Resource), _Resource.CPU)
    return resource.value, fields.required("source", choice(_Source), _Source.NODE).value


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
    if decision.refused_by is not None:
        body["refusedBy"] = dict(zip(("resource", "source"), decision.refused_by, strict=True))
    if decision.revision:
        body["revision"] = decision.revision
    if (pending := decision.pending_resize) is not None:
        body["pendingResize"] = {
            "revision": pending.revision,
            "reason": pending.reason.value,
            "message": pending.message[:2048],
        }
    return body


# status


def _read_status(status: Fields) -> PodAllocationStatus:
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
