"""Pods whose node is chosen have what they need reserved there, a few at once.

    plan     the node counts as if it held the pod, for those that are chosen for next
    store    all that are planned, on all their nodes at once; from then on the nodes count as they are

So one round trip serves several pods, and they are decided in the order in which they were planned. Whether a
pod holds something is unknown while its write has no clear answer: the next run of its node repeats the
write.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from podnuma.allocator.decision import Admitted
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.placing_nodes import PlacingNodes

logger = logging.getLogger(__name__)


class Reserving:
    """Pods that are planned by node; `nodes` returns the reconciler of a node, `enqueue` has it run."""

    def __init__(
        self,
        placing: PlacingNodes,
        nodes: Callable[[str], NodeReconciler | None],
        enqueue: Callable[[str, float], None],
    ) -> None:
        self._placing = placing
        self._reconciler = nodes
        self._enqueue = enqueue
        self._planned: dict[str, list[CachedPod]] = {}
        self._uncertain: dict[str, str] = {}  # the node on which something may be reserved

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
        """Reserve what is planned; return the pods that have it, and those that got nothing, with the node.

        Raises NotLeadingError.
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
                    reserved.append(pod)
                elif isinstance(outcome, errors.UncertainError):
                    self._uncertain[pod.uid] = name
                    self._enqueue(name, 0.0)
                else:
                    if outcome:
                        text = "node %s: nothing could be reserved for pod %s: %s"
                        logger.warning(text, name, pod.key, outcome)
                    refused.append((pod, name))
        return reserved, refused

    def is_uncertain(self, uid: str) -> bool:
        """Tell whether a pod may have something reserved or not."""
        name = self._uncertain.get(uid)
        if name is None:
            return False
        node = self._reconciler(name)
        if node is not None and uid in node.state.unconfirmed:
            return True
        del self._uncertain[uid]
        return False

    def drop_plans(self) -> None:
        """Reserve nothing of what is planned."""
        planned, self._planned = self._planned, {}
        for name in planned:
            self._refresh(name)

    def keep(self, uids: AbstractSet[str]) -> None:
        """Forget all pods but these."""
        for uid in self._uncertain.keys() - uids:
            del self._uncertain[uid]

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
