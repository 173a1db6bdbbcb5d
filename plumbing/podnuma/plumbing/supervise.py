"""Supervision of the coroutines that make up a process: one that ends is logged and restarted.

A part that returns or raises is restarted after a back-off, so that a broken part neither
takes the others down nor spins. After a run of more than `steady` seconds the back-off
starts from its first delay again.
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
        try:
            await part()
            reason = "ended"
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            reason = "was cancelled from inside"
        except Exception as error:
            reason = f"failed: {error!r}"
            logger.debug("%s failed", name, exc_info=True)
        failures = 1 if loop.time() - began > steady else failures + 1
        delay = backoff.delay(failures, rng)
        logger.warning("%s %s; starting it again in %.1f s", name, reason, delay)
        await asyncio.sleep(delay)


async def cancel_and_wait(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until each has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
