"""Evict refused pods where the node's settings say so, at a pace that cannot become a storm."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.eviction_policy import eviction_exemption
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.means import Means
    from podnuma.operator.node.state import Book

logger = logging.getLogger(__name__)


async def follow(means: Means, name: str, book: Book, settings: NodeSettings | None) -> None:
    """Evict what is refused on a node and is not spared."""
    topology = means.cache.topologies.get(ObjectKey("", name))
    if settings is None or topology is None:
        return
    for uid, decided in tuple(book.decided.items()):
        pod = means.cache.pods.get(decided.key)
        if decided.decision.admitted or pod is None or pod.uid != uid or uid in book.evicted:
            continue
        if eviction_exemption(pod, settings.handling, topology.created) is None:
            await _evict(means, name, book, pod)


async def _evict(means: Means, name: str, book: Book, pod: CachedPod) -> None:
    controller = pod.controller or pod.uid
    wait = means.pacer.wait(controller, means.clock())
    if wait > 0:
        means.mark(name, wait)
        return
    means.pacer.evicted(controller, means.clock())
    try:
        await means.writer.evict(pod.key, pod.uid)
    except errors.BusyError as error:
        means.metrics.evictions.labels("blocked").inc()
        means.announcer.say(
            pod_reference(pod),
            EventType.WARNING,
            "EvictionBlocked",
            f"The pod does not fit node {name} and cannot be evicted yet: {error.message}",
        )
        means.mark(name, max(error.retry_after or 0.0, means.pacer.wait(controller, means.clock())))
        return
    except errors.ConflictError:
        means.mark(name, means.pacer.wait(controller, means.clock()))
        return
    except errors.RefusedError as error:
        means.metrics.evictions.labels("failed").inc()
        book.evicted.add(pod.uid)
        logger.warning("pod %s cannot be evicted: %s", pod.key, error)
        return
    book.evicted.add(pod.uid)
    means.metrics.evictions.labels("done").inc()
    logger.info("node %s: pod %s evicted, it does not fit", name, pod.key)
    means.announcer.say(
        pod_reference(pod),
        EventType.WARNING,
        "Evicted",
        f"Evicted from node {name}: it does not fit there and onRejection is Evict",
    )
