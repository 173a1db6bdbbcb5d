"""Bring the decisions of a node and its PodAllocations into line.

    pod gone                            released (`releases`), or kept as an orphan
    mirror pod came back                the decision of the static pod is the new mirror's
    PodAllocation without a decision    its decision is adopted (after a restart, or one of a
                                        former leader) unless it overlaps a grant: then it is deleted
    PodAllocation under another name    a second one about a pod that is there: deleted once the pod has its
                                        own, which takes over what only the other one says
    decision not stored as decided      the PodAllocation is restored, with an event; once, where the API
                                        server stores it otherwise than it is sent
    phase not as decided                the operator's part of the status is applied

Releases come first. Where a spec cannot be read, or is not what was decided, the agent's copy of it is
adopted, and so put back. Of two PodAllocations that claim the same CPUs the one stays whose pod runs there:
the agent refuses the other one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.operator.node.state import WRITE_AGAIN
from podnuma.operator.write.decision import decision_in
from podnuma.operator.write.event_recorder import allocation_reference, pod_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod, ObjectKey
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.releases import Releases
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)

_AGENT_LOOKS = 2.0  # seconds; an agent looks at its node every second
_AGENT_ANSWERS = 180.0  # seconds for it to say what it found


class AllocationSync:
    """The step that restores and adopts, after releases; afterwards decisions and PodAllocations agree."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        store: AllocationStore,
        releases: Releases,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._store = store
        self._releases = releases
        self._enqueue = enqueue
        self._clock = clock
        self._events = events
        self._metrics = metrics

    async def run(self, node: NodeState) -> None:
        """Bring decisions and PodAllocations of one node into line."""
        node.forget_settled({one.uid for one in self._cache.allocations.group(node.name).values()})
        node.forget_absent({pod.uid for pod in self._cache.pods.group(node.name).values()})
        await self._releases.run(node)
        await self._follow_mirrors(node)
        await self._adopt_all(node)
        await self._restore(node)
        await self._delete_copies(node)
        for decision in tuple(node.decisions.values()):
            allocation = self._cache.allocation(decision.key, decision.uid)
            if allocation is not None and decision.uid not in node.unconfirmed:
                try:
                    await self._store.write_phase(decision, allocation)
                except errors.KubeError as error:
                    if not errors.may_be_about_one_object(error):
                        raise
                    logger.warning("node %s: %s", node.name, self._note_refused(node, decision.key, error))

    def unknown(self, node: NodeState) -> list[CachedAllocation]:
        """Return the PodAllocations of a node without a decision: what they hold must not be given.

        One may arrive by a watch while a write waits for its answer; the next run handles it.
        """
        return [
            allocation
            for allocation in self._cache.allocations.group(node.name).values()
            if allocation.pod_uid not in node.decisions
        ]

    def adopt(self, node: NodeState, pod: CachedPod, allocation: CachedAllocation) -> bool:
        """Adopt the decision of a PodAllocation; if that fails return False: the pod must be decided anew."""
        decision = decision_in(allocation)
        if decision is None:
            problem = allocation.problem or "it cannot be read"
        elif decision.node != node.name:
            problem = f"spec.nodeName is {decision.node}, the pod is on {node.name}"
        elif decision.uid != pod.uid:
            problem = f"it is about another pod, {decision.uid}"
        else:
            problem = node.adopt(decision.under(pod.key)) or ""
        if not problem:
            return True
        message = f"PodAllocation {allocation.key} cannot be used: {problem}; the pod is decided again"
        if self.warn_once(node, pod, "AllocationConflict", message):
            self._metrics.conflicts.inc()
            logger.warning("PodAllocation %s cannot be adopted: %s", allocation.key, problem)
        return False

    def warn_once(self, node: NodeState, pod: CachedPod, reason: str, message: str) -> bool:
        """Record a warning about a pod unless it was the last one; return whether it was new."""
        state = node.pods[pod.uid]
        if state.warning == (reason, message):
            return False
        state.warning = (reason, message)
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
            known = orphans.get(self._cache.static_uid(pod))
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
            try:
                stored = await self._store.rewrite(decision)
            except errors.KubeError as error:
                if not errors.may_be_about_one_object(error):
                    raise
                self.tell_refused(node, pod, error)
                continue
            if self.tell_stored_otherwise(node, pod, decision, stored):
                continue
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

    async def _delete_copies(self, node: NodeState) -> None:
        """Delete what says again, under another name, what a pod's own PodAllocation says."""
        for allocation in tuple(self._cache.allocations.group(node.name).values()):
            uid = allocation.pod_uid
            decision = node.decisions.get(uid) if uid is not None else None
            if decision is None or allocation.key == decision.key or uid in node.orphans:
                continue
            if uid not in node.unconfirmed and self._store.is_stored(decision):
                await self._store.delete(allocation)
                logger.warning(
                    "PodAllocation %s was about pod %s, too: deleted", allocation.key, decision.key
                )

    def tell_refused(self, node: NodeState, pod: CachedPod, error: errors.KubeError) -> None:
        """Say that the API server does not take what was decided about a pod, and come back."""
        text = self._note_refused(node, pod.key, error)
        if self.warn_once(node, pod, "Undecided", f"Waits: {text}"):
            logger.warning("node %s: %s", node.name, text)

    def _note_refused(self, node: NodeState, key: ObjectKey, error: errors.KubeError) -> str:
        """Have the condition of the node say it, and come back; return the sentence."""
        text = f"the API server refuses the PodAllocation of {key}: {error}"
        node.note_write_refused(text)
        self._enqueue(node.name, WRITE_AGAIN)
        return text

    def tell_stored_otherwise(
        self, node: NodeState, pod: CachedPod, decision: PodDecision, stored: CachedAllocation
    ) -> bool:
        """Tell whether the API server stored something else than what was decided; if so, say what."""
        if decision.shown_by(stored):
            return False
        then = (
            "nothing on the node depends on that"
            if decision.has_its_effect(stored)
            else "no agent acts on it, so the pod's containers do not get what was decided"
        )
        what = f"PodAllocation {decision.key} is stored otherwise than sent, {decision.difference(stored)}"
        cause = "an admission policy or webhook changes it, or its CRD is older than the operator"
        text = f"{what}: {then}; {cause}"
        self.warn_once(node, pod, "StoredOtherwise", text)
        return True

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
            allocation = None if pod.uid in node.decisions else self._allocation_of(pod)
            if allocation is not None:
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
        contested = _contested([allocation for _, allocation in found])
        if contested and self._agent_has_to_say(node, contested):
            found = [(pod, one) for pod, one in found if one not in contested]
        # If the agent refused neither of two, since it is silent, the older pod's stays.
        for pod, allocation in sorted(
            found, key=lambda pair: (pair[1].refused, pair[1].reserved, pair[0].created, str(pair[0].key))
        ):
            if not self.adopt(node, pod, allocation):
                # It goes before anything is decided: an agent may still act on it.
                await self._store.delete(allocation)

    def _allocation_of(self, pod: CachedPod) -> CachedAllocation | None:
        """Return the PodAllocation of a pod's name if it is about the pod, else one of any name that is."""
        own = self._cache.allocations.get(pod.key)
        if own is not None and own.pod_uid in {pod.uid, None}:
            return own
        return self._cache.allocation_on(pod.node, pod.uid)

    def _agent_has_to_say(self, node: NodeState, contested: list[CachedAllocation]) -> bool:
        """Tell whether the agent has yet to say which of these is in force; if so, come back."""
        now = self._clock()
        since = [node.unsettled.setdefault(allocation.uid, now) for allocation in contested]
        if all(allocation.seen_by_agent or allocation.reserved for allocation in contested):
            return False
        topology = self._cache.topology(node.name)
        node.heartbeat.observe(topology.heartbeat if topology is not None else "", now)
        if not node.heartbeat.awaited(now) or now - min(since) > _AGENT_ANSWERS:
            return False
        names = ", ".join(str(allocation.key) for allocation in contested)
        logger.info(
            "node %s: PodAllocations %s claim the same CPUs; the node's agent decides which one stays",
            node.name,
            names,
        )
        self._enqueue(node.name, _AGENT_LOOKS)
        return True


def _contested(allocations: list[CachedAllocation]) -> list[CachedAllocation]:
    """Return those whose CPUs another one claims, too."""
    once = twice = 0
    for allocation in allocations:
        cpus = _claimed(allocation)
        twice |= once & cpus
        once |= cpus
    return [allocation for allocation in allocations if _claimed(allocation) & twice]


def _claimed(allocation: CachedAllocation) -> int:
    decided = allocation.decided
    return 0 if decided is None else decided.grant.exclusive_cpus
