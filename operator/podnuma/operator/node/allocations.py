"""Bring the decisions of a node and its PodAllocations into line.

    pod gone                            its PodAllocation is deleted, then its CPUs are free
    decision not stored as decided      the PodAllocation is restored, with an event
    PodAllocation without a decision    its decision is adopted (after a restart, or one of a
                                        former leader) unless it overlaps a grant: then it is deleted
    phase not as decided                the operator's part of the status is applied

Releases come first, and are stored before their CPUs can be given again: the agent must see
the old owner go before it sees the new one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.operator.cache.objects import ObjectVersion
from podnuma.operator.write.decision import decision_in
from podnuma.operator.write.event_recorder import allocation_reference, pod_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod, ObjectKey
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)

_SOON = 0.5  # seconds


class AllocationSync:
    """The step that releases, restores and adopts; afterwards decisions and PodAllocations agree."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        store: AllocationStore,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._store = store
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue

    async def run(self, node: NodeState) -> None:
        """Bring decisions and PodAllocations of one node into line."""
        node.forget_absent({pod.uid for pod in self._cache.pods.group(node.name).values()})
        await self._release(node)
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

    async def pod_is_gone(self, key: ObjectKey, uid: str | None) -> bool:
        """Tell for certain whether a pod that is not in the cache is gone.

        An event may have been missed or be on its way: only a deletion that was seen, or a live
        read, counts.
        """
        if uid is not None and self._cache.pods.was_deleted(uid):
            return True
        found = await self._reader.pod(key)
        if found is not None and (uid is None or found.uid == uid):
            self._cache.pods.confirm(found)
            self._enqueue(found.node, 0.0)
            return False
        if uid is not None:
            self._cache.pods.delete(key, ObjectVersion(uid, 0))
        return True

    async def _release(self, node: NodeState) -> None:
        for uid, decision in tuple(node.decisions.items()):
            if self._cache.pod(decision.key, uid) is not None or not await self.pod_is_gone(
                decision.key, uid
            ):
                continue
            if not await self._store.no_write_pending(decision.key):
                self._enqueue(node.name, _SOON)
                continue
            allocation = self._cache.allocation(decision.key, uid)
            if allocation is not None:
                await self._store.delete(allocation)
            node.release(uid)
            if decision.grant.holds_anything:
                self._metrics.releases.inc()
            logger.info("node %s: pod %s (%s) is gone, released", node.name, decision.key, uid)
        for allocation in tuple(self._cache.allocations.group(node.name).values()):
            pod = self._cache.pods.get(allocation.key)
            if pod is not None and allocation.pod_uid in {pod.uid, None}:
                continue
            if allocation.pod_uid not in node.decisions and await self.pod_is_gone(
                allocation.key, allocation.pod_uid
            ):
                await self._store.delete(allocation)

    async def _restore(self, node: NodeState) -> None:
        for uid, decision in tuple(node.decisions.items()):
            # A later decision may have been written: it is repeated before anything else.
            # A pod that is not present is about to be released, and its name may be another pod's.
            if uid in node.unconfirmed or self._cache.pod(decision.key, uid) is None:
                continue
            if self._store.is_stored(decision):
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

    async def _adopt_all(self, node: NodeState) -> None:
        found: list[tuple[CachedPod, CachedAllocation]] = []
        for pod in self._cache.pods.group(node.name).values():
            allocation = self._cache.allocations.get(pod.key)
            if (
                pod.uid not in node.decisions
                and allocation is not None
                and allocation.pod_uid in {pod.uid, None}
            ):
                found.append((pod, allocation))
        # Of two pods that claim the same CPUs the older one keeps them.
        for pod, allocation in sorted(found, key=lambda pair: (pair[0].created, str(pair[0].key))):
            if not self.adopt(node, pod, allocation):
                # It goes before anything is decided: an agent may still act on it.
                await self._store.delete(allocation)
