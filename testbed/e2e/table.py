"""Print two recordings side by side, as plain text that fits a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.e2e.deviations import differences, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.e2e.reference import Recording, Seen

_HEAD = ("pod / container", "", "cpuset.cpus", "cpuset.mems", "cpu.max", "memory.max")


def side_by_side(kubelet: Recording, podnuma: Recording) -> Iterator[str]:
    """Yield the lines: one per place where both agree, two where they differ, with the reason's name."""
    rows = list(_rows(kubelet, podnuma))
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    for row in [_HEAD, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield f"{'counts':<84}{'kubelet':>8}{'podnuma':>9}"
    for name in sorted(kubelet.counts | podnuma.counts):
        yield f"{name:<84}{kubelet.counts.get(name, 0):>8g}{podnuma.counts.get(name, 0):>9g}"
    yield ""
    for difference in differences(kubelet, podnuma):
        yield f"differs ({kind_of(difference) or 'NOT EXPLAINED'}): {difference}"


def _rows(kubelet: Recording, podnuma: Recording) -> Iterator[tuple[str, ...]]:
    for pod in kubelet.outcomes | podnuma.outcomes:
        outcomes = kubelet.outcomes.get(pod, ""), podnuma.outcomes.get(pod, "")
        yield from _pair(pod, outcomes[0], outcomes[1])
        for place in kubelet.values | podnuma.values:
            if place[0] == pod:
                name = f"  {place[1] or '(pod)'}"
                yield from _places(name, kubelet.values.get(place), podnuma.values.get(place))
        for place in kubelet.first_outputs | podnuma.first_outputs:
            if place[0] == pod:
                name = f"  {place[1]} (ended)"
                yield from _places(name, kubelet.first_outputs.get(place), podnuma.first_outputs.get(place))


def _pair(name: str, one: str, other: str) -> Iterator[tuple[str, ...]]:
    if one == other:
        yield (f"{name}: {one}", "both", "", "", "", "")
    else:
        yield (f"{name}: {one}", "kubelet", "", "", "", "")
        yield (f"{name}: {other}", "podnuma", "", "", "", "")


def _places(name: str, one: Seen | None, other: Seen | None) -> Iterator[tuple[str, ...]]:
    if one == other:
        yield (name, "both", *_cells(one))
    else:
        yield (name, "kubelet", *_cells(one))
        yield ("", "podnuma", *_cells(other))


def _cells(seen: Seen | None) -> tuple[str, str, str, str]:
    return ("-", "-", "-", "-") if seen is None else (seen.cpus, seen.mems, seen.cpu_max, seen.memory_max)
