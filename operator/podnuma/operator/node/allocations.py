"""Bring the decisions of a node and its PodAllocations into line.

    pod gone                            released (`releases`), or kept as an orphan
    mirror pod came back                the decision of the static pod is the new mirror's
    decision not stored as decided      the PodAllocation is restored, with an event
    PodAllocation without a decision    its decision is adopted (after a restart, or one of a
                                        former leader) unless it overlaps a grant: then it is deleted
    phase not as decided                the operator's part of the status is applied

Releases come first.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.operator.write.decision import decision_in
from podnuma.operator.write.event_recorder import allocation_reference, pod_reference

if TYPE_CHECKING:
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.releases import Releases
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)


class AllocationSync:
    """The step that restores and adopts, after releases; afterwards decisions and PodAllocations agree."""

    def __init__(
        self,
        cache: ClusterCache,
        store: AllocationStore,
        releases: Releases,
        *,
        events: EventRecorder,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._store = store
        self._releases = releases
        self._events = events
        self._metrics = metrics

    async def run(self, node: NodeState) -> None:
        """Bring decisions and PodAllocations of one node into line."""
        node.forget_absent({pod.uid for pod in self._cache.pods.group(node.name).values()})
        await self._releases.run(node)
        await self._follow_mirrors(node)
        await self._restore(node)
        await self._adopt_all(node)
        for decision in tuple(node.decisions.values()):
            allocation = self._cache.allocation(decision.key, decision.uid)
            if allocation is not None and decision.uid not in node.unconfirmed:
                await self._store.write_phase(decision, allocation)

    def has_unknown(self, node: NodeState) -> bool:
        """Tell whether the node has a PodAllocation without a decision: what it holds must not be given.

        One may arrive by a watch while a write waits for its answer; the next run handles it.
        """
        return any(
            allocation.pod_uid not in node.decisions
            for allocation in self._cache.allocations.group(node.name).values()
        )

    def adopt(self, node: NodeState, pod: CachedPod, allocation: CachedAllocation) -> bool:
        """Adopt the decision of a PodAllocation; if that fails return False: the pod must be decided anew."""
        decision = decision_in(allocation)
        if decision is None:
            problem = allocation.problem or "it cannot be read"
        elif allocation.node != node.name:
            problem = f"spec.nodeName is {allocation.node}, the pod is on {node.name}"
        else:
            problem = node.adopt(decision) or ""
        if not problem:
            return True
        message = f"PodAllocation {allocation.key} cannot be used: {problem}; the pod is decided again"
        if self.warn_once(node, pod, "AllocationConflict", message):
            self._metrics.conflicts.inc()
            logger.warning("PodAllocation %s cannot be adopted: %s", allocation.key, problem)
        return False

    def warn_once(self, node: NodeState, pod: CachedPod, reason: str, message: str) -> bool:
        """Record a warning about a pod unless it was the last one; return whether it was new."""
        if node.warning.get(pod.uid) == (reason, message):
            return False
        node.warning[pod.uid] = (reason, message)
        self._events.record(pod_reference(pod), EventType.WARNING, reason, message)
        return True

    async def _follow_mirrors(self, node: NodeState) -> None:
        """Give the decision of a static pod to the mirror that came instead of the deleted one."""
        orphans = {
            decision.static_uid: decision
            for uid in node.orphans
            if (decision := node.decisions.get(uid)) is not None and decision.static_uid
        }
        if not orphans:
            return
        for pod in self._cache.pods.group(node.name).values():
            known = orphans.get(pod.static_uid)
            if known is None or pod.uid in node.decisions or pod.key != known.key:
                continue
            allocation = self._cache.allocation_on(node.name, known.uid)
            if allocation is None or allocation.deleting:
                continue
            decision = known.of_mirror(pod.uid)
            await self._store.hand_over(decision, allocation)
            node.hand_over(known.uid, decision)
            logger.info("node %s: mirror pod %s is back and keeps what it holds", node.name, pod.key)

    async def _restore(self, node: NodeState) -> None:
        for uid, decision in tuple(node.decisions.items()):
            # A later decision may have been written: it is repeated before anything else.
            # A pod that is not present is about to be released, and its name may be another pod's.
            pod = self._cache.pod(decision.key, uid)
            if uid in node.unconfirmed or pod is None or pod.node not in {node.name, ""}:
                continue
            if self._store.is_stored(decision):
                self._tell_kept(node, decision)
                continue
            found = self._cache.allocations.get(decision.key)
            stored = await self._store.rewrite(decision)
            self._metrics.restored.inc()
            what = "was deleted" if found is None else f"was changed ({decision.difference(found)})"
            logger.warning("PodAllocation %s %s, restored", decision.key, what)
            self._events.record(
                allocation_reference(stored),
                EventType.WARNING,
                "Restored",
                f"PodAllocation {decision.key} {what} by someone else and was restored: it says what the pod "
                f"holds; to free that, delete the pod (version {stored.version.resource_version})",
            )

    def _tell_kept(self, node: NodeState, decision: PodDecision) -> None:
        """Say to whoever deleted the PodAllocation of a living pod why it does not go."""
        pod = self._cache.pod(decision.key, decision.uid)
        allocation = self._cache.allocations.get(decision.key)
        if pod is None or allocation is None or not allocation.deleting:
            return
        text = (
            f"PodAllocation {decision.key} was deleted by someone else and stays until the pod has ended: it "
            "says what the pod holds; to free that, delete the pod"
        )
        self.warn_once(node, pod, "Kept", text)

    async def _adopt_all(self, node: NodeState) -> None:
        found: list[tuple[CachedPod, CachedAllocation]] = []
        for pod in self._cache.pods.group(node.name).values():
            allocation = self._cache.allocations.get(pod.key)
            if (
                pod.uid not in node.decisions
                and allocation is not None
                and allocation.pod_uid in {pod.uid, None}
            ):
                if allocation.reserved and allocation.node != node.name:
                    await self._store.delete(allocation)  # the scheduler took another node than this one
                    continue
                found.append((pod, allocation))
        for allocation in tuple(self._cache.allocations.group(node.name).values()):
            waiting = self._cache.unbound_pods().get(allocation.key)
            if waiting is None or waiting.uid in node.decisions or allocation.pod_uid != waiting.uid:
                continue
            if allocation.reserved:
                found.append((waiting, allocation))
            else:
                await self._store.delete(allocation)  # it says that a pod without a node runs here
        # Of two pods that claim the same CPUs the older one keeps them.
        for pod, allocation in sorted(found, key=lambda pair: (pair[0].created, str(pair[0].key))):
            if not self.adopt(node, pod, allocation):
                # It goes before anything is decided: an agent may still act on it.
                await self._store.delete(allocation)
