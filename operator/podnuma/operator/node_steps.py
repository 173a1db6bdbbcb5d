"""The steps of a node, put together: which parts they are made of, and what those share.

Nothing here runs; `node/reconciler` says in which order the steps do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.operator.node.admission import Admission
from podnuma.operator.node.allocations import AllocationSync
from podnuma.operator.node.decision_writer import DecisionWriter
from podnuma.operator.node.device_lookup import DeviceLookup
from podnuma.operator.node.eviction import Eviction
from podnuma.operator.node.eviction_policy import EvictionBackoff
from podnuma.operator.node.findings import AgentFindings
from podnuma.operator.node.leftover import Leftovers
from podnuma.operator.node.nominations import Nominations
from podnuma.operator.node.pod_conditions import PodConditions
from podnuma.operator.node.profile_selector import ProfileSelector
from podnuma.operator.node.reconciler import NodeSteps
from podnuma.operator.node.releases import Releases
from podnuma.operator.node.reservations import Reservations
from podnuma.operator.node.resize import Resizes
from podnuma.operator.node.settings import SettingsSync
from podnuma.operator.node.status import NodeStatusWriter
from podnuma.plumbing.backoff import Backoff

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.metrics import AdmissionTimer, Metrics
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.watch.live_pods import LivePods
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

_EVICTION_BACKOFF = Backoff(first=20.0, limit=600.0)


def node_steps(  # noqa: PLR0913 - what the steps depend on, passed in once
    cache: ClusterCache,
    pods: LivePods,
    reader: Reader,
    writer: Writer,
    store: AllocationStore,
    *,
    events: EventRecorder,
    metrics: Metrics,
    timer: AdmissionTimer,
    enqueue: Callable[[str, float], None],
    clock: Callable[[], float],
    now: Callable[[], dt.datetime],
    rng: random.Random,
    status_interval: float,
) -> NodeSteps:
    """Return the steps that all nodes share; `enqueue` has a node run again after some seconds."""
    releases = Releases(cache, pods, store, events=events, metrics=metrics, enqueue=enqueue, clock=clock)
    allocations = AllocationSync(
        cache, store, releases, events=events, metrics=metrics, enqueue=enqueue, clock=clock
    )
    resizes = Resizes(cache, events=events, metrics=metrics, enqueue=enqueue, clock=clock)
    decisions = DecisionWriter(
        cache,
        store,
        allocations,
        pods,
        resizes,
        events=events,
        metrics=metrics,
        timer=timer,
        enqueue=enqueue,
        clock=clock,
    )
    return NodeSteps(
        selector=ProfileSelector(cache),
        settings=SettingsSync(cache, writer),
        allocations=allocations,
        reservations=Reservations(
            cache,
            store,
            allocations,
            decisions,
            Nominations(cache, writer, metrics),
            events=events,
            metrics=metrics,
            enqueue=enqueue,
            clock=clock,
        ),
        admission=Admission(
            cache,
            DeviceLookup(cache, reader, allocations, enqueue=enqueue, rng=rng),
            store,
            allocations,
            resizes,
            decisions,
            metrics=metrics,
            enqueue=enqueue,
            clock=clock,
        ),
        eviction=Eviction(
            cache,
            writer,
            events=events,
            metrics=metrics,
            backoff=EvictionBackoff(_EVICTION_BACKOFF, rng),
            enqueue=enqueue,
            clock=clock,
        ),
        leftovers=Leftovers(cache, reader, writer, enqueue=enqueue, clock=clock),
        findings=AgentFindings(cache, events),
        status=NodeStatusWriter(cache, writer, clock=clock, now=now, interval=status_interval, events=events),
        conditions=PodConditions(cache, writer, now),
    )
