"""Where podnuma's cgroup values may differ from the kubelet's, and how each kind is recognised.

Every kind has a line of the same name in the section "Values" of docs/deviations.md, which says why. A
difference that no kind recognises fails the suite; so does a kind without a line, and a line without
a kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.e2e.observe import parse_list
from testbed.e2e.reference import Recording, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "deviations.md"
SECTION = "## Values"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one place in both recordings."""

    pod: str
    container: str
    value: str
    kubelet: str
    podnuma: str

    def __str__(self) -> str:
        place = f"{self.pod}/{self.container}" if self.container else f"{self.pod} (pod)"
        return f"{place} {self.value}: kubelet {self.kubelet or '-'}, podnuma {self.podnuma or '-'}"


def differences(kubelet: Recording, podnuma: Recording) -> Iterator[Difference]:
    """Yield everything in which two recordings differ."""
    for pod in kubelet.outcomes | podnuma.outcomes:
        one, other = kubelet.outcomes.get(pod, ""), podnuma.outcomes.get(pod, "")
        if one != other:
            yield Difference(pod, "", "outcome", one, other)
    for place in kubelet.values | podnuma.values:
        yield from _in(place, "", kubelet.values.get(place), podnuma.values.get(place))
    for place in kubelet.first_outputs | podnuma.first_outputs:
        yield from _in(place, "first ", kubelet.first_outputs.get(place), podnuma.first_outputs.get(place))
    for name in kubelet.counts | podnuma.counts:
        one_count, other_count = kubelet.counts.get(name, 0), podnuma.counts.get(name, 0)
        if one_count != other_count:
            yield Difference(name, "", "count", f"{one_count:g}", f"{other_count:g}")


def _in(place: tuple[str, str], when: str, one: Seen | None, other: Seen | None) -> Iterator[Difference]:
    empty = Seen("", "")
    for value in ("cpus", "mems", "cpu_max", "memory_max"):
        before, after = getattr(one or empty, value), getattr(other or empty, value)
        if before != after:
            yield Difference(*place, when + value, before, after)


def _pod_cpuset(difference: Difference) -> bool:
    return (
        not difference.container
        and difference.value == "cpus"
        and parse_list(difference.podnuma) < parse_list(difference.kubelet)
    )


def _refused_by_v1_36(difference: Difference) -> bool:
    counts = difference.value == "count" and difference.pod.startswith("container/")
    return counts or difference.pod == "container/ml-training"


def _claims(difference: Difference) -> bool:
    return difference.pod.partition("/")[2].startswith("claims-")


def _devices_first(difference: Difference) -> bool:
    return difference.pod == "pod/nics-pair"


KINDS: dict[str, Callable[[Difference], bool]] = {
    "pod-cpuset": _pod_cpuset,
    "refused-by-v1-36": _refused_by_v1_36,
    "claims": _claims,
    "devices-first": _devices_first,
}


def kind_of(difference: Difference) -> str | None:
    """Return the kind that explains a difference, None if none does."""
    return next((name for name, matches in KINDS.items() if matches(difference)), None)


def documented() -> set[str]:
    """Return the kinds that the page explains: bold names at the start of the section's list items."""
    text = PAGE.read_text()
    section = text.partition(f"{SECTION}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^[*-] \*\*([a-z0-9-]+)\*\*", section, re.MULTILINE))
