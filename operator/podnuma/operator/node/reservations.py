"""What a pod holds on a node before it is bound there: made, taken over, given back.

    placed, not bound      its decision says Reserved; nobody else gets what it holds
    bound here             taken over: the same decision says Admitted, and the pod gets its event
    bound elsewhere        given back; the other node decides it like any other pod
    not bound in a minute  given back, counted from when our gate is gone: something else holds the pod up,
                           or the scheduler has no room for it. Its nomination goes, too: it would keep room
                           there in the scheduler's books. A scheduler that waits for volumes (ten minutes
                           by default), or for the other pods of a group (five), has chosen the node
                           already and says nothing: so such a pod has that time, too, until it failed
    node gone              given back at once; a pod that is still gated is placed anew
    pod deleted            `releases` sees to it, at once if the pod never had a node

A reservation is stored before anybody acts on it, like every decision, and held by the state of one node,
whose runs come one after the other: two pods never hold the same. Several pods of a node are stored at once.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.allocator.decision import Admitted
from podnuma.api.events import EventType
from podnuma.api.pod_allocation import ADMITTED, RESERVED, Decision, numa_nodes
from podnuma.operator.write.decision import PodDecision
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podnuma.allocator.topology import Topology
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.allocations import AllocationSync
    from podnuma.operator.node.decision_writer import DecisionWriter
    from podnuma.operator.node.nominations import Nominations
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)

AT_ONCE = 8
"""Pods of one node whose PodAllocations are written at once."""

Outcome = bool | errors.KubeError
"""Whether something is reserved, or why nobody knows or nothing could be stored."""

BIND_WITHIN = 60.0
"""Seconds for the scheduler to bind a pod whose gate is lifted."""


class Reservations:
    """The step that follows pods from their reservation to their node."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        store: AllocationStore,
        allocations: AllocationSync,
        decisions: DecisionWriter,
        nominations: Nominations,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._store = store
        self._allocations = allocations
        self._decisions = decisions
        self._nominations = nominations
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock

    def can_hold(self, node: NodeState) -> bool:
        """Tell whether pods may be placed on a node now: its state is complete and its profile wants it."""
        settings = node.settings
        return (
            settings is not None
            and settings.pod_policy.places
            and node.allocator is not None
            and not node.unconfirmed
            and not self._allocations.unknown(node)
            and self._cache.node(node.name) is not None
        )

    async def reserve(self, node: NodeState, pods: Sequence[CachedPod]) -> list[Outcome]:
        """Reserve what unbound pods need; tell for each whether it is: not if the node cannot hold it now.

        One is decided after the other, each as if those before it were held; then all are stored at once.
        Where that fails for one, its error is the outcome, and what the others hold is theirs all the same.
        """
        allocator = node.allocator
        if allocator is None or not self.can_hold(node):
            return [False] * len(pods)
        decided: dict[str, Admitted] = {}
        expected = allocator.without("")
        for pod in pods:
            if pod.request is None or pod.uid in node.decisions:
                continue
            answer = node.decide(expected, pod.request)
            if isinstance(answer, Admitted) and answer.grant.holds_anything:
                expected.hold(answer)
                decided[pod.uid] = answer
        stored = await asyncio.gather(
            *(
                self._store_one(node, pod, decided[pod.uid], allocator.topology)
                for pod in pods
                if pod.uid in decided
            ),
            return_exceptions=True,
        )
        outcomes: dict[str, Outcome] = {}
        for uid, outcome in zip(decided, stored, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, errors.KubeError):
                raise outcome
            outcomes[uid] = outcome
        return [outcomes.get(pod.uid, False) for pod in pods]

    async def _store_one(self, node: NodeState, pod: CachedPod, answer: Admitted, topology: Topology) -> bool:
        said = replace(Decision.of(answer, revision=pod.revision), reason=RESERVED)
        numa = numa_nodes(answer.grant, topology)
        refused = await self._decisions.write(
            node,
            pod,
            PodDecision(pod.key, node.name, answer.grant, said, self._cache.static_uid(pod), numa),
            answer,
        )
        if refused is not None:
            raise refused
        return pod.uid in node.decisions

    async def give_back(self, node: NodeState, uid: str, why: str) -> None:
        """Free what a pod held that has never run here."""
        decision = node.decisions.get(uid)
        if decision is None or not decision.decision.reserved:
            return
        if (pod := self._cache.pod(decision.key, uid)) is not None:
            await self._nominations.withdraw(pod, node.name)
        allocation = self._cache.allocation_on(node.name, uid)
        if allocation is not None:
            await self._store.delete(allocation)
        node.release(uid)
        self._metrics.placements.labels("given_back").inc()
        logger.info("node %s: the reservation of pod %s was released: %s", node.name, decision.key, why)

    async def run(self, node: NodeState) -> None:
        """Take over what bound pods had reserved, and give back what is not going to be used."""
        await self._take_over(node)
        for _, pod in self._reserved(node):
            if pod.node and pod.node != node.name:
                await self.give_back(node, pod.uid, f"the scheduler bound it to {pod.node}")
            elif not pod.node and self._cache.node(node.name) is None:
                await self.give_back(node, pod.uid, "the node is gone")
            elif not pod.node and not pod.gated:
                await self._expect_binding(node, pod)

    async def _take_over(self, node: NodeState) -> None:
        """Make what pods had reserved their decision, for a few at once."""
        bound = [(decision, pod) for decision, pod in self._reserved(node) if pod.node == node.name]
        for start in range(0, len(bound), AT_ONCE):
            outcomes = await asyncio.gather(
                *(self._admit(node, decision, pod) for decision, pod in bound[start : start + AT_ONCE]),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome

    async def _admit(self, node: NodeState, decision: PodDecision, pod: CachedPod) -> None:
        said = replace(decision.decision, reason=ADMITTED)
        await self._decisions.write(node, pod, replace(decision, decision=said), None)

    def _reserved(self, node: NodeState) -> list[tuple[PodDecision, CachedPod]]:
        """Return what is certain to be reserved, with its pods."""
        return [
            (decision, pod)
            for decision in node.decisions.values()
            if decision.decision.reserved and decision.uid not in node.unconfirmed
            if (pod := self._cache.pod(decision.key, decision.uid)) is not None
        ]

    async def _expect_binding(self, node: NodeState, pod: CachedPod) -> None:
        within = BIND_WITHIN + (pod.scheduling.binding_takes if pod.scheduling is not None else 0.0)
        left = node.reserved.setdefault(pod.uid, self._clock()) + within - self._clock()
        if left > 0:
            self._enqueue(node.name, left)
            return
        await self.give_back(node, pod.uid, f"not bound within {within:.0f} s")
        text = (
            f"Not bound to node {node.name} within {within:.0f} s: what was reserved there is free "
            "again; the pod is decided on whichever node the scheduler finds, as without placement"
        )
        self._events.record(pod_reference(pod), EventType.WARNING, "ReservationLapsed", text)
