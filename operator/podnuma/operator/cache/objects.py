"""What the operator keeps of each object: small frozen values, never the object itself.

A pod of eight kilobytes shrinks to one, and a pod that can never hold anything exclusive is
not kept at all, so that memory grows with the pods that matter. An object that cannot be
read is kept with the reason.

An `ObjectVersion` is one state of one object: its UID and resourceVersion. Resource versions
are whole numbers that only grow; of two states of one object they tell the newer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from podnuma.api.conditions import Status, find
from podnuma.api.device_plugins import devices_known
from podnuma.api.names import CGROUP_FINALIZER, pod_name
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.pod import NO_MIRROR, Mirror
from podnuma.api.pod_allocation_status import AGENT_REFUSED, CONTENDED, NOT_ISOLATED, OUTSIDE_KUBEPODS, Phase
from podnuma.operator.cache.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podnuma.allocator.request import PodRequest
    from podnuma.api.conditions import Condition
    from podnuma.api.device_claims import ClaimReference
    from podnuma.api.device_plugins import ExtendedResource
    from podnuma.api.events import Involved
    from podnuma.api.node_profile import NodeProfile
    from podnuma.api.node_topology import NodeTopology
    from podnuma.api.placement import SchedulingState
    from podnuma.api.pod_allocation import PodAllocation
    from podnuma.api.pod_needs import Needs
    from podnuma.api.scheduling import SchedulableNode

NO_LABELS: Mapping[str, str] = MappingProxyType({})
NO_NEEDS: Needs = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One state of one object: its UID and its resourceVersion as a number."""

    uid: str
    resource_version: int


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """Namespace and name; the namespace is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def of_pod(self, uid: str) -> ObjectKey:
        """Return the name of the pod that a PodAllocation of this name is about, set aside or not."""
        return ObjectKey(self.namespace, pod_name(self.name, uid))


@dataclass(frozen=True, slots=True)
class CachedObject:
    """What all cached objects have: version, key, and the node the object belongs to ("" for none)."""

    kind: ClassVar[Kind]

    version: ObjectVersion
    key: ObjectKey
    node: str

    @property
    def uid(self) -> str:
        """Return the object's UID."""
        return self.version.uid

    @property
    def relevant_state(self) -> object:
        """Return all that a decision could depend on; if two states agree in it, nothing has to be done."""
        return self.version.uid


@dataclass(frozen=True, slots=True)
class CachedPod(CachedObject):
    """An unfinished pod: bound, so that it may hold something, or waiting for a node (`node` is empty then).

    `request` is None when the pod cannot be read; `problem` then says why. `created` is the
    API server's time as text, which sorts. `controller` is what would replace the pod;
    `stays` says that a replacement would land on the same node (daemon sets, static pods).
    `running` that its kubelet has started it, as far as it has told.
    `mirror` tells of which static pod it says to be the mirror; `ClusterCache.static_uid` whether that is so.
    `request` has the resources that the kubelet has allocated, `revision` is theirs; `held_back` says why
    the kubelet has not accepted a resize of the pod, empty if it has none to accept. `refusal` is the reason
    and message of podnuma's condition on the pod, if it has one. `claims` are the ResourceClaims that its
    containers use, `extended` what they ask of device plugins. Only known to an operator that places pods:
    what a pod `needs` of its node as the scheduler counts it, and of one that is not bound its `scheduling`.
    """

    kind = Kind.POD

    created: str
    labels: Mapping[str, str]
    request: PodRequest | None
    problem: str | None
    controller: Involved | None
    stays: bool
    terminating: bool
    running: bool = False
    mirror: Mirror = NO_MIRROR
    revision: str = ""
    held_back: str = ""
    refusal: tuple[str, str] | None = None
    claims: tuple[ClaimReference, ...] = ()
    extended: tuple[ExtendedResource, ...] = ()
    needs: Needs = field(default_factory=lambda: NO_NEEDS)
    scheduling: SchedulingState | None = None

    @property
    def gated(self) -> bool:
        """Tell whether it waits for podnuma to be placed."""
        return self.scheduling is not None and self.scheduling.gated

    @property
    def relevant_state(self) -> object:
        return (
            self.uid,
            self.node,
            self.scheduling and self.scheduling.gates,
            self.labels,
            self.request,
            self.claims,
            self.extended,
            self.problem,
            self.terminating,
            bool(self.held_back),
        )


@dataclass(frozen=True, slots=True)
class RequestingPod(CachedObject):
    """A bound pod that can hold nothing: only what it requests of its node counts, where pods are placed."""

    kind = Kind.POD

    needs: Needs


@dataclass(frozen=True, slots=True)
class CachedNode(CachedObject):
    """A Node: its identity, its labels, and the version of its kubelet ("" if it has not told).

    `schedulable` is what the scheduler looks at, known to an operator that places pods.
    """

    kind = Kind.NODE

    labels: Mapping[str, str]
    kubelet_version: str = ""
    schedulable: SchedulableNode | None = None

    @property
    def relevant_state(self) -> object:
        return (self.uid, self.labels, self.kubelet_version)


@dataclass(frozen=True, slots=True)
class CachedNamespace(CachedObject):
    """A namespace: its labels, and whether it is being deleted."""

    kind = Kind.NAMESPACE

    labels: Mapping[str, str]
    terminating: bool

    @property
    def relevant_state(self) -> object:
        return (self.uid, self.labels, self.terminating)


