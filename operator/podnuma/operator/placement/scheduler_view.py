"""Whether a pod may go to a node: its profile manages such pods, and the scheduler would accept the node.

What is requested of a node includes the pods that have something reserved there: the scheduler keeps room for
them as soon as they are nominated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.api.placement import is_karpenters
from podnuma.api.scheduling import add, obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podnuma.api.node_settings import PodPolicy
    from podnuma.api.scheduling import Needs, Obstacle
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.reconciler import NodeReconciler


class SchedulerView:
    """Nodes as the scheduler sees them, from the cache; `nodes` returns the reconciler of a node."""

    def __init__(self, cache: ClusterCache, nodes: Callable[[str], NodeReconciler | None]) -> None:
        self._cache = cache
        self._reconciler = nodes

    def manages(self, policy: PodPolicy, pod: CachedPod) -> bool:
        """Tell whether a policy is for a pod."""
        return policy.manages(pod.labels, self._cache.namespace_labels(pod.key.namespace))

    def added_by_karpenter(self, name: str) -> bool:
        """Tell whether Karpenter has added a node."""
        node = self._cache.node(name)
        return node is not None and is_karpenters(node.labels)

    def obstacle(self, pod: CachedPod, name: str, expected: Iterable[CachedPod] = ()) -> Obstacle | None:
        """Return what keeps a pod from a node, where pods are `expected` too; None if it may go there."""
        requested = self._requested(name)
        for one in expected:
            requested = add(requested, one.needs)
        return self._look(pod, name, requested)

    def lasting_obstacle(self, pod: CachedPod, name: str) -> Obstacle | None:
        """Return what keeps a pod from a node on which it has something reserved."""
        return self._look(pod, name, {})

    def _look(self, pod: CachedPod, name: str, requested: Needs) -> Obstacle | None:
        node = self._cache.node(name)
        if pod.scheduling is None or node is None or node.schedulable is None:
            return None
        return obstacle(pod.scheduling.constraints, node.schedulable, requested)

    def _requested(self, name: str) -> Needs:
        total = self._cache.requested(name)
        node = self._reconciler(name)
        for decision in node.state.decisions.values() if node is not None else ():
            if decision.decision.reserved:
                pod = self._cache.pod(decision.key, decision.uid)
                if pod is not None and not pod.node:
                    total = add(total, pod.needs)
        return total
