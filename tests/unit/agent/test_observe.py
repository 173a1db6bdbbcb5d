from podnuma.agent.apply import Outcome, Result
from podnuma.agent.hook import Answered, Waited
from podnuma.agent.metrics import Metrics, State
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.observe import MetricsObserver
from podnuma.agent.settings import MetricNames
from podnuma.agent.verdicts import Judged
from podnuma.allocator.request import Qos
from podnuma.api.pod_allocation import Verdict

SLICE = QosCgroup(Qos.BURSTABLE)
POD = PodCgroup("u", Qos.GUARANTEED)
DB = ContainerCgroup(POD, "db", "id")


def value(metrics, sample, **labels):
    return metrics.registry.get_sample_value(sample, labels)


def test_what_happens_is_counted_under_bounded_labels():
    metrics = Metrics(MetricNames.V1_36, State)
    observer = MetricsObserver(metrics)
    observer.wrote(Result(CgroupWrite(SLICE), Outcome.HELD_BACK))
    for cgroup in (SLICE, POD, DB, DB):
        observer.repaired(cgroup)
    observer.judged(Judged(Verdict.PINNED_LATE, 300))
    observer.judged(Judged(Verdict.PINNED_AT_START, 0))
    observer.took(0.01)
    observer.waited(Waited(0.02, Answered.DECIDED))
    observer.waited(Waited(0.5, Answered.SHARED))
    observer.waited(Waited(0.5, Answered.NOBODYS))
    observer.waited(Waited(0.5, Answered.PUT_OFF))
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
    assert value(metrics, "podnuma_hook_wait_seconds_count", decided="yes") == 1
    assert value(metrics, "podnuma_hook_wait_seconds_count", decided="no") == 3
    assert value(metrics, "podnuma_undecided_starts_total") == 1
    assert value(metrics, "podnuma_put_off_starts_total") == 1
