"""Kubernetes Events about pods and PodAllocations.

Events are posted in the background, one at a time; they yield for a while when decisions are
waiting, and are dropped when the queue is full. An event's name is derived from its text, so
recording the same event again, even after a restart, is one object and one refused request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from podnuma.api import names
from podnuma.api.events import Event, EventType, Involved, render_event
from podnuma.api.resource_types import NODE_TOPOLOGY, POD_ALLOCATION
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from podnuma.operator.cache.objects import CachedAllocation, CachedPod, CachedTopology
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_QUEUE = 5_000  # events; more are dropped
_ATTEMPTS = 4
_PAUSE = 2.0  # seconds before another attempt
_YIELDS, _YIELD = 20, 0.05  # pauses, and seconds of each, for which an event yields to decisions
_BACKLOG = 200  # events in the queue; with more, none yields


def pod_reference(pod: CachedPod) -> Involved:
    """Return the reference to a pod."""
    return Involved("v1", "Pod", pod.key.namespace, pod.key.name, pod.uid)


def topology_reference(topology: CachedTopology) -> Involved:
    """Return the reference to a NodeTopology."""
    served = NODE_TOPOLOGY
    return Involved(served.api_version, served.kind, "", topology.key.name, topology.uid)


def allocation_reference(allocation: CachedAllocation) -> Involved:
    """Return the reference to a PodAllocation."""
    served, key = POD_ALLOCATION, allocation.key
    return Involved(served.api_version, served.kind, key.namespace, key.name, allocation.uid)


class EventRecorder:
    """Queue of events to post; recording one never waits and never fails."""

    def __init__(
        self,
        writer: Writer,
        now: Callable[[], dt.datetime],
        dropped: Callable[[], None],
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._writer = writer
        self._now = now
        self._dropped = dropped
        self._busy = busy
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE)

    def record(self, involved: Involved, kind: EventType, reason: str, message: str) -> None:
        """Queue an event, or drop it if the queue is full."""
        try:
            self._queue.put_nowait(Event(involved, kind, reason, message, names.OPERATOR_MANAGER))
        except asyncio.QueueFull:
            self._dropped()

    async def run(self) -> None:
        """Post events for ever."""
        while True:
            event = await self._queue.get()
            for _ in range(_YIELDS):
                if not self._busy() or self._queue.qsize() > _BACKLOG:
                    break
                await asyncio.sleep(_YIELD)
            await self._post(event)

    async def _post(self, event: Event) -> None:
        body = render_event(event, self._now())
        for _ in range(_ATTEMPTS):
            try:
                await self._writer.post_event(event.namespace, body)
            except errors.AlreadyExistsError:
                return  # posted before
            except (errors.BusyError, errors.UncertainError):
                await asyncio.sleep(_PAUSE)
            except (errors.KubeError, NotLeadingError) as error:
                logger.debug("event %s %s: %s", event.namespace, event.reason, error)
                break
            else:
                return
        self._dropped()
