"""How long to wait after the n-th failure in a row.

Delays double from `first` to `limit` and are jittered over their upper half, so that
clients which failed together do not come back together. The caller counts failures;
nothing here holds state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_DOUBLINGS = 30  # 2**30 exceeds any sane ratio of limit to first; a larger exponent only costs time


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays in seconds, from `first` up to `limit`."""

    first: float
    limit: float

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.limit:
            raise ValueError(f"a back-off needs 0 < first <= limit, not {self.first} and {self.limit}")

    def ceiling(self, failures: int) -> float:
        """Return the longest delay after this many failures in a row (1 or more)."""
        return min(self.limit, self.first * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS))

    def delay(self, failures: int, rng: random.Random) -> float:
        """Return a delay from the upper half of what `ceiling` allows."""
        ceiling = self.ceiling(failures)
        return ceiling * (0.5 + rng.random() / 2)
