"""Dashboard, alert rules and the page of metrics speak of metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from podnuma.agent.settings import MetricNames
from podnuma.agent.status.metrics import AgentMetrics, GaugeValues

from testbed import metrics_reference

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "deploy" / "chart" / "podnuma" / "files"
# The kubelet's cAdvisor exports these for every container.
FOREIGN = {"container_memory_working_set_bytes"}
_FUNCTIONS = {
    "by", "component", "count", "for", "histogram_quantile", "increase", "max", "min", "or", "rate", "sum",
    "vector", "container", "namespace", "node", "code", "kind", "le", "reason", "assignment_type",
    "resource_name", "state",
}  # fmt: skip


def exported() -> set[str]:
    names = set(FOREIGN)
    for part in ("operator", "agent"):
        for name, (kind, _, _) in metrics_reference.families(part).items():
            names.add(f"{name}_bucket" if kind == "histogram" else name)
    return names


def used(expression: str) -> set[str]:
    """The metric names in a query: words that are neither functions nor labels nor values."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"[a-z_]{3,}", bare)) - _FUNCTIONS - {"__name__"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return found


def test_every_metric_of_the_dashboard_exists():
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert set().union(*map(used, queries)) <= exported()
    assert len(queries) > 15


@pytest.mark.parametrize("names", MetricNames)
def test_assignments_are_found_under_the_names_of_each_kubelet(names):
    counted = AgentMetrics(names, GaugeValues)
    counted.admissions.assignments["cpu", "pod_shared"] = 2
    (query,) = [
        target["expr"]
        for panel in panels()
        for target in panel["targets"]
        if panel["title"] == "How are containers assigned?"
    ]
    (pattern,) = re.findall(r'__name__=~"([^"]*)"', query)
    lines = counted.exposition()[1].decode().splitlines()
    found = [line for line in lines if re.fullmatch(pattern, line.split("{")[0])]
    assert [line.rpartition(" ")[2] for line in found] == ["2.0"]


def test_every_metric_of_the_alerts_exists():
    assert set().union(*(used(rule["expr"]) for rule in metrics_reference.alerts())) <= exported()


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_panel_answers_one_question(panel):
    assert panel["title"].count("?") + panel["title"].startswith("Who is full?") >= 1
    assert panel["description"].endswith((".", "?"))
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_panels_do_not_overlap_and_fill_the_width():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


@pytest.mark.parametrize("rule", list(metrics_reference.alerts()), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule):
    assert rule["alert"].startswith("Podnuma")
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert len(rule["annotations"]["description"]) > 60
    assert rule["annotations"]["summary"]


def test_alerts_are_a_rule_file_of_prometheus():
    content = yaml.safe_load((FILES / "alerts.yaml").read_text())
    assert list(content) == ["groups"]
    assert {key for group in content["groups"] for rule in group["rules"] for key in rule} <= {
        *("alert", "expr", "for", "labels", "annotations")
    }


def test_the_page_of_metrics_is_up_to_date():
    assert metrics_reference.PAGE.read_text() == metrics_reference.page(), "run `make docs-metrics`"
