"""How often podnuma and the kubelet agree, by policy, scope and option.

A *step* agrees when everything the two sides say about it is equal. A step that a named
deviation explains is counted under that name, any other as unexplained.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(slots=True)
class Row:
    """Steps played under one setting."""

    agreed: int = 0
    explained: int = 0
    unexplained: int = 0

    @property
    def steps(self) -> int:
        return self.agreed + self.explained + self.unexplained


@dataclass(slots=True)
class Agreement:
    """Counts of one run; two runs can be added."""

    scenarios: int = 0
    whole: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    deviations: Counter[str] = field(default_factory=Counter)

    def count(self, scenario: Json, steps: int, deviations: Sequence[str]) -> None:
        """Count the steps of a scenario up to the last one compared, and the deviations that explain some."""
        self.deviations.update(deviations)
        for setting in settings_of(scenario):
            row = self.rows.setdefault(setting, Row())
            row.agreed += max(0, steps)
            row.explained += len(deviations)

    def unexplained(self, scenario: Json) -> None:
        """Count one step that nothing explains."""
        for setting in settings_of(scenario):
            self.rows.setdefault(setting, Row()).unexplained += 1

    def add(self, other: "Agreement") -> None:
        """Take over the counts of another run."""
        self.scenarios += other.scenarios
        self.whole += other.whole
        self.deviations += other.deviations
        for setting, row in other.rows.items():
            mine = self.rows.setdefault(setting, Row())
            mine.agreed += row.agreed
            mine.explained += row.explained
            mine.unexplained += row.unexplained

    def lines(self) -> Iterator[str]:
        """Yield the report, a line each."""
        yield f"{self.scenarios} scenarios, {self.whole} agree from start to end"
        yield f"{'setting':46} {'steps':>8} {'agree':>9} {'explained':>9} {'unexplained':>11}"
        for setting, row in sorted(self.rows.items()):
            share = 100 * row.agreed / row.steps if row.steps else 100.0
            yield f"{setting:46} {row.steps:8} {share:8.3f}% {row.explained:9} {row.unexplained:11}"
        for name, count in self.deviations.most_common():
            yield f"deviation {name}: {count}"


def settings_of(scenario: Json) -> Iterator[str]:
    """Yield what a scenario counts under: one policy per manager, the scope, every option that is on."""
    kubelet = scenario["kubelet"]
    yield "all"
    yield f"topology policy {kubelet.get('topologyManagerPolicy', 'none')}"
    yield f"scope {kubelet.get('topologyManagerScope', 'container')}"
    yield f"cpu policy {kubelet.get('cpuManagerPolicy', 'none')}"
    yield f"memory policy {kubelet.get('memoryManagerPolicy', 'None')}"
    options = {
        **(kubelet.get("cpuManagerPolicyOptions") or {}),
        **(kubelet.get("topologyManagerPolicyOptions") or {}),
    }
    for option, value in options.items():
        if value not in {"false", "0", "f", "F", "False", "FALSE"}:
            yield f"option {option}"
