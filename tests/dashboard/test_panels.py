"""Every query of the dashboard returns what the run produced, in the unit of its panel."""

import math
import re

import pytest

from tests.dashboard.conftest import queries
from tests.dashboard.run import MACHINES

pytestmark = pytest.mark.timeout(900)

CPUS = 96 + 80
MIB = 2**20
# The queries whose panel is a number: what it is on the good day, and at most on the bad one.
NUMBERS = {
    "Is there a leader? A": (1, 1),
    "How many pods are rejected? A": (0, 1),
    "Is any CPU given twice? A": (0, 0),
    "How many agents are paused? A": (0, 1),
}
# Of these the bad day's number depends on what the agent sees first: at least one.
COUNTS = ("How many pods wait for a decision? A", "Which cgroups are out of sync? A")
SECONDS = ("How long until a pod is decided?", "How long did containers run unpinned?")
# How a query of each of Grafana's units looks.
UNITS = {
    "s": r"histogram_quantile\(.*_seconds_bucket",
    "bytes": r"_bytes\{",
    "cpm": r"rate\([^()]*_total\[5m\]\)\) \* 60$",
    "reqps": r"rate\(podnuma_api_requests_total\[5m\]\)\)$",
}


def only(series):
    """The value of the one series that a query returns."""
    ((_, value),) = series
    return value


def by(label, series):
    return {labels[label]: value for labels, value in series}


@pytest.mark.parametrize("name", queries())
def test_every_query_returns_numbers_on_a_good_day(days, name):
    series = days.good.panels[name]
    assert series, "no data"
    assert all(math.isfinite(value) and value >= 0 for _, value in series), series


@pytest.mark.parametrize("name", queries())
def test_the_unit_is_that_of_the_query_and_the_axis_begins_at_zero(name):
    panel, query = queries()[name]
    defaults = panel["fieldConfig"]["defaults"]
    (unit,) = [unit for unit, pattern in UNITS.items() if re.search(pattern, query)] or ["short"]
    assert defaults["unit"] == unit
    assert unit != "short" or "rate(" not in query
    assert defaults["min"] == 0


@pytest.mark.parametrize("name", queries())
def test_a_legend_tells_series_apart(days, name):
    panel, query = queries()[name]
    (target,) = [one for one in panel["targets"] if one["expr"] == query]
    for answers in (days.good, *days.bad.values()):
        legends = [
            "".join(
                value if f"{{{{{label}}}}}" in target["legendFormat"] else ""
                for label, value in found.items()
            )
            for found, _ in answers.panels[name]
        ]
        assert len(legends) == len(set(legends))


@pytest.mark.parametrize(("name", "good", "bad"), [(name, *both) for name, both in NUMBERS.items()])
def test_a_number_is_that_of_the_run(days, name, good, bad):
    assert only(days.good.panels[name]) == good
    assert days.highest(name) == bad


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_of_faults_is_zero_on_a_good_day_only(days, name):
    assert only(days.good.panels[name]) == 0
    assert 1 <= days.highest(name) <= 30


def test_exclusive_and_shared_cpus_are_those_of_the_machines(days):
    title = "How many CPUs are exclusive, how many shared?"
    exclusive, shared = (only(days.good.panels[f"{title} {letter}"]) for letter in "AB")
    assert exclusive == sum(days.held.values()) > 0
    assert exclusive + shared == CPUS


def test_each_node_is_as_full_as_its_allocations_say(days):
    assert by("node", days.good.panels["Who is full? Exclusive CPUs per node A"]) == days.held
    assert set(days.held) == set(MACHINES)


def test_containers_are_counted_by_their_kind_of_assignment(days):
    found = by("assignment_type", days.good.panels["How are containers assigned? A"])
    # Four databases with two sidecars each have been there, and a training pod. Its sidecar got nothing.
    assert found == {"pod_exclusive": 4, "pod_shared": 8, "node_exclusive": 1}


@pytest.mark.parametrize("title", SECONDS)
def test_quantiles_are_seconds_and_in_order(days, title):
    median, most = (only(days.good.panels[f"{title} {letter}"]) for letter in "AB")
    assert 0 < median <= most


def test_refusals_are_told_by_reason(days):
    name = "Why are pods rejected? A"
    assert set(by("reason", days.good.panels[name]).values()) == {0}
    assert days.highest(name, reason="TopologyAffinityError") > 0


def test_repairs_are_told_by_node(days):
    name = "Does another program write cgroups? A"
    assert set(by("node", days.good.panels[name]).values()) == {0}
    assert days.highest(name, node="node-1") > 1
    assert days.highest(name, node="node-2") == 0


def test_requests_are_told_by_result(days):
    name = "Does the API server keep up? A"
    assert by("code", days.good.panels[name])["200"] > 0
    assert days.highest(name, code="error") > 0


def test_the_queue_is_empty_once_all_is_decided(days):
    assert only(days.good.panels["Does the operator keep up? A"]) == 0


def test_memory_is_that_of_two_kinds_of_process(days):
    found = by("container", days.good.panels["What does podnuma itself need? A"])
    assert set(found) == {"operator", "agent"}
    assert all(20 * MIB < value < 600 * MIB for value in found.values()), found
