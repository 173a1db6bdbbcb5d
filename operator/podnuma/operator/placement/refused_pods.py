"""Pods for which the API server did not take a write: each is tried again after a pause that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.plumbing.backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

_BACKOFF = Backoff(first=2.0, limit=60.0)


class RefusedPods:
    """How often in a row pods were refused, by UID, and when each may be tried again."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._pods: dict[str, tuple[int, float]] = {}

    def add(self, uid: str, at_least: float = 0.0) -> float:
        """Take note of a refusal; return the seconds until the next try, `at_least` so many."""
        times = self._pods.get(uid, (0, 0.0))[0] + 1
        pause = max(at_least, _BACKOFF.delay(times, self._rng))
        self._pods[uid] = (times, self._clock() + pause)
        return pause

    def wait(self, uid: str) -> float:
        """Return the seconds until a pod may be tried again; 0 for one that was not refused."""
        _, again = self._pods.get(uid, (0, 0.0))
        return max(0.0, again - self._clock())

    def discard(self, uid: str) -> None:
        """Forget a pod whose write was taken."""
        self._pods.pop(uid, None)

    def keep(self, uids: AbstractSet[str]) -> None:
        """Forget all pods but these."""
        for uid in self._pods.keys() - uids:
            del self._pods[uid]
