"""Garbage collection without long pauses, for a process that holds many objects and runs for months.

A full collection traverses every live object while all threads stand still: half a second for an operator
of a thousand nodes, at any moment. So the survivors of a collection that took too long are frozen
(`gc.freeze`) and not traversed again. Reference counting still frees them, as it frees nearly everything;
only cycles among them would stay. Once in a long while everything is unfrozen for one collection, which
finds those.

Later collections traverse only what was allocated since, so their pauses stay near the limit that triggers
freezing.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_FULL = 2  # the oldest generation


class FreezeSurvivors:
    """A callback for `gc.callbacks` that freezes the survivors of a slow full collection.

    `longest`: seconds that a full collection may take before its survivors are frozen. `thorough`:
    seconds between two collections that traverse everything.
    """

    def __init__(
        self, longest: float, thorough: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest = longest
        self._thorough = thorough
        self._clock = clock
        self._began = clock()
        self._all_since = clock()

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        """Note that a collection starts or stops; the arguments are those of `gc.callbacks`."""
        if info["generation"] != _FULL:
            return
        now = self._clock()
        if phase == "start":
            self._began = now
            if now - self._all_since >= self._thorough:
                self._all_since = now
                gc.unfreeze()
        elif now - self._began > self._longest:
            gc.freeze()


def limit_pauses(longest: float) -> None:
    """Keep full collections near `longest` seconds from the second on, but for a rare thorough one."""
    gc.callbacks.append(FreezeSurvivors(longest))
