"""Answers a runtime that is about to create a container: which values it shall start with.

The values are those of `plan.targets`, as for every other container. What others have to give up first is
settled before the answer. The answer is bounded in time, well below the runtime's own timeout: a runtime
that loses patience drops the plugin and starts the container unpinned.

    a pod that can hold nothing              nothing to say; it follows its slice, or its pod's own set where
                                             the slice has holders
    decided                                  the values
    refused by the operator: Evict           refused with its reason, for two minutes: it is being evicted
                             Share           starts in the shared pool
    undecided, surely to be decided: Wait    refused with a text; the kubelet tries again, for two minutes
                                     Share   starts in the shared pool; pinned when the decision comes
    undecided, perhaps to be decided         waits a moment, then as Share
    undecided, nobody is to decide           nothing to say
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from podnuma.agent.desired.state import DesiredAllocation, NodeConfig
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite, CpuMax
from podnuma.agent.model.containers import StartingContainer, StartRefused
from podnuma.allocator.request import Qos
from podnuma.allocator.settings import CpuManagerPolicy, MemoryManagerPolicy
from podnuma.api.conditions import Status, find
from podnuma.api.node_settings import Management, OnRejection, OnUndecided
from podnuma.api.node_topology import NodeCondition

logger = logging.getLogger(__name__)

_FORGOTTEN = 3600.0  # seconds after which a pod counts as a new one
_NAME_LABEL = "kubernetes.io/metadata.name"


class Expectation(Enum):
    """Whether the operator is to decide about a pod, as far as a node can know it."""

    SURE = "sure"
    PERHAPS = "perhaps"
    NO = "no"


class Decisions(Protocol):
    """Where decisions arrive."""

    @property
    def settings(self) -> NodeConfig: ...

    @property
    def allocations_known(self) -> bool: ...

    async def decided(self, uid: str, within: float) -> DesiredAllocation | None: ...


class Plan(Protocol):
    """The node's plan, as far as a start needs it."""

    @property
    def enforcing(self) -> bool:
        """Whether values are written at all on this node now."""
        ...

    def has_burstable_holders(self, qos: Qos) -> bool:
        """Whether a pod in the slice of a QoS class holds CPUs: then being in the slice confines nobody."""
        ...

    def start_values(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return what a container starts with; None if that is nobody's business."""
        ...

    async def make_room(self, cgroup: ContainerCgroup) -> tuple[CgroupWrite, ...]:
        """Take CPUs from whoever has to give them up first; return what has to ride on the answer."""
        ...

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Look at a container that has been created and has not begun to run."""
        ...


class StartOutcome(Enum):
    """How a question of the runtime was answered."""

    DECIDED = "decided"
    REFUSED = "refused"
    DEFERRED = "put off"
    SHARED = "shared"
    NOT_MANAGED = "nobody's"


@dataclass(frozen=True, slots=True)
class StartWait:
    """One question of the runtime: how long it waited, and how it was answered."""

    seconds: float
    answered: StartOutcome


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """What a container starts with, None for "nothing to say", and what others have to give up for it."""

    values: CgroupTarget | None = None
    piggybacked: tuple[CgroupWrite, ...] = ()


class StartHook:
    """See the module."""

    def __init__(
        self,
        decisions: Decisions,
        plan: Plan,
        observe: Callable[[StartWait], None],
        put_off: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decisions = decisions
        self._plan = plan
        self._observe = observe
        self._put_off = put_off
        self._clock = clock
        self._asked: dict[str, float] = {}  # pod UID -> when a start of it was first put off

    async def start(self, starting: StartingContainer, within: float) -> StartAnswer:
        """Return the values to start with. Raises StartRefused. Waits `within` seconds for a decision."""
        cgroup = starting.cgroup
        if not self._plan.enforcing:
            return StartAnswer()
        began = self._clock()
        desired = await self._decisions.decided(cgroup.pod.uid, 0)
        if desired is None and cgroup.pod.qos is not Qos.GUARANTEED and not starting.annotated:
            has_burstable_holders = self._plan.has_burstable_holders(cgroup.pod.qos)
            return StartAnswer(
                piggybacked=await self._plan.make_room(cgroup) if has_burstable_holders else ()
            )
        expected = Expectation.SURE if desired else self._expected(starting)
        if desired is None and expected is not Expectation.NO:
            desired = await self._decisions.decided(cgroup.pod.uid, within)
        answered = self._answer(starting, desired, expected)
        self._observe(StartWait(self._clock() - began, answered))
        if answered is StartOutcome.REFUSED and desired is not None and desired.allocation is not None:
            decision = desired.allocation.decision
            raise StartRefused(
                f"podnuma: pod {desired.namespace}/{desired.name} was rejected and is being evicted:"
                f" {decision.reason}: {decision.message}"
            )
        if answered is StartOutcome.DEFERRED:
            raise StartRefused(
                f"podnuma: pod {cgroup.pod.uid} has no PodAllocation after {within:.1f} s; it starts when the"
                " operator has decided (onUndecided: Share in the NodeProfile starts it in the shared pool)"
            )
        piggybacked = await self._plan.make_room(cgroup)
        return StartAnswer(self._plan.start_values(cgroup), piggybacked)

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Prove that a container that has been created and has not begun to run has its values."""
        await self._plan.before_start(cgroup)

    def values(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return at once what a container shall have now; None for "nothing to say"."""
        return self._plan.start_values(cgroup)

    def _answer(
        self, starting: StartingContainer, desired: DesiredAllocation | None, expected: Expectation
    ) -> StartOutcome:
        uid = starting.cgroup.pod.uid
        if desired is not None and self._to_be_evicted(starting, desired):
            return (
                StartOutcome.REFUSED
                if self._may_put_off(uid, "is rejected and not evicted")
                else StartOutcome.SHARED
            )
        if desired is not None:
            self._asked.pop(uid, None)
            return StartOutcome.DECIDED
        if expected is not Expectation.SURE:
            return StartOutcome.NOT_MANAGED
        settings = self._decisions.settings.settings
        if settings is not None and settings.handling.on_undecided is OnUndecided.SHARE:
            return StartOutcome.SHARED
        return (
            StartOutcome.DEFERRED if self._may_put_off(uid, "has no PodAllocation") else StartOutcome.SHARED
        )

    def _to_be_evicted(self, starting: StartingContainer, desired: DesiredAllocation) -> bool:
        settings = self._decisions.settings.settings
        return (
            desired.allocation is not None
            and not desired.allocation.decision.admitted
            and not starting.local  # nobody evicts what comes from a file
            and settings is not None
            and settings.handling.on_rejection is OnRejection.EVICT
        )

    def _may_put_off(self, uid: str, why: str) -> bool:
        now = self._clock()
        self._asked = {pod: since for pod, since in self._asked.items() if now - since < _FORGOTTEN}
        waited = now - self._asked.setdefault(uid, now)
        if waited <= self._put_off:
            return True
        logger.warning(
            "pod %s %s after %.0f s: it starts in the shared pool and is pinned when it is admitted; is the"
            " operator running?",
            uid,
            why,
            waited,
        )
        return False

    def _expected(self, starting: StartingContainer) -> Expectation:
        if starting.local:
            # The API server itself may be such a pod: it must never wait for what it serves.
            return Expectation.NO
        if not self._decisions.allocations_known:
            return Expectation.PERHAPS
        return expectation(self._decisions.settings, starting)


def expectation(settings: NodeConfig, starting: StartingContainer) -> Expectation:
    """Return whether the operator is to decide about the pod of a starting container."""
    if settings.settings is None or not settings.exists:
        return Expectation.NO
    rules, handling = settings.settings.settings, settings.settings.handling
    with_memory = rules.memory_manager_policy is MemoryManagerPolicy.STATIC
    with_cpus = rules.cpu_manager_policy is CpuManagerPolicy.STATIC
    if not with_memory and not with_cpus:
        return Expectation.NO
    if not handling.manages(starting.labels, {_NAME_LABEL: starting.namespace}):
        # A node does not know the other labels of a namespace.
        by_namespace_only = handling.pod_selector.matches(starting.labels) and (
            handling.management is Management.ALL or handling.manages(starting.labels, {})
        )
        unsure = by_namespace_only and not handling.namespace_selector.selects_everything
        return Expectation.PERHAPS if unsure else Expectation.NO
    if _refused_by_the_operator(settings):
        return Expectation.PERHAPS
    if with_memory or starting.annotated or _whole(starting.cpu_max):
        return Expectation.SURE
    return Expectation.PERHAPS


def _refused_by_the_operator(settings: NodeConfig) -> bool:
    """Tell whether the operator says that it cannot decide with these settings on this hardware."""
    if settings.status is None:
        return False
    usable = find(settings.status.conditions, NodeCondition.SETTINGS_USABLE)
    return usable is not None and usable.status is Status.FALSE


def _whole(cpu_max: CpuMax | None) -> bool:
    """Tell whether a container is given whole CPUs, going by its quota."""
    return cpu_max is not None and cpu_max.quota is not None and cpu_max.quota % cpu_max.period == 0
