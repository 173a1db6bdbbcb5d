"""PodAllocation: what one pod holds on its node, and what the agent made of it.

``spec`` is the checkpoint: there is no other record of what has been given out, so a grant is
read back exactly as it was rendered (see ``grant``), or not at all where its checksum does not fit.
``spec.summary`` repeats it as texts for people; no decision is read back from it.
Its status is that of ``pod_allocation_status``.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from podnuma.allocator import (
    Admitted,
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
from podnuma.api.decoding import (
    FieldError,
    FieldErrors,
    Fields,
    InvalidObjectError,
    boolean,
    choice,
    integer,
    text,
)
from podnuma.api.grant import LONGEST_CPUS, LONGEST_NODES, read_grant, render_grant
from podnuma.api.object_metadata import Metadata, read_metadata, subject
from podnuma.api.pod import LONGEST_STATIC_UID
from podnuma.api.pod_allocation_status import PodAllocationStatus, read_status
from podnuma.api.resource_types import POD_ALLOCATION
from podnuma.api.spec_checksum import check_checksum, with_checksum

LONGEST_EXPLANATION: Final = 8192

LONGEST_REVISION: Final = 64


ADMITTED: Final = "Admitted"

RESERVED: Final = "Reserved"
"""Reason of a decision about a pod that is not bound yet; it becomes "Admitted" when the pod is."""


DEVICES_PENDING: Final = "DevicesPending"
"""The reason of an allocation that is not decided: which devices the pod got is not known yet."""

_COLUMNS: Final = MappingProxyType(
    {"cpus": LONGEST_CPUS, "numa": LONGEST_NODES, "exclusive": LONGEST_CPUS, "shared": LONGEST_CPUS}
)


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
        status=read_status(fields.tolerant("status", unreadable)),
        unreadable=tuple(unreadable.found),
    )
    if not as_it_is and known is None:
        check_checksum(spec)
    if errors.found:
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
