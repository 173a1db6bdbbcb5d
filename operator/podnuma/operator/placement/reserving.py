"""Pods whose node is chosen have what they need reserved there, a few at once.

    plan     the node counts as if it held the pod, for those that are chosen for next
    store    all that are planned, on all their nodes at once; from then on the nodes count as they are

So one round trip serves several pods, and they are decided in the order in which they were planned. Whether a
pod holds something is unknown while its write has no clear answer: the next run of its node repeats the
write. What the API server does not take now (a quota, a webhook that does not answer), it takes for no node:
such a pod is tried again after a pause that grows.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from podnuma.operator.placement.refused_pods import RefusedPods
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from podnuma.allocator.decision import Admitted
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.placing_nodes import PlacingNodes

logger = logging.getLogger(__name__)

_SOON = 0.5  # seconds until an uncertain pod is looked at again


class Reserving:
    """Pods that are planned by node; `nodes` returns the reconciler of a node, `enqueue` has it run.

    `look_again` has pods chosen again after some seconds.
    """

    def __init__(
        self,
        placing: PlacingNodes,
        nodes: Callable[[str], NodeReconciler | None],
        enqueue: Callable[[str, float], None],
        look_again: Callable[[float], None],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._placing = placing
        self._reconciler = nodes
        self._enqueue = enqueue
        self._look_again = look_again
        self._planned: dict[str, list[CachedPod]] = {}
        self._uncertain: dict[str, str] = {}  # the node on which something may be reserved
        self._clock = clock
        self._refused = RefusedPods(clock, rng)

    def __len__(self) -> int:
        """Pods that are planned."""
        return sum(map(len, self._planned.values()))

    def planned(self, name: str) -> Sequence[CachedPod]:
        """Return the pods that are planned for a node."""
        return self._planned.get(name, ())

    def plan(self, pod: CachedPod, name: str, decision: Admitted) -> None:
        """Have something reserved for a pod on a node with the next `store`."""
        self._planned.setdefault(name, []).append(pod)
        self._placing.expect(name, decision)

    async def store(self) -> tuple[list[CachedPod], list[tuple[CachedPod, str]]]:
        """Reserve what is planned; return the pods that have it, and those for which a node had no room.

        The latter with that node. Raises NotLeadingError.
        """
        planned, self._planned = self._planned, {}
        answers = await asyncio.gather(
            *(self._store_on(name, pods) for name, pods in planned.items()), return_exceptions=True
        )
        reserved: list[CachedPod] = []
        refused: list[tuple[CachedPod, str]] = []
        for (name, pods), answer in zip(planned.items(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            for pod, outcome in zip(pods, answer, strict=True):
                if outcome is True:
                    self._refused.discard(pod.uid)
                    reserved.append(pod)
                elif isinstance(outcome, errors.UncertainError):
                    self._uncertain[pod.uid] = name
                    self._enqueue(name, 0.0)
                elif isinstance(outcome, errors.KubeError):
                    self._pause(pod, name, outcome)
                else:
                    refused.append((pod, name))
        return reserved, refused

    def wait(self, uid: str) -> float:
        """Return after how many seconds a pod may be planned; soon at best while nobody knows what it has."""
        name = self._uncertain.get(uid)
        if name is not None:
            node = self._reconciler(name)
            if node is not None and uid in node.state.unconfirmed:
                return _SOON
            del self._uncertain[uid]
            failed = node.state.pods[uid].failed_write if node is not None else None
            if failed is not None and (left := failed.until - self._clock()) > 0:
                self._refused.add(uid, left)  # what one node could not store no other one could
        return self._refused.wait(uid)

    def _pause(self, pod: CachedPod, name: str, error: errors.KubeError) -> None:
        pause = self._refused.add(pod.uid, error.retry_after or 0.0)
        self._look_again(pause)
        text = "node %s: nothing could be reserved for pod %s, again in %.0f s: %s"
        logger.warning(text, name, pod.key, pause, error)

    def drop_plans(self) -> None:
        """Reserve nothing of what is planned."""
        planned, self._planned = self._planned, {}
        for name in planned:
            self._refresh(name)

    def keep(self, uids: AbstractSet[str]) -> None:
        """Forget all pods but these."""
        for uid in self._uncertain.keys() - uids:
            del self._uncertain[uid]
        self._refused.keep(uids)

    async def _store_on(self, name: str, pods: Sequence[CachedPod]) -> Sequence[bool | errors.KubeError]:
        node = self._reconciler(name)
        try:
            return [False] * len(pods) if node is None else await node.reserve(pods)
        finally:
            self._refresh(name)

    def _refresh(self, name: str) -> None:
        node = self._reconciler(name)
        if node is None:
            self._placing.remove(name)
        else:
            self._placing.refresh(node.state, places=node.places)
