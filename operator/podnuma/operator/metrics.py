"""What the operator counts. Every label has a closed set of values; state is never a label.

Counters start at 0 with the process and only grow. Gauges are computed from a `Snapshot` at
each scrape, so that they cannot drift. All series of a closed label set exist from the start.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podnuma.allocator.decision import Reason
from podnuma.allocator.device_hints import DeviceLocality
from podnuma.api.node_conditions import NodeReason
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podnuma.plumbing.kube.client import CompletedRequest

_TIMED_PODS = 20_000
_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operator's state at one scrape; gauges are computed from it and cannot drift."""

    leading: bool
    term: int
    queue_depth: int
    pods: int
    nodes: int
    pods_holding: int
    pods_rejected: int
    pods_waiting: int
    exclusive_cpus: int
    shared_cpus: int
    cpus_with_two_owners: int
    pods_outdated: int
    pods_resize_pending: int
    pods_orphaned: int
    watch_age: float
    longest_node_wait: float = 0.0
    node_states: Mapping[NodeReason, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    device_localities: Mapping[DeviceLocality, int] = field(default_factory=dict)
    pods_gated: int = 0
    longest_gated_wait: float = 0.0


class AdmissionTimer:
    """Since when pods have been waiting for their decision; of too many pods, the latest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()

    def begin(self, uid: str) -> None:
        """Note that a pod is there; the first time counts."""
        self._since.setdefault(uid, self._clock())
        while len(self._since) > _TIMED_PODS:
            self._since.popitem(last=False)

    def end(self, uid: str) -> float | None:
        """Return how many seconds a pod has waited; None if its beginning is not known."""
        since = self._since.pop(uid, None)
        return None if since is None else self._clock() - since


class _State(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        now = self._snapshot()
        for name, text, value in (
            ("podnuma_operator_leader", "1 while this process may write, else 0.", int(now.leading)),
            ("podnuma_operator_term", "Number of the present leadership, as in the Lease.", now.term),
            (
                "podnuma_operator_queue_depth",
                "Nodes that wait for a worker or are being worked on.",
                now.queue_depth,
            ),
            (
                "podnuma_operator_pods_known",
                "Bound pods kept in memory because they may hold something.",
                now.pods,
            ),
            ("podnuma_operator_nodes_managed", "Nodes with settings that decisions follow.", now.nodes),
            ("podnuma_pods_holding", "Pods that hold CPUs or memory.", now.pods_holding),
            ("podnuma_pods_rejected", "Pods that exist and do not fit their node.", now.pods_rejected),
            ("podnuma_pods_waiting", "Pods that are not decided yet.", now.pods_waiting),
            (
                "podnuma_operator_exclusive_cpus",
                "CPUs held exclusively by pods, all nodes together.",
                now.exclusive_cpus,
            ),
            (
                "podnuma_operator_shared_pool_cpus",
                "CPUs in node shared pools, all nodes together.",
                now.shared_cpus,
            ),
            (
                "podnuma_cpus_with_two_owners",
                "CPUs that more than one pod holds. Anything but 0 is a fault: report it.",
                now.cpus_with_two_owners,
            ),
            (
                "podnuma_pods_outdated",
                "Pods that hold what the present settings or hardware would not give them.",
                now.pods_outdated,
            ),
            (
                "podnuma_pods_resize_pending",
                "Pods that were resized and keep what was decided before.",
                now.pods_resize_pending,
            ),
            (
                "podnuma_longest_node_wait_seconds",
                "Time since when the node that has waited longest is not Ready for the same reason.",
                now.longest_node_wait,
            ),
            (
                "podnuma_pods_orphaned",
                "Pods that are gone from the API and keep what they held until their processes have ended.",
                now.pods_orphaned,
            ),
            (
                "podnuma_pods_gated",
                "Pods that wait to be placed on a node, and for no other scheduling gate.",
                now.pods_gated,
            ),
            (
                "podnuma_longest_gated_wait_seconds",
                "Time for which the pod that has waited longest to be placed has waited for that alone.",
                now.longest_gated_wait,
            ),
            (
                "podnuma_operator_watch_age_seconds",
                "Time since the last activity of the quietest watch.",
                now.watch_age,
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        nodes = GaugeMetricFamily(
            "podnuma_nodes", "Nodes by the reason of their condition Ready.", labels=("state",)
        )
        for reason in NodeReason:
            nodes.add_metric((reason.value,), now.node_states.get(reason, 0))
        yield nodes
        unreadable = GaugeMetricFamily(
            "podnuma_objects_unreadable",
            "Objects of podnuma of which something cannot be read, by kind; their nodes say what.",
            labels=("kind",),
        )
        for kind, count in now.unreadable.items():
            unreadable.add_metric((kind,), count)
        yield unreadable
        localities = GaugeMetricFamily(
            "podnuma_pods_device_locality",
            "Pods with devices, by how many of these have CPUs of the pod at their NUMA node.",
            labels=("local",),
        )
        for local in DeviceLocality:
            localities.add_metric((local.value,), now.device_localities.get(local, 0))
        yield localities


class Metrics:
    """Counters and histograms, and the text for a scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.decisions = Counter(
            "podnuma_decisions",
            "Pods decided, by result: admitted, nothing (the pod asks for nothing exclusive) or rejected.",
            ("result",),
            registry=registry,
        )
        self.rejections = Counter(
            "podnuma_rejections", "Pods rejected, by the kubelet's reason.", ("reason",), registry=registry
        )
        self.decision_seconds = Histogram(
            "podnuma_decision_duration_seconds",
            "Time the allocator took for one decision.",
            registry=registry,
            buckets=_FAST,
        )
        self.admission_seconds = Histogram(
            "podnuma_admission_duration_seconds",
            "Time from when a bound pod was first seen to when its decision was stored.",
            registry=registry,
            buckets=_WAITS,
        )
        self.device_wait_seconds = Histogram(
            "podnuma_device_wait_seconds",
            "Time for which a decision waited for the agent to report the pod's devices of device plugins.",
            registry=registry,
            buckets=_WAITS,
        )
        self.releases = Counter(
            "podnuma_releases", "Pods whose CPUs and memory were taken back.", registry=registry
        )
        self.releases_unseen = Counter(
            "podnuma_releases_unseen",
            "Pods released although nobody saw their processes end: the agent was silent or the node gone.",
            registry=registry,
        )
        self.restored = Counter(
            "podnuma_allocations_restored",
            "PodAllocations that someone else had deleted or edited, and that were restored.",
            registry=registry,
        )
        self.conflicts = Counter(
            "podnuma_allocation_conflicts",
            "PodAllocations that could not be taken over because another pod holds the same CPUs.",
            registry=registry,
        )
        self.evictions = Counter(
            "podnuma_evictions",
            "Evictions of rejected pods, by result: done, blocked (a disruption budget) or failed.",
            ("result",),
            registry=registry,
        )
        self.resizes = Counter(
            "podnuma_resizes",
            "Resizes of pods in place, by result: followed, deferred, infeasible or ignored.",
            ("result",),
            registry=registry,
        )
        self.placements = Counter(
            "podnuma_placements",
            "Gated pods, by what became of them: placed, not_placed (nothing to reserve), released (by "
            "whenNothingFits) or given_back (reserved, and not bound there).",
            ("result",),
            registry=registry,
        )
        self.placement_seconds = Histogram(
            "podnuma_placement_duration_seconds",
            "Time to find the best node for a gated pod.",
            registry=registry,
            buckets=_FAST,
        )
        self.nominations_refused = Counter(
            "podnuma_nominations_refused",
            "Nominations of nodes that the API server refused.",
            registry=registry,
        )
        self.api_requests = Counter(
            "podnuma_api_requests",
            "Requests to the API server other than watches, by verb, resource and result.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self.api_seconds = Histogram(
            "podnuma_api_request_duration_seconds",
            "Duration of requests to the API server other than watches.",
            ("verb",),
            registry=registry,
            buckets=_WAITS,
        )
        self.reconciles = Counter(
            "podnuma_reconciles", "Node reconciles, by result: ok or failed.", ("result",), registry=registry
        )
        self.events_dropped = Counter(
            "podnuma_events_dropped", "Kubernetes Events that could not be posted.", registry=registry
        )
        self.schema_mismatches = Counter(
            "podnuma_schema_mismatches",
            "PodAllocations stored otherwise than sent: the CRDs are too old, or a policy changes them.",
            registry=registry,
        )
        self.watch_relists = Counter(
            "podnuma_watch_relists",
            "Watches that could not be resumed, so that everything was listed again, by kind.",
            ["kind"],
            registry=registry,
        )
        self.watch_restarts = Counter(
            "podnuma_watch_restarts", "Times the watches had to be started again.", registry=registry
        )
        self.resyncs = Counter(
            "podnuma_resyncs",
            "Full lists compared with memory, by result: ok or failed.",
            ("result",),
            registry=registry,
        )
        for result in ("admitted", "nothing", "rejected"):
            self.decisions.labels(result)
        for reason in Reason:
            self.rejections.labels(reason.value)
        for result in ("done", "blocked", "failed"):
            self.evictions.labels(result)
        for result in ("followed", "deferred", "infeasible", "ignored"):
            self.resizes.labels(result)
        for result in ("placed", "not_placed", "released", "given_back"):
            self.placements.labels(result)
        for result in ("ok", "failed"):
            self.reconciles.labels(result)
            self.resyncs.labels(result)

    def watch_state(self, snapshot: Callable[[], Snapshot]) -> None:
        """Compute state gauges from this at each scrape; once."""
        self._registry.register(_State(snapshot))

    def observe_request(self, outcome: CompletedRequest) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(outcome.verb, outcome.resource, outcome.outcome).inc()
        self.api_seconds.labels(outcome.verb).observe(outcome.seconds)

    def exposition(self) -> tuple[str, bytes]:
        """Return content type and text of a scrape."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)
