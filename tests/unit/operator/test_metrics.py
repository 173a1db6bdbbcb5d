"""Names, help and labels of what the operator counts."""

import re

from podnuma.api.node_conditions import NodeReason
from podnuma.operator.metrics import Metrics, Snapshot
from podnuma.plumbing.kube.client import CompletedRequest

SNAPSHOT = Snapshot(
    True, 3, 0, 5, 2, 4, 1, 0, 16, 48, 0, 0, 0, 0, 1.5, 90.0, {NodeReason.PAUSED: 2}, {"NodeTopology": 1}
)
BOUNDED = {"local", "result", "reason", "verb", "resource", "code", "le", "state", "kind"}


def exposed():
    metrics = Metrics()
    metrics.watch_state(lambda: SNAPSHOT)
    metrics.observe_request(CompletedRequest("POST", "podallocations", "201", 0.01))
    return metrics.exposition()[1].decode()


def test_every_metric_has_help_and_a_name_of_ours():
    text = exposed()
    kinds = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    helped = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    assert kinds
    for name in kinds:
        assert name.startswith("podnuma_")
        assert len(helped[name]) > 10


def test_labels_are_of_a_closed_set():
    assert set(re.findall(r'[{,](\w+)="', exposed())) <= BOUNDED


def test_state_is_computed_at_the_scrape():
    text = exposed()
    assert "podnuma_operator_leader 1.0" in text
    assert "podnuma_operator_term 3.0" in text
    assert "podnuma_operator_exclusive_cpus 16.0" in text
    assert "podnuma_cpus_with_two_owners 0.0" in text
    assert 'podnuma_nodes{state="Paused"} 2.0' in text
    assert 'podnuma_objects_unreadable{kind="NodeTopology"} 1.0' in text
    assert "podnuma_longest_node_wait_seconds 90.0" in text


def test_series_of_closed_label_sets_exist_from_the_start():
    text = Metrics().exposition()[1].decode()
    for series in (
        'podnuma_decisions_total{result="rejected"} 0.0',
        'podnuma_rejections_total{reason="TopologyAffinityError"} 0.0',
        'podnuma_rejections_total{reason="EmptyPodSharedPoolError"} 0.0',
        'podnuma_evictions_total{result="blocked"} 0.0',
    ):
        assert series in text


def test_counters_begin_at_zero_in_each_process():
    first = Metrics()
    first.decisions.labels("admitted").inc()
    assert 'podnuma_decisions_total{result="admitted"} 0.0' in Metrics().exposition()[1].decode()
