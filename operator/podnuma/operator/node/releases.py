"""Release what deleted pods held, once none of their processes can be using it.

A pod may be gone from the API before its processes are: it was deleted by force, its kubelet hangs, a
container is slow to stop. Until then the pod is an *orphan*: its decision stays, its PodAllocation is being
deleted and waits for a finalizer, and the agent goes on to keep everybody else off its CPUs. It is released

    when the agent reports Released      the pod's cgroup is empty or gone
    when the node is gone
    when the agent has been silent for longer than releaseAfterSeconds

A static pod is known by its mirror pod, whose deletion ends nothing, and which may come back whenever its
kubelet does. So its PodAllocation is not deleted as long as the agent has it in force, and not before the
mirror has had time to come back: a deletion that was asked for cannot be taken back.

Releases are stored before what is released can be given again: the agent must see the old owner go
before it sees the new one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.allocator import cpuset
from podnuma.api.events import EventType
from podnuma.api.node_settings import DEFAULT_RELEASE
from podnuma.operator.node.state import WRITE_AGAIN
from podnuma.operator.write.decision import decision_in
from podnuma.operator.write.event_recorder import allocation_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.api.pod_allocation import PodAllocation
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.live_pods import LivePods
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)

_SOON = 0.5  # seconds
MIRROR_RETURNS = 120.0
"""Seconds for a mirror pod to come back; a kubelet makes it anew at its next sync, once a minute."""


class Releases:
    """The step that releases what ended pods held; an orphan keeps what it holds."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        pods: LivePods,
        store: AllocationStore,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._pods = pods
        self._store = store
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock

    async def run(self, node: NodeState) -> None:
        """Release the pods of a node that have ended, and adopt those whose processes may not have."""
        for uid, decision in tuple(node.decisions.items()):
            if self._cache.pod(decision.key, uid) is not None:  # not here yet: see `reservations`
                node.orphans.pop(uid, None)
            elif await self._pods.is_gone(decision.key.of_pod(uid), uid):
                try:
                    await self._release(node, decision)
                except errors.KubeError as error:
                    if not errors.may_be_about_one_object(error):
                        raise
                    self._note_refused(node, decision, error)
        for allocation in tuple(self._cache.allocations.group(node.name).values()):
            if allocation.pod_uid not in node.decisions and await self._is_orphan(node, allocation):
                await self._adopt_orphan(node, allocation)

    async def _is_orphan(self, node: NodeState, allocation: CachedAllocation) -> bool:
        """Tell for certain whether the pod that a PodAllocation is about is gone, whatever that is called."""
        uid = allocation.pod_uid
        if any(pod.uid == uid for pod in self._cache.pods.group(node.name).values()):
            return False
        key = allocation.key.of_pod(uid or "")
        pod = self._cache.pods.get(key)
        if pod is not None and uid in {pod.uid, None}:
            return False
        return await self._pods.is_gone(key, uid)

    async def _release(self, node: NodeState, decision: PodDecision) -> None:
        if not await self._store.no_write_pending(decision.key):
            self._enqueue(node.name, _SOON)
            return
        allocation = self._cache.allocation_on(node.name, decision.uid)
        if allocation is not None:
            since = node.orphans.setdefault(decision.uid, self._clock())
            wait = self._wait(node, decision, allocation, since)
            if wait > 0:
                await self._hold(node, allocation, since)
                self._enqueue(node.name, wait)
                return
            await self._store.delete(allocation)
            if allocation.finalized and not allocation.released and not self._never_ran(decision):
                self._tell_unseen(node, decision, allocation)
        node.release(decision.uid)
        if decision.grant.holds_anything:
            self._metrics.releases.inc()
        logger.info("node %s: pod %s (%s) is gone, released", node.name, decision.key, decision.uid)

    def _note_refused(self, node: NodeState, decision: PodDecision, error: errors.KubeError) -> None:
        """Go on, where the API server does not let one PodAllocation go: what it says is held stays held."""
        text = f"the API server does not let PodAllocation {decision.key} go: {error}"
        node.note_write_refused(text)
        logger.warning("node %s: %s", node.name, text)
        self._enqueue(node.name, WRITE_AGAIN)

    async def _adopt_orphan(self, node: NodeState, allocation: CachedAllocation) -> None:
        """Keep the decision of a pod that went while no operator looked, unless nothing is held by it."""
        decision = decision_in(allocation)
        if decision is None:
            await self._hold_unreadable(node, allocation)
            return
        if self._wait(node, decision, allocation, self._clock()) <= 0:
            await self._store.delete(allocation)
            return
        problem = node.adopt(decision)
        if problem is not None:
            logger.warning(
                "PodAllocation %s belongs to no pod and cannot be kept: %s", allocation.key, problem
            )
            await self._store.delete(allocation)
            return
        await self._release(node, decision)

    def _never_ran(self, decision: PodDecision) -> bool:
        """Tell whether it is certain that no node has ever seen a pod."""
        return decision.decision.reserved and self._cache.never_bound(decision.uid)

    async def _hold_unreadable(self, node: NodeState, allocation: CachedAllocation) -> None:
        """Wait until no process is left on CPUs that nobody knows; meanwhile nothing on the node is free."""
        since = node.unsettled.setdefault(allocation.uid, self._clock())
        wait = self._wait(node, None, allocation, since)
        if wait > 0:
            await self._hold(node, allocation, since)
            self._enqueue(node.name, wait)
            return
        await self._store.delete(allocation)

    def _tell_unseen(self, node: NodeState, decision: PodDecision, allocation: CachedAllocation) -> None:
        """Say that nobody has seen the processes of an orphan end."""
        known = self._cache.node(node.name) is not None
        why = f"the agent of node {node.name} is silent" if known else f"node {node.name} is gone"
        cpus = cpuset.render(decision.grant.exclusive_cpus) or "none"
        text = f"CPUs {cpus} of {decision.key} were freed although nobody saw its processes end: {why}"
        logger.warning("%s", text)
        self._metrics.releases_unseen.inc()
        self._events.record(allocation_reference(allocation), EventType.WARNING, "ReleasedUnseen", text)

    def _tell_without_mirror(
        self, node: NodeState, allocation: CachedAllocation, decided: PodAllocation
    ) -> None:
        """Say once that a static pod runs on without its mirror."""
        cpus = cpuset.render(decided.grant.exclusive_cpus) or "none"
        text = f"{allocation.key} keeps CPUs {cpus} until its processes have ended: its mirror pod is gone"
        state = node.pods[decided.pod_uid]
        if state.warning != ("MirrorMissing", text):
            state.warning = ("MirrorMissing", text)
            self._events.record(allocation_reference(allocation), EventType.WARNING, "MirrorMissing", text)

    def _wait(
        self, node: NodeState, decision: PodDecision | None, allocation: CachedAllocation, since: float
    ) -> float:
        """Return for how many seconds at the longest an orphan keeps what it holds, if nothing changes."""
        if decision is not None and not decision.grant.holds_anything:
            return 0.0
        if not allocation.finalized or allocation.released:
            return 0.0
        if decision is not None and self._never_ran(decision):
            return 0.0
        if self._cache.node(node.name) is None:
            return 0.0
        settings = node.settings
        bound = DEFAULT_RELEASE if settings is None else settings.pod_policy.release_after
        topology = self._cache.topology(node.name)
        node.heartbeat.observe(topology.heartbeat if topology is not None else "", self._clock())
        heard = node.heartbeat.seen_at if node.heartbeat.time else since
        return heard + bound - self._clock()

    async def _hold(self, node: NodeState, allocation: CachedAllocation, since: float) -> None:
        """Ask for the deletion of an orphan's PodAllocation, which waits for its finalizer."""
        if allocation.deleting:
            return
        decided = allocation.decided
        if decided is not None and decided.static_uid:
            if (left := since + MIRROR_RETURNS - self._clock()) > 0:
                self._enqueue(node.name, left)
                return
            if decided.status.phase.in_force:
                self._tell_without_mirror(node, allocation, decided)
                return
        await self._store.begin_deletion(allocation)
        logger.info(
            "node %s: pod %s (%s) is gone from the API; it keeps CPUs %s until its processes have ended",
            node.name,
            allocation.key,
            allocation.pod_uid,
            "that nobody knows" if decided is None else cpuset.render(decided.grant.exclusive_cpus) or "none",
        )
