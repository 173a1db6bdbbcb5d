"""Refused pods carry a condition while they exist, and lose it when they are admitted after all.

Level-based: the condition of a pod is compared with its decision whenever the node's status is reported, not
when the pod is decided. A pod that was never refused is never written to.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.conditions import timestamp
from podnuma.api.pod_condition import render_pod_condition
from podnuma.operator.cache import decode
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)


class PodConditions:
    """Writes the condition of the pods of a node where it is not as decided."""

    def __init__(self, cache: ClusterCache, writer: Writer, now: Callable[[], dt.datetime]) -> None:
        self._cache = cache
        self._writer = writer
        self._now = now

    async def run(self, node: NodeState) -> None:
        """Bring the conditions of a node's pods up to date; one that is refused is tried again later."""
        for pod in tuple(self._cache.pods.group(node.name).values()):
            wanted = _wanted(node.decisions.get(pod.uid))
            if pod.refusal == wanted:
                continue
            try:
                await self._write(pod, wanted)
            except (errors.NotFoundError, errors.ConflictError):
                continue  # it is gone, or another pod has its name
            except (errors.RefusedError, errors.WebhookError) as error:
                logger.warning("the condition of pod %s could not be written: %s", pod.key, error)
                return

    async def _write(self, pod: CachedPod, refusal: tuple[str, str] | None) -> None:
        body = render_pod_condition(pod.key.namespace, pod.key.name, pod.uid, refusal, timestamp(self._now()))
        stored = decode.decode_pod(await self._writer.apply_pod_status(pod.key, body))
        if stored is not None:
            self._cache.update(stored)


def _wanted(decision: PodDecision | None) -> tuple[str, str] | None:
    if decision is None or not decision.refused:
        return None
    said = decision.decision
    return said.reason, said.explanation or said.message
