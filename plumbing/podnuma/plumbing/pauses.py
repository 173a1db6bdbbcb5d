"""Short pauses of the garbage collector in a process that keeps much and runs for months.

A full collection looks at every object that lives, and all threads stand still meanwhile: half a second for
an operator of a thousand nodes, at any moment. So what has survived one that took too long is set aside
(`gc.freeze`) and not looked at again. It still goes when nothing refers to it any more, as nearly everything
does; only cycles among it would stay. Those are looked for once in a long while, when all of it is taken
back for one collection.

The pause before which a process sets something aside bounds the later ones: they look only at what came
since.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_FULL = 2  # the oldest generation


class Pauses:
    """A callback of `gc.callbacks`.

    `longest`: seconds that a full collection may take before its survivors are set aside. `thorough`:
    seconds between two that look at everything.
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
        """Be told that a collection starts or stops, as the `gc` module does it."""
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


def keep_short(longest: float) -> None:
    """Let no full collection but a rare one take much more than `longest` seconds, from the second on."""
    gc.callbacks.append(Pauses(longest))