@dataclass(frozen=True, slots=True)
class CachedProfile(CachedObject):
    """A NodeProfile; `model` None when its spec cannot be read, `problem` then says why.

    `told`: its status in brief, to see whether it is the one that was written.
    """

    kind = Kind.PROFILE

    generation: int
    model: NodeProfile | None
    problem: str | None
    conditions: tuple[Condition, ...] = ()
    told: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what cannot be read of it."""
        if self.model is None:
            return (self.problem or "",)
        return tuple(str(error) for error in self.model.unreadable)

    @property
    def relevant_state(self) -> object:
        return (self.uid, self.generation)


@dataclass(frozen=True, slots=True)
class CachedTopology(CachedObject):
    """A NodeTopology; `model` None when its spec cannot be read, `problem` then says why.

    `conditions` are those of its status, as far as they can be read; `told` is the rest of the operator's
    part of it in brief, to see whether it is the one that was written.
    """

    kind = Kind.TOPOLOGY

    generation: int
    created: str
    owner: str | None
    model: NodeTopology | None
    problem: str | None
    conditions: tuple[Condition, ...] = ()
    told: str = ""

    @property
    def relevant_state(self) -> object:
        model = self.model
        if model is None:
            return (self.uid, self.generation, self.owner, self.problem)
        paused = find(self.conditions, NodeCondition.PAUSED)
        pause = paused.status if paused is not None else None
        if model.hardware is not None:
            return (self.uid, self.generation, self.owner, model.hardware, model.pages_in_use, pause)
        known = find(self.conditions, NodeCondition.HARDWARE_KNOWN)
        why_not = (model.hardware_problem, model.agent is not None, known and known.message)
        return (self.uid, self.generation, self.owner, why_not, pause)

    @property
    def heartbeat(self) -> str:
        """Return the time of the agent's last report, by the node's clock; empty if there was none."""
        return self.model.agent.heartbeat_time if self.model is not None and self.model.agent else ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what cannot be read of it."""
        if self.model is None:
            return (self.problem or "",)
        return tuple(str(error) for error in self.model.unreadable)

    @property
    def findings(self) -> tuple[Condition, ...]:
        """Return what the agent found wrong on its node, by the name that it has when it is true."""
        kinds = (NodeCondition.CONTENDED, NodeCondition.OUTSIDE_KUBEPODS)
        told = (find(self.conditions, kind) for kind in kinds)
        found = [each for each in told if each is not None and each.status is Status.TRUE]
        isolated = find(self.conditions, NodeCondition.ISOLATED)
        if isolated is not None and isolated.status is Status.FALSE:
            found.append(replace(isolated, type=NOT_ISOLATED))
        return tuple(found)

    @property
    def said(self) -> object:
        """Return what its status says and no decision depends on: the operator answers for its part."""
        return self.conditions, self.told


@dataclass(frozen=True, slots=True)
class CachedAllocation(CachedObject):
    """A PodAllocation; `model` None when it cannot be read, `problem` then says why.

    `problem` may also say that it is not what was decided. In both cases `accepted` is what the agent acts
    on, None if it does not say. `finalizers` are all of the object's; `deleting`: its deletion was asked for
    and waits for them.
    """

    kind = Kind.ALLOCATION

    generation: int
    owner: str | None
    model: PodAllocation | None
    problem: str | None
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    phase: str = ""
    accepted: PodAllocation | None = None

    @property
    def decided(self) -> PodAllocation | None:
        """Return the allocation as it was decided, from its spec or else from the agent's copy of that."""
        return self.accepted if self.problem else self.model

    @property
    def refused(self) -> bool:
        """Tell whether the agent does not act on the spec as it is now, since somebody else has its CPUs."""
        if self.decided is None or not self.seen_by_agent:
            return False
        ready = find(self.decided.status.conditions, "Ready")
        return ready is not None and ready.reason == AGENT_REFUSED

    @property
    def seen_by_agent(self) -> bool:
        """Tell whether the agent has said something about the spec as it is now."""
        return self.decided is not None and self.decided.status.observed_generation >= self.generation

    @property
    def findings(self) -> tuple[Condition, ...]:
        """Return what the agent found wrong with the pod."""
        conditions = self.model.status.conditions if self.model is not None else ()
        found = (find(conditions, kind) for kind in (CONTENDED, NOT_ISOLATED, OUTSIDE_KUBEPODS))
        return tuple(each for each in found if each is not None and each.status is Status.TRUE)

    @property
    def finalized(self) -> bool:
        """Tell whether it stays until the operator removes its finalizer."""
        return CGROUP_FINALIZER in self.finalizers

    @property
    def reserved(self) -> bool:
        """Tell whether it was made for a pod before that was bound, and not taken over since."""
        return self.model is not None and self.model.decision.reserved

    @property
    def released(self) -> bool:
        """Tell whether the agent has seen that no process of the pod is left, readable spec or not."""
        return self.phase == Phase.RELEASED.value

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what cannot be read of it."""
        if self.model is None or self.problem:
            return (self.problem or "",)
        return tuple(str(error) for error in self.model.unreadable)

    @property
    def pod_uid(self) -> str | None:
        """Return the UID of the pod it is about; of an unreadable one, perhaps of the pod that owns it."""
        return self.owner if self.decided is None else self.decided.pod_uid

    @property
    def relevant_state(self) -> object:
        model, deletion = self.model, (self.deleting, self.finalized, self.released, self.refused)
        if model is None or self.problem:
            return (self.uid, self.owner, self.problem, self.accepted is None, deletion)
        said = (model.grant, model.decision, model.static_uid, model.summary)
        # Once it is decided, nothing depends on devices any more.
        waits = model.decision.undecided
        told: object = (model.status.devices, devices_known(model.status.conditions)) if waits else None
        if model.decision.refused:  # no agent answers for such a status
            told = (model.status.phase, model.status.conditions)
        return (self.uid, self.owner, self.node, said, deletion, told)
