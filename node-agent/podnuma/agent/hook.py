"""Answers a runtime that is about to create a container: which values it shall start with.

The values are those of `plan.targets`, as for every other container. What others have to give up first is
settled before the answer. The answer is bounded in time, well below the runtime's own timeout: a runtime
that loses patience drops the plugin and starts the container unpinned.

    a pod that can hold nothing              nothing to say; it follows its slice, or its pod's own set where
                                             the slice has guests
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

from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite, CpuMax
from podnuma.agent.model.containers import StartingContainer, StartRefused
from podnuma.agent.wish import Settings, Wanted
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
    def settings(self) -> Settings: ...

    @property
    def allocations_known(self) -> bool: ...

    async def decided(self, uid: str, within: float) -> Wanted | None: ...


class Plan(Protocol):
    """The node's plan, as far as a start needs it."""

    @property
    def enforcing(self) -> bool:
        """Whether values are written at all on this node now."""
        ...

    def has_guests(self, qos: Qos) -> bool:
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


class Answered(Enum):
    """How a question of the runtime was answered."""

    DECIDED = "decided"
    REFUSED = "refused"
    PUT_OFF = "put off"
    SHARED = "shared"
    NOBODYS = "nobody's"


@dataclass(frozen=True, slots=True)
class Waited:
    """One question of the runtime: how long it waited, and how it was answered."""

    seconds: float
    answered: Answered


@dataclass(frozen=True, slots=True)
class Start:
    """What a container starts with, None for "nothing to say", and what others have to give up for it."""

    values: CgroupTarget | None = None
    riders: tuple[CgroupWrite, ...] = ()


class StartHook:
    """See the module."""

    def __init__(
        self,
        decisions: Decisions,
        plan: Plan,
        observe: Callable[[Waited], None],
        put_off: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decisions = decisions
        self._plan = plan
        self._observe = observe
        self._put_off = put_off
        self._clock = clock
        self._asked: dict[str, float] = {}  # pod UID -> when a start of it was first put off

    async def start(self, starting: StartingContainer, within: float) -> Start:
        """Return the values to start with. Raises StartRefused. Waits `within` seconds for a decision."""
        cgroup = starting.cgroup
        if not self._plan.enforcing:
            return Start()
        began = self._clock()
        wanted = await self._decisions.decided(cgroup.pod.uid, 0)
        if wanted is None and cgroup.pod.qos is not Qos.GUARANTEED and not starting.annotated:
            has_guests = self._plan.has_guests(cgroup.pod.qos)
            return Start(riders=await self._plan.make_room(cgroup) if has_guests else ())
        expected = Expectation.SURE if wanted else self._expected(starting)
        if wanted is None and expected is not Expectation.NO:
            wanted = await self._decisions.decided(cgroup.pod.uid, within)
        answered = self._answer(starting, wanted, expected)
        self._observe(Waited(self._clock() - began, answered))
        if answered is Answered.REFUSED and wanted is not None and wanted.allocation is not None:
            decision = wanted.allocation.decision
            raise StartRefused(
                f"podnuma: pod {wanted.namespace}/{wanted.name} was rejected and is being evicted:"
                f" {decision.reason}: {decision.message}"
            )
        if answered is Answered.PUT_OFF:
            raise StartRefused(
                f"podnuma: pod {cgroup.pod.uid} has no PodAllocation after {within:.1f} s; it starts when the"
                " operator has decided (onUndecided: Share in the NodeProfile starts it in the shared pool)"
            )
        riders = await self._plan.make_room(cgroup)
        return Start(self._plan.start_values(cgroup), riders)

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Prove that a container that has been created and has not begun to run has its values."""
        await self._plan.before_start(cgroup)

    def values(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return at once what a container shall have now; None for "nothing to say"."""
        return self._plan.start_values(cgroup)

    def _answer(self, starting: StartingContainer, wanted: Wanted | None, expected: Expectation) -> Answered:
        uid = starting.cgroup.pod.uid
        if wanted is not None and self._to_be_evicted(starting, wanted):
            return (
                Answered.REFUSED if self._may_put_off(uid, "is rejected and not evicted") else Answered.SHARED
            )
        if wanted is not None:
            self._asked.pop(uid, None)
            return Answered.DECIDED
        if expected is not Expectation.SURE:
            return Answered.NOBODYS
        settings = self._decisions.settings.settings
        if settings is not None and settings.handling.on_undecided is OnUndecided.SHARE:
            return Answered.SHARED
        return Answered.PUT_OFF if self._may_put_off(uid, "has no PodAllocation") else Answered.SHARED

    def _to_be_evicted(self, starting: StartingContainer, wanted: Wanted) -> bool:
        settings = self._decisions.settings.settings
        return (
            wanted.allocation is not None
            and not wanted.allocation.decision.admitted
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


def expectation(settings: Settings, starting: StartingContainer) -> Expectation:
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


def _refused_by_the_operator(settings: Settings) -> bool:
    """Tell whether the operator says that it cannot decide with these settings on this hardware."""
    if settings.status is None:
        return False
    usable = find(settings.status.conditions, NodeCondition.SETTINGS_USABLE)
    return usable is not None and usable.status is Status.FALSE


def _whole(cpu_max: CpuMax | None) -> bool:
    """Tell whether a container is given whole CPUs, going by its quota."""
    return cpu_max is not None and cpu_max.quota is not None and cpu_max.quota % cpu_max.period == 0
