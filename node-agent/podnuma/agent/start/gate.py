"""Decides whether a container may be created now, and waits for the operator's decision if it has to.

    a pod that can hold nothing              passes; it follows its slice
    decided                                  passes
    refused by the operator: Evict           refused with its reason, for two minutes: it is being evicted
                             Share           passes, and starts in the shared pool
    not decided before its devices are known as one that is surely to be decided
    undecided, surely to be decided: Wait    deferred with a text; the kubelet tries again, for two minutes
                                     Share   passes; pinned when the decision comes
    undecided, perhaps to be decided         waits a moment, then as Share
    undecided, not the operator's to decide  passes

The wait is bounded, well below the runtime's own timeout: a runtime that does not get its answer in time
drops the plugin and starts the container unpinned.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from podnuma.agent.desired.state import DesiredAllocation, NodeConfig
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.agent.model.containers import StartingContainer, StartRefused
from podnuma.allocator.manager_settings import CpuManagerPolicy, MemoryManagerPolicy
from podnuma.allocator.request import Qos
from podnuma.api.conditions import Status, find
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.node_settings import Management, OnRejection, OnUndecided

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
    def node_config(self) -> NodeConfig: ...

    @property
    def allocations_known(self) -> bool: ...

    def of_pod(self, uid: str) -> DesiredAllocation | None: ...

    async def wait_for(self, uid: str, within: float) -> DesiredAllocation | None: ...


class StartOutcome(Enum):
    """What came of a request to create a container."""

    DECIDED = "decided"
    REFUSED = "refused"
    DEFERRED = "deferred"
    SHARED = "shared"
    NOT_MANAGED = "not managed"


@dataclass(frozen=True, slots=True)
class StartWait:
    """One request to create a container: how long it waited, and what came of it."""

    seconds: float
    outcome: StartOutcome


class StartGate:
    """Lets a starting container pass, or refuses it for now.

    `admitted` is told of pods that the kubelet has admitted and whose devices are not known yet.

    A pod is refused for `defer_seconds` in all: a node cannot tell a pod that is not decided yet from one
    that was decided to hold nothing, and such a pod must not wait for ever.
    """

    def __init__(
        self,
        decisions: Decisions,
        observe: Callable[[StartWait], None],
        defer_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        admitted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._decisions = decisions
        self._observe = observe
        self._defer_seconds = defer_seconds
        self.pod_admitted = admitted
        self._clock = clock
        self._deferred_since: dict[str, float] = {}  # by pod UID

    async def admit(self, starting: StartingContainer, within: float) -> bool:
        """Return whether the container may have values of its own; without, it follows its slice.

        Waits `within` seconds for a decision. Raises StartRefused.
        """
        began = self._clock()
        pod = starting.cgroup.pod
        desired = await self._decisions.wait_for(pod.uid, 0)
        if desired is None and pod.qos is not Qos.GUARANTEED and not starting.annotated:
            return False
        waits_for_devices = "" if desired else self._waits_for_devices(pod.uid)
        if waits_for_devices:
            self.pod_admitted(pod.uid)
        expected = Expectation.SURE if desired else self._expected(starting, waits=bool(waits_for_devices))
        if desired is None and expected is not Expectation.NO:
            desired = await self._decisions.wait_for(pod.uid, within)
        outcome = self._outcome(starting, desired, expected)
        self._observe(StartWait(self._clock() - began, outcome))
        if outcome is StartOutcome.REFUSED and desired is not None and desired.allocation is not None:
            decision = desired.allocation.decision
            raise StartRefused(
                f"podnuma: pod {desired.namespace}/{desired.name} was rejected and is being evicted:"
                f" {decision.reason}: {decision.message}"
            )
        if outcome is StartOutcome.DEFERRED:
            if waits_for_devices:
                raise StartRefused(
                    f"podnuma: pod {pod.uid} is not decided after {within:.1f} s, it {waits_for_devices};"
                    " onDevicesUnknown in the NodeProfile says what happens when they stay unknown"
                )
            raise StartRefused(
                f"podnuma: pod {pod.uid} has no PodAllocation after {within:.1f} s; it starts when the"
                " operator has decided (onUndecided: Share in the NodeProfile starts it in the shared pool)"
            )
        return True

    def _outcome(
        self, starting: StartingContainer, desired: DesiredAllocation | None, expected: Expectation
    ) -> StartOutcome:
        uid = starting.cgroup.pod.uid
        if desired is not None and self._to_be_evicted(starting, desired):
            return (
                StartOutcome.REFUSED
                if self._may_defer(uid, "is rejected and not evicted")
                else StartOutcome.SHARED
            )
        if desired is not None:
            self._deferred_since.pop(uid, None)
            return StartOutcome.DECIDED
        if expected is not Expectation.SURE:
            return StartOutcome.NOT_MANAGED
        settings = self._decisions.node_config.settings
        if settings is not None and settings.pod_policy.on_undecided is OnUndecided.SHARE:
            return StartOutcome.SHARED
        return StartOutcome.DEFERRED if self._may_defer(uid, "has no PodAllocation") else StartOutcome.SHARED

    def _to_be_evicted(self, starting: StartingContainer, desired: DesiredAllocation) -> bool:
        settings = self._decisions.node_config.settings
        return (
            desired.allocation is not None
            and not desired.allocation.decision.admitted
            and not starting.local  # a pod from a file cannot be evicted
            and settings is not None
            and settings.pod_policy.on_rejection is OnRejection.EVICT
        )

    def _may_defer(self, uid: str, why: str) -> bool:
        now = self._clock()
        self._deferred_since = {
            pod: since for pod, since in self._deferred_since.items() if now - since < _FORGOTTEN
        }
        waited = now - self._deferred_since.setdefault(uid, now)
        if waited <= self._defer_seconds:
            return True
        logger.warning(
            "pod %s %s after %.0f s: it starts in the shared pool and is pinned when it is admitted; is the"
            " operator running?",
            uid,
            why,
            waited,
        )
        return False

    def _waits_for_devices(self, uid: str) -> str:
        """Return which devices the decision about a pod waits for, in words; empty if for none."""
        found = self._decisions.of_pod(uid)
        if found is None or found.allocation is None or not found.undecided:
            return ""
        return found.allocation.decision.message or "waits for its devices"

    def _expected(self, starting: StartingContainer, *, waits: bool) -> Expectation:
        if starting.local:
            # The API server itself may be such a pod: it must never wait for what it serves.
            return Expectation.NO
        if waits:
            return Expectation.SURE
        if not self._decisions.allocations_known:
            return Expectation.PERHAPS
        return expectation(self._decisions.node_config, starting)


def expectation(config: NodeConfig, starting: StartingContainer) -> Expectation:
    """Return whether the operator is to decide about the pod of a starting container."""
    if config.settings is None or not config.exists:
        return Expectation.NO
    rules, pod_policy = config.settings.managers, config.settings.pod_policy
    with_memory = rules.memory_manager_policy is MemoryManagerPolicy.STATIC
    with_cpus = rules.cpu_manager_policy is CpuManagerPolicy.STATIC
    if not with_memory and not with_cpus:
        return Expectation.NO
    if not pod_policy.manages(starting.labels, {_NAME_LABEL: starting.namespace}):
        # A node does not know the other labels of a namespace.
        by_namespace_only = pod_policy.pod_selector.matches(starting.labels) and (
            pod_policy.management is Management.ALL or pod_policy.manages(starting.labels, {})
        )
        unsure = by_namespace_only and not pod_policy.namespace_selector.selects_everything
        return Expectation.PERHAPS if unsure else Expectation.NO
    if _refused_by_operator(config):
        return Expectation.PERHAPS
    if with_memory or starting.annotated or _whole(starting.cpu_max):
        return Expectation.SURE
    return Expectation.PERHAPS


def _refused_by_operator(config: NodeConfig) -> bool:
    """Tell whether the operator says that it cannot decide with these settings on this hardware."""
    if config.status is None:
        return False
    usable = find(config.status.conditions, NodeCondition.SETTINGS_VALID)
    return usable is not None and usable.status is Status.FALSE


def _whole(cpu_max: CpuMax | None) -> bool:
    """Tell whether a container is given whole CPUs, going by its quota."""
    return cpu_max is not None and cpu_max.quota is not None and cpu_max.quota % cpu_max.period == 0
