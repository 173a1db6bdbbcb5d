"""A rate-limited work queue, as controllers have: keys are added often and processed rarely.

An event carries no work, it adds a key. The handler works out what to do from the current
state, so a burst of events costs one run.

    add("n1") add("n1") add("n2")          ->  one run for n1 and one for n2, concurrently
    add("n1") while n1 is being processed  ->  one more run afterwards
    handler raises                         ->  one more run after a back-off, and not before

Always true: a key has at most one run at a time; every add is followed by a run that starts
after it; a key that fails is retried for ever, but never before its back-off has passed,
however often it is added meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

from podnuma.plumbing.kube.errors import KubeError

if TYPE_CHECKING:
    import random

    from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to be processed, and the runs in progress; nothing runs before `start` or after `stop`.

    `delay` (seconds) is the least time between an add and its run, so that a burst is one run.
    `concurrency` bounds the handlers that run at once. Time is the event loop's.
    """

    def __init__(
        self,
        handler: Callable[[K], Awaitable[None]],
        *,
        backoff: Backoff,
        rng: random.Random,
        delay: float = 0.0,
        concurrency: int = 16,
    ) -> None:
        self._handler = handler
        self._backoff = backoff
        self._rng = rng
        self._delay = delay
        self._slots = asyncio.Semaphore(concurrency)
        self._due: dict[K, float] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._running: dict[K, asyncio.Task[None]] = {}
        self._failures: dict[K, int] = {}
        self._not_before: dict[K, float] = {}
        self._open = False

    def __len__(self) -> int:
        """Keys that wait or are being processed."""
        return len(self._due.keys() | self._running.keys())

    def add(self, key: K, after: float = 0.0) -> None:
        """Ask for a run of `key` in `after` seconds, or earlier if it is already due earlier."""
        now = asyncio.get_running_loop().time()
        due = max(now + max(after, self._delay), self._not_before.get(key, now))
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._arm(key)

    def start(self) -> None:
        """Begin to process; keys added before are kept, back-offs are not."""
        self._open = True
        now = asyncio.get_running_loop().time()
        for key in self._not_before:
            self._due[key] = now
        self._failures.clear()
        self._not_before.clear()
        for key in list(self._due):
            self._arm(key)

    async def stop(self) -> None:
        """Start no further run and wait for those in progress."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _arm(self, key: K) -> None:
        if not self._open or key in self._running:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(self._due[key], self._begin, key)

    def _begin(self, key: K) -> None:
        self._timers.pop(key, None)
        self._running[key] = asyncio.create_task(self._work(key), name=f"worker for {key}")

    async def _work(self, key: K) -> None:
        try:
            async with self._slots:
                if not self._open:
                    return
                # Only now, not when the timer fired: serves what was added while it waited for a slot, too.
                self._due.pop(key, None)
                await self._handler(key)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = self._backoff.delay(failures, self._rng)
            self._not_before[key] = asyncio.get_running_loop().time() + delay
            self._due[key] = self._not_before[key]
            # An API server that is away is no fault of this program: a line says it.
            where = not isinstance(error, KubeError)
            text = "%s: failed %d times in a row, again in %.1f s: %s"
            logger.warning(text, key, failures, delay, error, exc_info=where)
        else:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
        finally:
            self._running.pop(key, None)
            if key in self._due:
                self._arm(key)
