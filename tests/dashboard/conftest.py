"""One run for all tests: a good day, whose answers are kept, then a bad one with what alerts are about.

Needs Debian's package prometheus: `make test-dashboard`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from testbed import build
from testbed.dashboard import DASHBOARD
from testbed.metrics_reference import alerts
from testbed.prometheus import NoPrometheusError, Prometheus, program
from testbed.waiting import until
from tests.dashboard.run import Run

# A rate needs two scrapes, and a range query a few more.
SETTLED_SECONDS = 120


def pytest_collection_finish() -> None:
    """Say what is missing, and build, before the first test starts its clock."""
    try:
        for name in ("prometheus", "promtool"):
            program(name)
        build.ensure([*build.CONTROL_PLANE, "kwok"], sys.__stderr__ or sys.stderr)
    except (NoPrometheusError, build.BuildError) as error:
        pytest.exit(str(error), 2)


def queries() -> dict[str, tuple[dict[str, Any], str]]:
    """Return panel and query of every target, by the panel's title and the target's letter."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": (panel, target["expr"])
        for panel in panels
        for target in panel["targets"]
    }


Series = list[tuple[dict[str, str], float]]


@dataclass(frozen=True)
class Answers:
    """What Prometheus said at one moment, by the name of the query or alert."""

    panels: dict[str, Series]
    alerts: dict[str, Series]
    bare_alerts: dict[str, Series]


def without_threshold(expression: str) -> str:
    """Return the left side of an alert's comparison, which has a value also on a good day."""
    left, _, threshold = expression.strip().rpartition(" ")
    left, _, comparison = left.rpartition(" ")
    assert comparison in {"<", ">"}, expression
    float(threshold)
    return left


def asked(prometheus: Prometheus) -> Answers:
    """Ask everything at once."""
    rules = {rule["alert"]: rule["expr"] for rule in alerts()}
    return Answers(
        {name: prometheus.ask(query) for name, (_, query) in queries().items()},
        {name: prometheus.ask(query) for name, query in rules.items()},
        {name: prometheus.ask(without_threshold(query)) for name, query in rules.items()},
    )


@dataclass(frozen=True)
class Days:
    """The answers of a good day, the CPUs that its pods held by node, and the answers after each trouble."""

    good: Answers
    held: dict[str, int]
    bad: dict[str, Answers]

    def highest(self, panel: str, **labels: str) -> float:
        """Return the highest value of a panel's series with these labels on the bad day."""
        return max(
            (
                value
                for answers in self.bad.values()
                for found, value in answers.panels[panel]
                if labels.items() <= found.items()
            ),
            default=-1,
        )

    def fired(self) -> set[str]:
        """Return the alerts of the bad day."""
        return {name for answers in self.bad.values() for name, series in answers.alerts.items() if series}


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    with Run(tmp_path_factory.mktemp("run")) as run:
        run.healthy()
        settle(run)
        good, held = asked(run.prometheus), run.held()
        bad = {}
        for step in run.in_trouble():
            settle(run)
            bad[step] = asked(run.prometheus)
        return Days(good, held, bad)


def settle(run: Run) -> None:
    """Wait until every target has been scraped twice more."""
    ask = run.prometheus.ask
    before = {labels["instance"]: value for labels, value in ask("timestamp(up)")}

    def scraped() -> bool:
        return all(value >= before[labels["instance"]] + 2 for labels, value in ask("timestamp(up)"))

    until(scraped, "two more scrapes", SETTLED_SECONDS, every=0.5)
