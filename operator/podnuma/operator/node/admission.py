"""Decide the pods of a node that have no decision yet, and the rejected ones when they may fit now.

Oldest pod first, one after the other: decide, store, hold (`decision_writer`). The allocator's answer
changes nothing. Nothing is decided while a write has no clear answer. Where the settings that are wanted do
not fit the hardware, and no earlier ones do, pods that ask for something are refused with that reason.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.eligibility import exclusive_requests, qos
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.manager_settings import CpuManagerPolicy, MemoryManagerPolicy
from podnuma.allocator.request import Qos
from podnuma.api.pod_allocation import (
    DEVICES_PENDING,
    LONGEST_EXPLANATION,
    Decision,
    numa_nodes,
    rejected_grant,
)
from podnuma.operator.write.decision import PodDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.allocator.manager_settings import TopologyManagerScope
    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.rules import Rules
    from podnuma.api.conditions import Condition
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.allocations import AllocationSync
    from podnuma.operator.node.decision_writer import DecisionWriter
    from podnuma.operator.node.device_lookup import DeviceLookup
    from podnuma.operator.node.devices import LocatedDevices
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.resize import Resizes
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.allocation_store import AllocationStore

logger = logging.getLogger(__name__)

_SOON = 0.2  # seconds
_NAMED = 3  # pods named in a message; the others are counted


class Admission:
    """The step that decides pods; a decision is held only once it is stored."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        devices: DeviceLookup,
        store: AllocationStore,
        allocations: AllocationSync,
        resizes: Resizes,
        decisions: DecisionWriter,
        *,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._devices = devices
        self._store = store
        self._allocations = allocations
        self._resizes = resizes
        self._decisions = decisions
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock

    async def run(self, node: NodeState, selection: ProfileSelection) -> None:
        """Decide the pods of a node that wait for it."""
        await self._withdraw(node, selection)
        if not await self._decisions.confirm(node):
            self._enqueue(node.name, _SOON)
            return
        settings = selection.decide_with
        if settings is None:
            await self._without_settings(node, selection)
            return
        if not self._allocations.unknown(node):
            # Running pods come first: they are older.
            await self._resizes.run(node, settings.pod_policy.resize, self._decisions.write)
        for pod in self._to_decide(node, settings):
            located = await self._devices.of_claims(node, pod)
            if unknown := self._allocations.unknown(node):
                self._wait_for(node, pod, unknown)
                return
            if pod.request is None:
                node.pods[pod.uid].idle = pod.revision
                text = f"podnuma cannot manage this pod: {pod.problem}; correct it and create the pod again"
                self._allocations.warn_once(node, pod, "InvalidObject", text)
            elif not located.waits_for:
                await self._decide(
                    node, pod, pod.request, located.joined(self._devices.of_plugins(node, pod))
                )

    async def _without_settings(self, node: NodeState, selection: ProfileSelection) -> None:
        """Refuse pods that no settings of the node admit; where something is only missing they wait."""
        refused, valid = selection.refused, selection.valid
        if refused is None:
            text = f"Waits for {node.name}: {valid.message}"
            for pod in self.undecided(node, selection):
                self._allocations.warn_once(node, pod, "Undecided", text)
            return
        for uid, decision in tuple(node.decisions.items()):
            known = self._cache.pod(decision.key, uid)
            said = decision.decision
            if known is not None and said.reason == valid.reason and said.message != valid.message:
                await self._refuse(node, known, refused, valid)
        for pod in self.undecided(node, selection):
            if pod.request is None or pod.terminating:
                continue
            if _asks_for_nothing(refused, pod.request):
                node.pods[pod.uid].idle = pod.revision
            else:
                await self._refuse(node, pod, refused, valid)

    async def _refuse(
        self, node: NodeState, pod: CachedPod, settings: NodeSettings, valid: Condition
    ) -> None:
        """Refuse a pod because the node's settings do not fit its hardware; it is decided when they do."""
        said = Decision(
            admitted=False,
            reason=valid.reason,
            message=valid.message,
            explanation=valid.message,
            revision=pod.revision,
        )
        scope = settings.managers.topology_manager_scope
        grant = rejected_grant(pod.uid, pod.key.namespace, pod.key.name, scope)
        decision = PodDecision(pod.key, node.name, grant, said, self._cache.static_uid(pod))
        await self._decisions.write(node, pod, decision, None)
        node.pods[pod.uid].rejected_at = node.revision

    def undecided(self, node: NodeState, selection: ProfileSelection) -> list[CachedPod]:
        """Return the pods of a node that a profile manages and that have no decision."""
        settings = selection.intended
        if settings is None:
            return []
        return [
            pod
            for pod in self._cache.pods.group(node.name).values()
            if pod.uid not in node.decisions
            and node.pods[pod.uid].idle != pod.revision
            and self._manages(settings, pod)
        ]

    def _wait_for(self, node: NodeState, pod: CachedPod, unknown: list[CachedAllocation]) -> None:
        """Come back to a pod that nothing can be given to before it is known what others hold."""
        unsettled = [one for one in unknown if one.uid in node.unsettled]
        if len(unsettled) < len(unknown):
            self._enqueue(node.name, _SOON)
            return
        names = ", ".join(str(one.key) for one in unsettled[:_NAMED])
        text = f"Waits for the agent of node {node.name} to report what is in force for PodAllocation {names}"
        self._allocations.warn_once(node, pod, "Undecided", text)

    async def _withdraw(self, node: NodeState, selection: ProfileSelection) -> None:
        """Take back rejections of pods that no profile manages any more."""
        settings = selection.decide_with
        for uid, decision in tuple(node.decisions.items()):
            pod = self._cache.pod(decision.key, uid)
            if decision.admitted or pod is None:
                continue
            if selection.withdraw or (settings is not None and not self._manages(settings, pod)):
                allocation = self._cache.allocation(decision.key, uid)
                if allocation is not None:
                    await self._store.delete(allocation)
                node.release(uid)

    def _to_decide(self, node: NodeState, settings: NodeSettings) -> list[CachedPod]:
        """Return the pods of a node that are to be decided now, oldest first."""
        if node.allocator is None:
            return []
        found = []
        for pod in self._cache.pods.group(node.name).values():
            known = node.decisions.get(pod.uid)
            if known is not None:
                stale = known.decision.revision != pod.revision
                changed = stale or node.pods[pod.uid].rejected_at != node.revision
                told = (
                    known.undecided and known.decision.message != self._devices.of_plugins(node, pod).waiting
                )
                again = not known.admitted and (changed or told)
            else:
                # A terminating pod starts nothing new.
                again = node.pods[pod.uid].idle != pod.revision and not pod.terminating
            if again and (known is not None or self._manages(settings, pod)):
                found.append(pod)
        return sorted(found, key=lambda pod: (pod.created, pod.key.namespace, pod.key.name))

    async def _decide(
        self, node: NodeState, pod: CachedPod, request: PodRequest, devices: LocatedDevices
    ) -> None:
        allocator = node.allocator
        if allocator is None:
            return
        request = devices.attached_to(request)
        began = self._clock()
        answer = node.decide(allocator, request)
        self._metrics.decision_seconds.observe(self._clock() - began)
        known = node.decisions.get(pod.uid)
        match answer:
            case Admitted():
                grant = answer.grant
                if not grant.holds_anything and known is None and not _agent_waits(allocator.rules, request):
                    node.pods[pod.uid].idle = pod.revision
                    self._metrics.decisions.labels("nothing").inc()
                    return
                if devices.waits_for and grant.holds_anything:
                    await self._wait(node, pod, allocator.rules.scope, devices)
                    return
                self._devices.warn(node, pod, devices)
                numa = numa_nodes(grant, allocator.topology)
                said = Decision.of(
                    answer, explanation=devices.told[:LONGEST_EXPLANATION], revision=pod.revision
                )
                decision = PodDecision(pod.key, node.name, grant, said, self._cache.static_uid(pod), numa)
                await self._decisions.write(node, pod, decision, answer)
            case Rejected() if (known is None or known.undecided) and (orphans := self._orphans(node)):
                # The common case: the pod that it replaces has just ended, and the agent has yet to say so.
                text = f"Waits for what {orphans} held: gone from the API, their processes have not ended yet"
                self._allocations.warn_once(node, pod, "Undecided", text)
            case Rejected():
                node.pods[pod.uid].rejected_at = node.revision
                if known is not None and (
                    known.decision.reason,
                    known.decision.message,
                    known.decision.revision,
                ) == (answer.reason.value, answer.message, pod.revision):
                    return
                # Milliseconds, where deciding takes a fraction of one: only for what is written.
                seen = node.seen_by(allocator, request.uid)
                cause = brief(seen, request, explain(seen, request))
                refusal = Decision.of(answer, node.revision, cause, pod.revision)
                grant = rejected_grant(pod.uid, pod.key.namespace, pod.key.name, allocator.rules.scope)
                await self._decisions.write(
                    node,
                    pod,
                    PodDecision(pod.key, node.name, grant, refusal, self._cache.static_uid(pod)),
                    None,
                )
                node.pods[pod.uid].rejected_at = node.revision

    async def _wait(
        self, node: NodeState, pod: CachedPod, scope: TopologyManagerScope, devices: LocatedDevices
    ) -> None:
        """Store that a pod which would fit without its devices is not decided before they are known."""
        self._devices.warn(node, pod, devices)
        state = node.pods[pod.uid]
        state.rejected_at = node.revision
        if state.waiting_since is None:
            state.waiting_since = self._clock()
        said = Decision(
            admitted=False, reason=DEVICES_PENDING, message=devices.waiting, revision=pod.revision
        )
        known = node.decisions.get(pod.uid)
        if known is not None and known.decision == said:
            return
        grant = rejected_grant(pod.uid, pod.key.namespace, pod.key.name, scope)
        decision = PodDecision(pod.key, node.name, grant, said, self._cache.static_uid(pod))
        await self._decisions.write(node, pod, decision, None)

    @staticmethod
    def _orphans(node: NodeState) -> str:
        """Name the orphans that hold something; "" without any."""
        found = (node.decisions[uid] for uid in node.orphans if uid in node.decisions)
        names = sorted(str(one.key) for one in found if one.grant.holds_anything)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

    def _manages(self, settings: NodeSettings, pod: CachedPod) -> bool:
        return settings.pod_policy.manages(pod.labels, self._cache.namespace_labels(pod.key.namespace))


def _agent_waits(rules: Rules, request: PodRequest) -> bool:
    """Tell whether the agent holds a pod's containers until there is a decision, even an empty one."""
    return (rules.static_cpu or rules.static_memory) and qos(request) is Qos.GUARANTEED


def _asks_for_nothing(settings: NodeSettings, request: PodRequest) -> bool:
    """Tell whether a pod would hold nothing under settings, whatever the hardware is."""
    managers = settings.managers
    wanted = exclusive_requests(request, pod_level_managers=managers.pod_level_managers)
    cpus = managers.cpu_manager_policy is CpuManagerPolicy.STATIC and (wanted.pod_cpus or any(wanted.cpus))
    with_memory = managers.memory_manager_policy is MemoryManagerPolicy.STATIC
    return not cpus and not (with_memory and (wanted.pod_memory or any(wanted.memory)))
