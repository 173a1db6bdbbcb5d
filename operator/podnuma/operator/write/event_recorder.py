"""Kubernetes Events about pods and PodAllocations.

Events are posted in the background, one at a time; they yield for a while when decisions are
waiting, and are dropped when the queue is full. An event's name is derived from its text, so
recording the same event again, even after a restart, is one object and one refused request. An event
that is *kept* replaces the one of its slot and counts; the same again within seconds is only counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api import names
from podnuma.api.events import Event, EventType, Involved, render_event
from podnuma.api.resource_types import NODE_PROFILE, NODE_TOPOLOGY, POD_ALLOCATION
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from podnuma.operator.cache.objects import CachedAllocation, CachedPod, CachedProfile, CachedTopology
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_QUEUE = 5_000  # events; more are dropped
_ATTEMPTS = 4
_PAUSE = 2.0  # seconds before another attempt
_YIELDS, _YIELD = 20, 0.05  # pauses, and seconds of each, for which an event yields to decisions
_BACKLOG = 200  # events in the queue; with more, none yields
_SAME = 10.0  # seconds in which the same kept event is not written again
_SLOTS = 4_000  # kept events whose number is remembered


@dataclass(slots=True)
class _Kept:
    first: dt.datetime
    written: dt.datetime
    said: object = None
    count: int = 0


def pod_reference(pod: CachedPod) -> Involved:
    """Return the reference to a pod."""
    return Involved("v1", "Pod", pod.key.namespace, pod.key.name, pod.uid)


def topology_reference(topology: CachedTopology) -> Involved:
    """Return the reference to a NodeTopology."""
    served = NODE_TOPOLOGY
    return Involved(served.api_version, served.kind, "", topology.key.name, topology.uid)


def profile_reference(profile: CachedProfile) -> Involved:
    """Return the reference to a NodeProfile."""
    return Involved(NODE_PROFILE.api_version, NODE_PROFILE.kind, "", profile.key.name, profile.uid)


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
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def record(self, involved: Involved, kind: EventType, reason: str, message: str) -> None:
        """Queue an event, or drop it if the queue is full."""
        self._put(Event(involved, kind, reason, message, names.OPERATOR_MANAGER))

    def keep(self, event: Event) -> None:
        """Queue an event that takes the place of the last one in its slot."""
        now = self._now()
        kept = self._kept.pop(event.name, None) or _Kept(now, now)
        self._kept[event.name] = kept
        while len(self._kept) > _SLOTS:
            self._kept.popitem(last=False)
        kept.count += 1
        said = (event.reason, event.node, event.annotations)
        if kept.said == said and (now - kept.written).total_seconds() < _SAME:
            return
        kept.said, kept.written = said, now
        self._put(event)

    def _put(self, event: Event) -> None:
        try:
            self._queue.put_nowait(event)
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
        kept = self._kept.get(event.name) if event.slot else None
        if kept is not None:
            body = render_event(event, self._now(), kept.first, kept.count)
        else:
            body = render_event(event, self._now())
        for _ in range(_ATTEMPTS):
            try:
                if event.slot:
                    await self._writer.apply_event(event.namespace, event.name, body)
                else:
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
