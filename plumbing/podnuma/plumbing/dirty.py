"""Keys that want work: marked often, worked on rarely, never twice at once.

An event does not carry work, it marks a key. What is to be done is found out by the
handler from the present state, so a burst of events costs one run.

    mark("n1") mark("n1") mark("n2")      ->  one run for n1, one for n2, side by side
    mark("n1") while n1 is being worked   ->  one more run afterwards
    handler raises                        ->  run again after a back-off, and only then

Always true: one run per key at a time; a mark is never lost (a run starts after the
last mark); a key that fails is retried for ever, but not before its delay, whatever
marks arrive in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import random

    from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class DirtySet(Generic[K]):
    """The keys that want work, and the workers on them.

    `settle` (seconds) is how long a first mark waits for company. `concurrency` bounds
    the handlers that run at once. The loop's clock is the only clock.
    """

    def __init__(
        self,
        handler: Callable[[K], Awaitable[None]],
        *,
        backoff: Backoff,
        rng: random.Random,
        settle: float = 0.0,
        concurrency: int = 16,
    ) -> None:
        self._handler = handler
        self._backoff = backoff
        self._rng = rng
        self._settle = settle
        self._slots = asyncio.Semaphore(concurrency)
        self._due: dict[K, float] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._running: dict[K, asyncio.Task[None]] = {}
        self._failures: dict[K, int] = {}
        self._not_before: dict[K, float] = {}
        self._open = False

    def __len__(self) -> int:
        """Keys that wait or are being worked on."""
        return len(self._due.keys() | self._running.keys())

    def failures(self, key: K) -> int:
        """How often the handler failed for this key since it last succeeded."""
        return self._failures.get(key, 0)

    def mark(self, key: K, after: float = 0.0) -> None:
        """Ask for a run of `key` in `after` seconds at the latest."""
        now = asyncio.get_running_loop().time()
        due = max(now + max(after, self._settle), self._not_before.get(key, now))
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._arm(key)

    def forget(self, key: K) -> None:
        """Drop what is known about a key that will not come back; a run under way ends by itself."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def start(self) -> None:
        """Begin to work; marks made before are kept, delays after failures are not."""
        self._open = True
        now = asyncio.get_running_loop().time()
        for key in self._not_before:
            self._due[key] = now
        self._failures.clear()
        self._not_before.clear()
        for key in list(self._due):
            self._arm(key)

    async def stop(self) -> None:
        """Begin no further run and wait for those under way."""
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
                # Taken here, not when the timer fired: marks made while waiting for a slot are served too.
                self._due.pop(key, None)
                await self._handler(key)
        except asyncio.CancelledError:
            raise
        except Exception:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = self._backoff.delay(failures, self._rng)
            self._not_before[key] = asyncio.get_running_loop().time() + delay
            self._due[key] = self._not_before[key]
            logger.warning(
                "%s: failed %d times in a row, again in %.1f s", key, failures, delay, exc_info=True
            )
        else:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
        finally:
            self._running.pop(key, None)
            if key in self._due:
                self._arm(key)
