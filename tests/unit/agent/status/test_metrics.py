import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.verdicts import PinVerdict
from podnuma.agent.settings import MetricNames
from podnuma.agent.start.gate import StartOutcome, StartWait
from podnuma.agent.status.metrics import AgentMetrics, GaugeValues
from podnuma.allocator import cpuset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Qos
from podnuma.api.pod_allocation import Decision
from podnuma.api.pod_allocation_status import Phase, Verdict


@pytest.fixture
def metrics():
    return AgentMetrics(MetricNames.V1_36, lambda: STATE)


STATE = GaugeValues(
    pool=cpuset.parse("0,3-8,11-15"),
    exclusive=cpuset.parse("1-2,9-10"),
    exclusive_by_node={0: 4, 1: 0},
    phases={Phase.APPLIED: 2},
    cgroups_out_of_sync=1,
)


def samples(metrics, prefix):
    text = metrics.exposition()[1].decode()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(prefix)
    }


def bubble(words, uid="db"):
    return words.pod(
        uid,
        words.container("db", "1,9"),
        words.container("a", "2", 100),
        words.container("b", "2", 100),
        cpus="1-2,9",
    )


def test_a_pod_with_a_bubble_counts_as_the_kubelet_counts_it(metrics, words):
    metrics.admissions.admitted(bubble(words))
    assert samples(metrics, "resource_manager_") == {
        'resource_manager_allocations_total{resource_name="cpu",source="pod"}': 3,
        'resource_manager_container_assignments{assignment_type="pod_exclusive",resource_name="cpu"}': 1,
        'resource_manager_container_assignments{assignment_type="pod_shared",resource_name="cpu"}': 2,
    }


def test_memory_of_the_node_counts_once_per_resource(metrics, words):
    blocks = tuple(MemoryBlock(name, NodeSet(1), 2**30) for name in ("memory", "hugepages-2Mi"))
    container = words.container(
        "c",
        "1,9",
        cpu_assignment=AssignmentType.NODE_EXCLUSIVE,
        memory_assignment=AssignmentType.NODE_EXCLUSIVE,
        memory=blocks,
    )
    metrics.admissions.admitted(words.pod("p", container))
    assert samples(metrics, "resource_manager_allocations_total") == {
        'resource_manager_allocations_total{resource_name="cpu",source="node"}': 1,
        'resource_manager_allocations_total{resource_name="memory",source="node"}': 2,
    }


def test_a_pod_is_counted_once_and_counters_never_fall(metrics, words):
    for _ in range(3):
        metrics.admissions.admitted(bubble(words))
    metrics.admissions.keep([])
    assert samples(metrics, "resource_manager_allocations_total") == {
        'resource_manager_allocations_total{resource_name="cpu",source="pod"}': 3
    }
    metrics.admissions.admitted(bubble(words))
    assert samples(metrics, "resource_manager_allocations_total") == {
        'resource_manager_allocations_total{resource_name="cpu",source="pod"}': 6
    }


@pytest.mark.parametrize("manager", [("cpu", "pod"), ("memory", "node")])
def test_a_manager_that_refused_counts_one_error(metrics, manager):
    for _ in range(2):
        metrics.admissions.rejected(
            "p", Decision(False, "UnexpectedAdmissionError", "no", refused_by=manager)
        )
    resource, source = manager
    series = f'resource_manager_allocation_errors_total{{resource_name="{resource}",source="{source}"}}'
    assert samples(metrics, "resource_manager_allocation_errors_total") == {series: 1}


def test_a_merge_that_was_not_admitted_is_no_managers_error(metrics):
    metrics.admissions.rejected("p", Decision(False, "TopologyAffinityError", "cannot be aligned"))
    assert samples(metrics, "resource_manager_allocation_errors_total") == {}


