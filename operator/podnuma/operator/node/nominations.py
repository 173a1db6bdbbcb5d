"""The node that the scheduler is told to try first for a pod: `status.nominatedNodeName`.

A nomination is not only advice. Until it is changed the scheduler keeps the pod's requests free on that
node for it, other pods of no higher priority are not bound there, and the cluster autoscaler adds no node for
the pod. Schedulers from v1.34 on never take it away themselves before the pod is bound. So whoever nominates
takes back what no longer holds; what somebody else has nominated stays.

A nomination that is refused keeps nobody from going on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.placement import render_nomination
from podnuma.operator.cache import decode
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)


class Nominations:
    """Makes nominations, and takes them back."""

    def __init__(self, cache: ClusterCache, writer: Writer, metrics: Metrics) -> None:
        self._cache = cache
        self._writer = writer
        self._metrics = metrics

    async def nominate(self, pod: CachedPod, name: str) -> None:
        """Nominate a node for a pod that is not bound; "" takes back what is nominated."""
        if pod.scheduling is not None and pod.scheduling.nominated == name:
            return
        try:
            stored = await self._writer.nominate(pod.key, render_nomination(pod.uid, name))
        except (errors.RefusedError, errors.WebhookError) as error:
            self._metrics.nominations_refused.inc()
            what = f"node {name} could not be nominated" if name else "its nomination could not be cleared"
            logger.warning("pod %s: %s: %s", pod.key, what, error)
            return
        found = decode.decode_placeable_pod(stored)
        if found is not None:
            self._cache.update(found)

    async def withdraw(self, pod: CachedPod, name: str) -> None:
        """Take back the nomination of a node for a pod, if it is that one; the pod may be gone."""
        if pod.node or pod.scheduling is None or pod.scheduling.nominated != name:
            return
        try:
            await self.nominate(pod, "")
        except (errors.NotFoundError, errors.ConflictError):
            return
