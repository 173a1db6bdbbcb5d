"""Tells drift, a right value that somebody else changed, from values that are merely not there yet.

Remembers for every place what was wanted when it was last seen right. Wanted the same now and not right:
that is drift, counted once until it is right again, however many passes that takes.
"""

from collections.abc import Mapping
from dataclasses import replace

from podnuma.agent import verify
from podnuma.agent.plan.places import Place, Values, Wish
from podnuma.allocator.cpuset import CpuSet

_UNTOUCHED = Wish()


class Drift:
    """See the module."""

    def __init__(self) -> None:
        self._right: dict[Place, Wish] = {}

    def found(
        self, wishes: Mapping[Place, Wish], seen: Mapping[Place, Values], everything: CpuSet
    ) -> dict[Place, str]:
        """Return what differs, by place, of places that were right with the same wish."""
        now = verify.compare(wishes, seen, everything)
        return {
            place: what
            for place, what in now.items()
            if what is not None
            and place in self._right
            and _same(self._right[place], wishes[place], seen[place])
        }

    def repaired(self, place: Place) -> None:
        """Take note that a drift was counted."""
        self._right.pop(place, None)

    def remember(
        self,
        wishes: Mapping[Place, Wish],
        seen: Mapping[Place, Values],
        differences: Mapping[Place, str | None],
    ) -> None:
        """Take note of what is right now; places that are gone are forgotten."""
        self._right = {place: wish for place, wish in self._right.items() if place in seen}
        for place in seen:
            if differences.get(place) is None:
                self._right[place] = wishes.get(place, _UNTOUCHED)


def _same(before: Wish, now: Wish, values: Values) -> bool:
    """Tell whether the same is wanted as before.

    A place that nobody had touched had no wish for CPUs; it has one as soon as somebody writes there.
    """
    return before == now or (values.cpus is not None and before == replace(now, cpus=None))
