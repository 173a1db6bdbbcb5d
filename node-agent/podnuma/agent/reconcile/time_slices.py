"""Work of a pass in slices: between two of them the event loop does what else is due.

A pass over a full node takes longer than a container's start should wait for an answer that needs no pass. So
what goes through many cgroups or pods asks after each whether its slice is over. What it goes by has to be
taken before the first slice: events arrive between them.
"""

import asyncio
import time

SLICE = 0.0005  # seconds; an answer to a runtime takes a handful of turns of the event loop


class TimeSlices:
    """One piece of work; made when it begins."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def between(self) -> None:
        """Let others run if a slice is over."""
        if time.monotonic() - self._began >= SLICE:
            await asyncio.sleep(0)
            self._began = time.monotonic()
