"""What the agent exports. Gauges come from state when they are scraped; only true counters count.

The three `resource_manager_*` families have the kubelet's names, labels and meaning, so that dashboards for
the kubelet's own feature work (KEP-5526; the kubelet renamed them in v1.37, an option follows it). Counters
begin at 0 with the process. No label ever holds a CPU list, a pod or a container.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import prometheus_client
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.verdicts import PinVerdict
from podnuma.agent.settings import MetricNames
from podnuma.agent.start.gate import StartOutcome, StartWait
from podnuma.allocator import cpuset
from podnuma.allocator.counts import Counts, tally
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import PodGrant
from podnuma.api.pod_allocation import Decision
from podnuma.api.pod_allocation_status import Phase
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

Count: TypeAlias = tuple[str, str]

_HELP = {
    "allocations": "Number of exclusive resource allocations performed by a resource manager.",
    "errors": "Number of errors encountered during exclusive resource allocation.",
    "assignments": "Number of containers with a specific type of resource assignment.",
}


@dataclass(frozen=True, slots=True)
class _Names:
    allocations: str
    errors: str
    assignments: str


_NAMES = {
    MetricNames.V1_36: _Names(
        "resource_manager_allocations",
        "resource_manager_allocation_errors",
        "resource_manager_container_assignments",
    ),
    MetricNames.V1_37: _Names(
        "kubelet_resource_manager_allocations",
        "kubelet_resource_manager_allocation_errors",
        "kubelet_resource_manager_container_assignments",
    ),
}
_PIN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STATUS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_HOOK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """What gauges are computed from."""

    pool: CpuSet = cpuset.EMPTY
    exclusive: CpuSet = cpuset.EMPTY
    exclusive_by_node: Mapping[int, int] = field(default_factory=dict)
    phases: Mapping[Phase, int] = field(default_factory=dict)
    paused: bool = False
    cgroups_out_of_sync: int = 0
    cgroups_contended: int = 0
    containers_not_isolated: int = 0
    dropped_fields: int = 0
    refused_statuses: int = 0


@dataclass(slots=True)
class AdmissionCounts:
    """Counts of the three kubelet metrics. Each pod is counted once in the life of a process."""

    allocations: Counter[Count] = field(default_factory=Counter)
    errors: Counter[Count] = field(default_factory=Counter)
    assignments: Counter[Count] = field(default_factory=Counter)
    counted: set[str] = field(default_factory=set)

    def admitted(self, grant: PodGrant) -> None:
        """Count a grant as the kubelet counts the admission of its pod."""
        self._add(grant.uid, tally(grant.assigned()))

    def rejected(self, uid: str, decision: Decision) -> None:
        """Count a refusal as the kubelet counts it: an error of the manager that refused, if one did."""
        self._add(uid, tally((), decision.refused_by))

    def keep(self, uids: Iterable[str]) -> None:
        """Forget which pods were counted, but for these; the counts stay."""
        self.counted &= set(uids)

    def _add(self, uid: str, counts: Counts) -> None:
        if uid not in self.counted:
            self.counted.add(uid)
            self.allocations.update(counts.allocations)
            self.errors.update(counts.errors)
            self.assignments.update(counts.assignments)


class AgentMetrics:
    """The registry of one agent, which counts what the reconciler and the start hook report.

    `state` is asked at each scrape and must not block.
    """

    def __init__(self, names: MetricNames, state: Callable[[], GaugeValues]) -> None:
        self.admissions = AdmissionCounts()
        self._names = names
        self._state = state
        self.registry = CollectorRegistry()
        self.registry.register(_Computed(self))
        made = self.registry
        self.pin_latency = Histogram(
            "podnuma_pin_latency_seconds",
            "Time from the start of a container to its first right values; 0 when it started with them.",
            buckets=_PIN_BUCKETS,
            registry=made,
        )
        self.hook_wait = Histogram(
            "podnuma_hook_wait_seconds",
            "Time that a starting container waited for its values.",
            ["decided"],
            buckets=_HOOK_BUCKETS,
            registry=made,
        )
        self.drift_repairs = prometheus_client.Counter(
            "podnuma_drift_repairs",
            "Cgroup values changed by other programs (a kubelet's resize is none) and set again.",
            ["cgroup"],
            registry=made,
        )
        self.huge_pages_restored = prometheus_client.Counter(
            "podnuma_huge_page_limits_restored",
            "Pods whose huge page limits a kubelet had set to 0 at a resize, and that got them back.",
            registry=made,
        )
        self.writes = prometheus_client.Counter(
            "podnuma_writes", "Cgroup writes by outcome.", ["outcome"], registry=made
        )
        self.undecided_starts = prometheus_client.Counter(
            "podnuma_undecided_starts",
            "Containers that started in the shared pool before they were decided.",
            registry=made,
        )
        self.deferred_starts = prometheus_client.Counter(
            "podnuma_deferred_starts",
            "Container starts that were deferred because the pod was not decided yet.",
            registry=made,
        )
        self.device_reads = Histogram(
            "podnuma_podresources_request_duration_seconds",
            "Time of a question to the kubelet which devices its pods have, by whether it was answered.",
            ["answered"],
            buckets=_HOOK_BUCKETS,
            registry=made,
        )
        self.pass_seconds = Histogram(
            "podnuma_pass_seconds", "Time of one pass over the node.", registry=made
        )
        self.status_wait = Histogram(
            "podnuma_status_wait_seconds",
            "Time that a status waited until the API server had stored it or a newer one, retries included.",
            buckets=_STATUS_BUCKETS,
            registry=made,
        )
        self.api_errors = prometheus_client.Counter(
            "podnuma_api_errors", "Requests to the API server that failed.", ["reason"], registry=made
        )
        self.watch_failures = prometheus_client.Counter(
            "podnuma_watch_failures",
            "Watches and lists of the API server that failed, by what they are for.",
            ["watch"],
            registry=made,
        )
        for outcome in WriteOutcome:
            self.writes.labels(outcome.value.replace(" ", "_"))
        for cgroup in ("qos", "pod", "container"):
            self.drift_repairs.labels(cgroup)

    def wrote(self, result: WriteResult) -> None:
        self.writes.labels(result.outcome.value.replace(" ", "_")).inc()

    def repaired(self, cgroup: CgroupRef) -> None:
        match cgroup:
            case QosCgroup():
                self.drift_repairs.labels("qos").inc()
            case PodCgroup():
                self.drift_repairs.labels("pod").inc()
            case ContainerCgroup():
                self.drift_repairs.labels("container").inc()

    def judged(self, judged: PinVerdict) -> None:
        self.pin_latency.observe((judged.after_millis or 0) / 1000)

    def restored_huge_pages(self) -> None:
        self.huge_pages_restored.inc()

    def took(self, seconds: float) -> None:
        self.pass_seconds.observe(seconds)

    def waited(self, waited: StartWait) -> None:
        decided = waited.outcome is StartOutcome.DECIDED
        self.hook_wait.labels("yes" if decided else "no").observe(waited.seconds)
        if waited.outcome is StartOutcome.SHARED:
            self.undecided_starts.inc()
        elif waited.outcome is StartOutcome.DEFERRED:
            self.deferred_starts.inc()

    def asked_for_devices(self, seconds: float, *, answered: bool) -> None:
        self.device_reads.labels("yes" if answered else "no").observe(seconds)

    def watch_failed(self, name: str) -> None:
        self.watch_failures.labels(name).inc()

    def api_error(self, reason: str) -> None:
        """Count a failed request; reasons are the API server's own words, a closed set."""
        known = reason if reason.isalpha() and len(reason) < 40 else "Other"  # noqa: PLR2004
        self.api_errors.labels(known).inc()

    def exposition(self) -> tuple[str, bytes]:
        """Return content type and text."""
        text = generate_latest(self.registry)
        # A counter without "_total", as v1.36 exports one, is nothing the library can say.
        name = _NAMES[MetricNames.V1_36].assignments.encode()
        return CONTENT_TYPE_LATEST, text.replace(
            b"# TYPE " + name + b" gauge", b"# TYPE " + name + b" counter"
        )

    def computed(self) -> Iterator[Metric]:
        """Yield the families that are computed at a scrape."""
        names = _NAMES[self._names]
        yield _counted(
            names.allocations, _HELP["allocations"], ("resource_name", "source"), self.admissions.allocations
        )
        yield _counted(names.errors, _HELP["errors"], ("resource_name", "source"), self.admissions.errors)
        labels = ("resource_name", "assignment_type")
        if self._names is MetricNames.V1_36:
            gauge = GaugeMetricFamily(names.assignments, f"[ALPHA] {_HELP['assignments']}", labels=labels)
            for key, count in sorted(self.admissions.assignments.items()):
                gauge.add_metric(key, count)
            yield gauge
        else:
            yield _counted(names.assignments, _HELP["assignments"], labels, self.admissions.assignments)
        yield from _gauges(self._state())