def test_the_names_of_v1_37_are_an_option(words):
    metrics = AgentMetrics(MetricNames.V1_37, lambda: STATE)
    metrics.admissions.admitted(bubble(words))
    assert not samples(metrics, "resource_manager_")
    assert samples(metrics, "kubelet_resource_manager_container_assignments_total") == {
        "kubelet_resource_manager_container_assignments_total"
        '{assignment_type="pod_exclusive",resource_name="cpu"}': 1,
        "kubelet_resource_manager_container_assignments_total"
        '{assignment_type="pod_shared",resource_name="cpu"}': 2,
    }


def test_the_third_metric_of_v1_36_is_a_counter_without_total(metrics, words):
    metrics.admissions.admitted(bubble(words))
    text = metrics.exposition()[1].decode()
    assert "# TYPE resource_manager_container_assignments counter" in text
    assert "resource_manager_container_assignments_total" not in text
    assert "# HELP resource_manager_container_assignments [ALPHA] Number of containers" in text


def test_gauges_come_from_state(metrics):
    assert samples(metrics, "podnuma_shared_pool_cpus") == {"podnuma_shared_pool_cpus": 12}
    assert samples(metrics, "podnuma_exclusive_cpus_per_numa") == {
        'podnuma_exclusive_cpus_per_numa{numa_node="0"}': 4,
        'podnuma_exclusive_cpus_per_numa{numa_node="1"}': 0,
    }
    assert samples(metrics, "podnuma_allocations")['podnuma_allocations{phase="Applied"}'] == 2


def test_a_thousand_pods_make_no_new_series(metrics, words):
    metrics.admissions.admitted(bubble(words))
    metrics.api_error("reason-x")
    before = len(metrics.exposition()[1].splitlines())
    for number in range(1000):
        metrics.admissions.admitted(bubble(words, f"p{number}"))
        metrics.admissions.keep([])
    for reason in (f"reason-{number}" for number in range(1000)):
        metrics.api_error(reason)
    assert len(metrics.exposition()[1].splitlines()) == before


def test_nothing_is_ever_not_a_number(metrics):
    assert "nan" not in metrics.exposition()[1].decode().lower()


SLICE = QosCgroup(Qos.BURSTABLE)
POD = PodCgroup("u", Qos.GUARANTEED)
DB = ContainerCgroup(POD, "db", "id")


def value(metrics, sample, **labels):
    return metrics.registry.get_sample_value(sample, labels)


def test_what_happens_is_counted_under_bounded_labels():
    metrics = AgentMetrics(MetricNames.V1_36, GaugeValues)
    metrics.wrote(WriteResult(CgroupWrite(SLICE), WriteOutcome.HELD_BACK))
    for cgroup in (SLICE, POD, DB, DB):
        metrics.repaired(cgroup)
    metrics.judged(PinVerdict(Verdict.PINNED_LATE, 300))
    metrics.judged(PinVerdict(Verdict.PINNED_AT_START, 0))
    metrics.took(0.01)
    metrics.status_wait.observe(0.2)
    metrics.waited(StartWait(0.02, StartOutcome.DECIDED))
    metrics.waited(StartWait(0.5, StartOutcome.SHARED))
    metrics.waited(StartWait(0.5, StartOutcome.NOT_MANAGED))
    metrics.waited(StartWait(0.5, StartOutcome.DEFERRED))
    assert value(metrics, "podnuma_writes_total", outcome="held_back") == 1
    assert [
        value(metrics, "podnuma_drift_repairs_total", cgroup=kind) for kind in ("qos", "pod", "container")
    ] == [
        1,
        1,
        2,
    ]
    assert value(metrics, "podnuma_pin_latency_seconds_sum") == 0.3
    assert value(metrics, "podnuma_pin_latency_seconds_count") == 2
    assert value(metrics, "podnuma_pass_seconds_count") == 1
    assert value(metrics, "podnuma_status_wait_seconds_count") == 1
    assert value(metrics, "podnuma_hook_wait_seconds_count", decided="yes") == 1
    assert value(metrics, "podnuma_hook_wait_seconds_count", decided="no") == 3
    assert value(metrics, "podnuma_undecided_starts_total") == 1
    assert value(metrics, "podnuma_deferred_starts_total") == 1
