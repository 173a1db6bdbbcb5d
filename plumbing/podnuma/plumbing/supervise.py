"""Supervision of the coroutines that make up a process: one that ends is logged and restarted.

A part that returns or raises is restarted after a back-off, so that a broken part neither
takes the others down nor spins. After a run of more than `steady` seconds the back-off
starts from its first delay again.

A part is a task of its own, for what it makes of a cancellation is not to be relied on: a TaskGroup that is
cancelled just as one of its tasks fails raises that failure alone (python/cpython#116720), and before Python
3.13 one whose task fails leaves its own task as good as cancelled (`Task.cancelling`). A part that loses a
cancellation is cancelled again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

_AGAIN = 12.0  # seconds; what parts tidy up at their end takes less


async def keep_running(
    name: str,
    part: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff,
    rng: random.Random,
    steady: float = 60.0,
) -> None:
    """Run `part`, and run it again whenever it ends, until cancelled."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        running = asyncio.ensure_future(part())
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            await cancel_and_wait(running)
            raise
        reason = _ending(name, running)
        failures = 1 if loop.time() - began > steady else failures + 1
        delay = backoff.delay(failures, rng)
        logger.warning("%s %s; starting it again in %.1f s", name, reason, delay)
        await asyncio.sleep(delay)


def _ending(name: str, part: asyncio.Future[None]) -> str:
    if part.cancelled():
        return "was cancelled from inside"
    error = part.exception()
    if error is None:
        return "ended"
    if not isinstance(error, Exception):
        raise error
    logger.debug("%s failed", name, exc_info=error)
    return f"failed: {error!r}"


async def cancel_and_wait(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks and wait until each has ended, whatever it ends with."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
