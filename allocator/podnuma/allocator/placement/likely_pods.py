"""Pods that are likely to come, and how many CPUs of a gap will be lost to them.

A gap is what is free on the NUMA nodes that one pod uses. Nobody knows what comes into it; that it will be
pods of the sizes that are here now is the best guess. So the next `LOOK_AHEAD` pods are drawn from these, and
the one of them comes into the gap that loses least; what it leaves is a gap again. What no such pod can fill
is lost: a gap that only one size fits is worth less than one that many fit.

Sizes count by twentieths of all pods, rounded, so that a table of gaps serves for as long as the sizes are
about as frequent. Losses are thousandths of a CPU, so that they compare exactly.
"""

from collections.abc import Mapping

LOOK_AHEAD = 8
"""Pods of which one comes into a gap: with one it takes what comes, with very many nothing is ever lost."""

_SHARES = 20
_CPU = 1000  # what is lost of one CPU


class LikelyPods:
    """How likely pods of each size are, in CPUs; `shares` has the likelihoods, whatever they add up to."""

    __slots__ = ("_expected", "_lost", "shares")

    def __init__(self, shares: Mapping[int, int]) -> None:
        self.shares = {size: share for size, share in sorted(shares.items()) if size > 0 and share > 0}
        self._expected: list[float] = []  # what is lost of a gap of so many CPUs, in CPUs
        self._lost: list[int] = []  # the same in thousandths

    def lost(self, gap: int) -> int:
        """Return how many thousandths of a CPU of a gap are going to be lost; 0 if no pod is known."""
        lost = self._lost
        while len(lost) <= gap:
            self._expected.append(self._expect(len(lost)) if self.shares else 0.0)
            lost.append(round(self._expected[-1] * _CPU))
        return lost[gap]

    def _expect(self, gap: int) -> float:
        total = sum(self.shares.values())
        fitting = sorted(
            (self._expected[gap - size], share) for size, share in self.shares.items() if size <= gap
        )
        others, none_yet, expected = total, 1.0, 0.0
        for afterwards, share in fitting:
            others -= share
            only_others = (others / total) ** LOOK_AHEAD
            expected += afterwards * (none_yet - only_others)
            none_yet = only_others
        return expected + gap * none_yet


def shares_of(counts: Mapping[int, int], expected: int) -> dict[int, int]:
    """Return the shares of sizes that were counted, without rare ones; the `expected` size is not rare."""
    total = sum(counts.values())
    shares = {size: round(_SHARES * count / total) for size, count in counts.items() if count}
    shares[expected] = max(1, shares.get(expected, 0))
    return {size: share for size, share in shares.items() if share}
