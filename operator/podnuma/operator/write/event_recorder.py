"""What is told about pods and objects as Kubernetes Events.

Events inform, they decide nothing: they are posted in the background, one at a time, stand
back for a while when decisions are waiting, and are dropped when the queue is full. An
event's name follows from its text, so saying the same again, after a restart too, is one
object and one refused request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from podnuma.api import names
from podnuma.api.events import Event, EventType, Involved, render_event
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_WAITING = 5_000  # events; more are dropped: people cannot read them anyway
_ATTEMPTS = 4
_PAUSE = 2.0  # seconds before another attempt
_COURTESIES, _COURTESY = 20, 0.05  # pauses, and seconds of each, for which an event stands back
_PATIENT = 200  # events in the queue; with more, none stands back


def pod_reference(pod: CachedPod) -> Involved:
    """Return the reference to a pod."""
    return Involved("v1", "Pod", pod.key.namespace, pod.key.name, pod.uid)


def allocation_reference(record: CachedAllocation) -> Involved:
    """Return the reference to a PodAllocation."""
    kind = names.POD_ALLOCATION.kind
    return Involved(names.API_VERSION, kind, record.key.namespace, record.key.name, record.uid)


class EventRecorder:
    """Queue of events to post."""

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
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_WAITING)

    def say(self, involved: Involved, kind: EventType, reason: str, message: str) -> None:
        """Tell something soon."""
        try:
            self._queue.put_nowait(Event(involved, kind, reason, message, names.OPERATOR_MANAGER))
        except asyncio.QueueFull:
            self._dropped()

    async def run(self) -> None:
        """Post for ever."""
        while True:
            event = await self._queue.get()
            for _ in range(_COURTESIES):
                if not self._busy() or self._queue.qsize() > _PATIENT:
                    break
                await asyncio.sleep(_COURTESY)
            await self._post(event)

    async def _post(self, event: Event) -> None:
        body = render_event(event, self._now())
        for _ in range(_ATTEMPTS):
            try:
                await self._writer.post_event(event.namespace, body)
            except errors.AlreadyExistsError:
                return  # told before
            except (errors.BusyError, errors.UncertainError):
                await asyncio.sleep(_PAUSE)
            except (errors.KubeError, NotLeadingError) as error:
                logger.debug("event %s %s: %s", event.namespace, event.reason, error)
                break
            else:
                return
        self._dropped()
