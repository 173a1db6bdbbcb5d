"""The rules in promtool: each alert fires after its time, with its text; not sooner, nor without a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from testbed.metrics_reference import ALERTS, alerts
from testbed.prometheus import promtool

RULES = {rule["alert"]: rule for rule in alerts()}
AGENT = {"node": "node-1", "component": "agent"}


@dataclass(frozen=True)
class Case:
    """Series by name in promtool's notation, one value a minute: with the fault, and without.

    The alert fires `after` minutes, and not one minute before; `labels` are those of the alert, `shown` the
    value in its texts.
    """

    fault: dict[str, str]
    fine: dict[str, str]
    after: int
    labels: dict[str, str] = field(default_factory=dict)
    shown: str = ""


def of_node(name: str, more: str = "") -> str:
    return f'{name}{{node="node-1",component="agent"{more}}}'


ON_NODE = {"node": "node-1"}
BUCKETS = "podnuma_admission_duration_seconds_bucket"
REQUESTS = "podnuma_api_requests_total"
CASES = {
    # Two operators: the standby's 0 is no fault.
    "PodnumaNoLeader": Case(
        {'podnuma_operator_leader{pod="a"}': "1 0x20", 'podnuma_operator_leader{pod="b"}': "0x20"},
        {'podnuma_operator_leader{pod="a"}': "1x20", 'podnuma_operator_leader{pod="b"}': "0x20"},
        3,
    ),
    "PodnumaCpuWithTwoOwners": Case(
        {"podnuma_cpus_with_two_owners": "0 2x20"}, {"podnuma_cpus_with_two_owners": "0x20"}, 1
    ),
    "PodnumaCrdsTooOld": Case(
        {"podnuma_schema_mismatches_total": "0 1x20"}, {"podnuma_schema_mismatches_total": "3x20"}, 1
    ),
    "PodnumaPodsRejected": Case(
        {"podnuma_pods_rejected": "0 2x30"}, {"podnuma_pods_rejected": "0 2x10 0x20"}, 16, shown="2"
    ),
    "PodnumaPodsUndecided": Case(
        {"podnuma_pods_waiting": "0 3x20"}, {"podnuma_pods_waiting": "0 3 0 3 0 3x2 0x20"}, 6, shown="3"
    ),
    "PodnumaNodeWaits": Case(
        {"podnuma_longest_node_wait_seconds": "0+60x30"},
        {"podnuma_longest_node_wait_seconds": "0+60x10 0x20"},
        16,
        shown="16m 0s",
    ),
    "PodnumaObjectsUnreadable": Case(
        {
            'podnuma_objects_unreadable{kind="NodeTopology",pod="a"}': "0 2x20",
            'podnuma_objects_unreadable{kind="NodeTopology",pod="b"}': "0 2x20",
        },
        {'podnuma_objects_unreadable{kind="NodeTopology",pod="a"}': "0x20"},
        11,
        {"kind": "NodeTopology"},
        shown="2",
    ),
    "PodnumaStatusRefused": Case(
        {of_node("podnuma_refused_statuses"): "0 1x20"},
        {of_node("podnuma_refused_statuses"): "0x20"},
        6,
        ON_NODE,
        shown="1",
    ),
    # Nodes without a profile have no agent to miss; two operators count the same nodes.
    "PodnumaAgentMissing": Case(
        {
            'podnuma_nodes{state="AgentSilent",pod="a"}': "0 1x20",
            'podnuma_nodes{state="AgentSilent",pod="b"}': "0 1x20",
            'podnuma_nodes{state="HardwareUnknown",pod="a"}': "0 1x20",
        },
        {'podnuma_nodes{state="NoProfile",pod="a"}': "7x20", 'podnuma_nodes{state="Ready",pod="a"}': "3x20"},
        11,
        shown="2",
    ),
    "PodnumaPaused": Case(
        {of_node("podnuma_paused"): "0 1x20"}, {of_node("podnuma_paused"): "0 1x5 0x20"}, 11, ON_NODE
    ),
    # Two a minute are more than one a minute of the last quarter of an hour from the eighth on.
    "PodnumaDrift": Case(
        {of_node("podnuma_drift_repairs_total", ',cgroup="pod"'): "0+2x60"},
        {of_node("podnuma_drift_repairs_total", ',cgroup="pod"'): "0 9x60"},
        23,
        ON_NODE,
    ),
    "PodnumaNotIsolated": Case(
        {of_node("podnuma_containers_not_isolated"): "0 3x20"},
        {of_node("podnuma_containers_not_isolated"): "0x20"},
        2,
        ON_NODE,
        shown="3",
    ),
    "PodnumaContended": Case(
        {of_node("podnuma_cgroups_contended"): "0 1x20"},
        {of_node("podnuma_cgroups_contended"): "0x20"},
        6,
        ON_NODE,
    ),
    "PodnumaCgroupsOutOfSync": Case(
        {of_node("podnuma_cgroups_out_of_sync"): "0 4x20"},
        {of_node("podnuma_cgroups_out_of_sync"): "0 4x3 0x20"},
        6,
        ON_NODE,
        shown="4",
    ),
    "PodnumaStartedUnpinned": Case(
        {of_node("podnuma_undecided_starts_total"): "0 1x20"},
        {of_node("podnuma_undecided_starts_total"): "5x20"},
        1,
        ON_NODE,
    ),
    "PodnumaResizePending": Case(
        {"podnuma_pods_resize_pending": "0 1x90"},
        {"podnuma_pods_resize_pending": "0 1x40 0x50"},
        61,
        shown="1",
    ),
    "PodnumaPodsGated": Case(
        {"podnuma_longest_gated_wait_seconds": "0+60x30"},
        {"podnuma_longest_gated_wait_seconds": "0+60x9 0x20"},
        16,
        shown="16m 0s",
    ),
    "PodnumaSlowAdmission": Case(
        {
            f'{BUCKETS}{{le="1"}}': "0x60",
            f'{BUCKETS}{{le="2"}}': "0+9x60",
            f'{BUCKETS}{{le="+Inf"}}': "0+9x60",
        },
        {
            f'{BUCKETS}{{le="1"}}': "0+9x60",
            f'{BUCKETS}{{le="2"}}': "0+9x60",
            f'{BUCKETS}{{le="+Inf"}}': "0+9x60",
        },
        16,
        shown="1.99s",
    ),
    "PodnumaApiErrors": Case(
        {f'{REQUESTS}{{code="200"}}': "0+30x60", f'{REQUESTS}{{code="error"}}': "0+10x60"},
        {f'{REQUESTS}{{code="200"}}': "0+30x60", f'{REQUESTS}{{code="503"}}': "0+1x60"},
        11,
        shown="25%",
    ),
}


def shown(text: str, case: Case) -> str:
    """A text of the rule as people see it."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: case.labels[found.group(1)], text)
    return re.sub(r"\{\{ \$value( \| \w+)? \}\}", case.shown, text)


def test_promtool_finds_nothing_wrong_with_the_rules():
    done = promtool("check", "rules", ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in done.stdout


def test_every_alert_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", CASES)
def test_it_fires_after_its_time_with_its_text_and_not_without_its_fault(name, tmp_path):
    rule, case = RULES[name], CASES[name]
    alert = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": {key: shown(text, case) for key, text in rule["annotations"].items()},
    }

    def tested(series: dict[str, str], moments: dict[int, list[Any]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": key, "values": values} for key, values in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts}
                for minute, alerts in moments.items()
            ],
        }

    content = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            tested(case.fault, {case.after - 1: [], case.after: [alert]}),
            tested(case.fine, {minute: [] for minute in range(case.after + 6)}),
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