class _Computed:
    def __init__(self, metrics: AgentMetrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return self._metrics.computed()


def _counted(name: str, text: str, labels: tuple[str, ...], counts: Mapping[Count, int]) -> Metric:
    family = CounterMetricFamily(name, f"[ALPHA] {text}", labels=labels)
    for key, count in sorted(counts.items()):
        family.add_metric(key, count)
    return family


def _gauges(state: GaugeValues) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "podnuma_shared_pool_cpus", "CPUs of the node shared pool.", value=state.pool.bit_count()
    )
    yield GaugeMetricFamily(
        "podnuma_exclusive_cpus", "CPUs held exclusively by pods.", value=state.exclusive.bit_count()
    )
    by_node = GaugeMetricFamily(
        "podnuma_exclusive_cpus_per_numa", "CPUs held exclusively, per NUMA node.", labels=("numa_node",)
    )
    for node, count in sorted(state.exclusive_by_node.items()):
        by_node.add_metric((str(node),), count)
    yield by_node
    phases = GaugeMetricFamily(
        "podnuma_allocations", "PodAllocations of this node by phase.", labels=("phase",)
    )
    for phase in Phase:
        phases.add_metric((phase.value,), state.phases.get(phase, 0))
    yield phases
    yield GaugeMetricFamily(
        "podnuma_paused",
        "1 while the agent applies nothing on this node.",
        value=int(state.paused),
    )
    yield GaugeMetricFamily(
        "podnuma_cgroups_out_of_sync",
        "Cgroups whose effective values differ from the desired ones.",
        value=state.cgroups_out_of_sync,
    )
    yield GaugeMetricFamily(
        "podnuma_cgroups_contended",
        "Cgroups that another program keeps changing, so that they are set only once a minute.",
        value=state.cgroups_contended,
    )
    yield GaugeMetricFamily(
        "podnuma_containers_not_isolated",
        "Containers with exclusive CPUs on which others may still run.",
        value=state.containers_not_isolated,
    )
    yield GaugeMetricFamily(
        "podnuma_dropped_status_fields",
        "Status fields that the API server does not store: its CRDs are older than the agent.",
        value=state.dropped_fields,
    )
    yield GaugeMetricFamily(
        "podnuma_refused_statuses",
        "Objects whose status the API server refuses for what is in it; their conditions say why.",
        value=state.refused_statuses,
    )
