"""Evict rejected pods where the node's settings say so, at a pace that cannot become a storm."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.operator.node.eviction_policy import eviction_exemption
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.eviction_policy import EvictionBackoff
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)


class Eviction:
    """The step that evicts; pods of one controller are evicted with growing delays, each pod once."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        writer: Writer,
        *,
        events: EventRecorder,
        metrics: Metrics,
        backoff: EvictionBackoff,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._events = events
        self._metrics = metrics
        self._backoff = backoff
        self._enqueue = enqueue
        self._clock = clock

    async def run(self, node: NodeState, selection: ProfileSelection) -> None:
        """Evict the rejected pods of a node that are not exempt."""
        topology = self._cache.topology(node.name)
        settings = selection.policy_settings
        if settings is None or topology is None:
            return
        # Agents register their nodes before any profile is there.
        managed_since = max(topology.created, selection.managed_since)
        for uid, decision in tuple(node.decisions.items()):
            pod = self._cache.pod(decision.key, uid)
            if not decision.refused or pod is None or node.pods[uid].evicted:
                continue
            if eviction_exemption(pod, settings.pod_policy, managed_since) is None:
                await self._evict(node, pod)

    async def _evict(self, node: NodeState, pod: CachedPod) -> None:
        controller = pod.controller.uid if pod.controller is not None else pod.uid
        wait = self._backoff.wait(controller, self._clock())
        if wait > 0:
            self._enqueue(node.name, wait)
            return
        self._backoff.evicted(controller, self._clock())
        try:
            await self._writer.evict(pod.key, pod.uid)
        except (errors.BusyError, errors.UncertainError) as error:
            # Several disruption budgets for one pod are answered with 500, until somebody changes that.
            self._metrics.evictions.labels("blocked").inc()
            text = f"The pod does not fit on {node.name} and cannot be evicted yet: {error.message}"
            self._events.record(pod_reference(pod), EventType.WARNING, "EvictionBlocked", text)
            wait = self._backoff.wait(controller, self._clock())
            self._enqueue(node.name, max(error.retry_after or 0.0, wait))
            return
        except errors.ConflictError:
            self._enqueue(node.name, self._backoff.wait(controller, self._clock()))
            return
        except errors.RefusedError as error:
            self._metrics.evictions.labels("failed").inc()
            node.pods[pod.uid].evicted = True
            logger.warning("pod %s cannot be evicted: %s", pod.key, error)
            return
        node.pods[pod.uid].evicted = True
        self._metrics.evictions.labels("done").inc()
        logger.info("node %s: pod %s evicted, it does not fit", node.name, pod.key)
        text = f"Evicted from {node.name}: the pod was refused there and onRejection is Evict"
        self._events.record(pod_reference(pod), EventType.WARNING, "Evicted", text)
