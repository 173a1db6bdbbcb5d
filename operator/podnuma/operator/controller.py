"""Queues and dispatch: what changed is cached, affected nodes are queued, one worker at a time runs each.

    on_update, on_delete, sync    cache, then queue the affected nodes and profiles
    nodes                         run the node's reconciler
    placement                     choose nodes for gated pods (`placement`)
    reports                       statuses of nodes and profiles, in queues of their own

A failed run is repeated after a back-off. A decision is stored first and held afterwards; a
write whose outcome is unknown is repeated with the same decision before anything else is
decided on that node.

The controller knows neither Kopf nor HTTP: tests drive it with the same calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.operator.cache.cluster import EVERY_NODE, ClusterCache
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import CachedAllocation, CachedPod, CachedProfile, CachedTopology
from podnuma.operator.metrics import AdmissionTimer
from podnuma.operator.node.findings import has_news
from podnuma.operator.node.readiness import FAILING
from podnuma.operator.node.reconciler import NodeReconciler
from podnuma.operator.node_steps import node_steps
from podnuma.operator.placement.reconciler import PlacementReconciler
from podnuma.operator.reports import Reports
from podnuma.operator.snapshot import snapshot_of
from podnuma.operator.watch.live_pods import LivePods
from podnuma.operator.write.allocation_store import AllocationStore
from podnuma.operator.write.event_recorder import EventRecorder
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Iterable

    from podnuma.operator.cache.cluster import AffectedNodes
    from podnuma.operator.cache.objects import CachedObject, ObjectKey, ObjectVersion
    from podnuma.operator.metrics import Metrics, Snapshot
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

_NODE_BACKOFF = Backoff(first=0.2, limit=10.0)
_BUSY = 4  # nodes in the queue; with more, events are put off


@dataclass(frozen=True, slots=True)
class ControllerTiming:
    """Paces of the controller, in seconds, and how many nodes are worked on at once.

    After `write_deadline` seconds no write is carried out any more.
    """

    settle: float = 0.05
    status_interval: float = 1.0
    concurrency: int = 16
    write_deadline: float = 5.0


class Controller:
    """Decides for all nodes: the cache, one reconciler per node, and the queues in front of them."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        reader: Reader,
        writer: Writer,
        *,
        metrics: Metrics,
        timing: ControllerTiming,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        rng: random.Random,
        export_resource_topologies: bool = False,
        placement: bool = False,
    ) -> None:
        self.cache = cache = ClusterCache()
        self.events = EventRecorder(writer, now, metrics.events_dropped.inc, lambda: len(self._nodes) > _BUSY)
        self._reader = reader
        self._metrics = metrics
        self._clock = clock
        self._timer = AdmissionTimer(clock)
        self._reconcilers: dict[str, NodeReconciler] = {}
        self._listed: set[Kind] = set()
        self._all_listed = asyncio.Event()
        self._nodes: WorkQueue[str] = WorkQueue(
            self.reconcile_node,
            backoff=_NODE_BACKOFF,
            rng=rng,
            delay=timing.settle,
            concurrency=timing.concurrency,
        )
        self._reports = Reports(
            cache,
            reader,
            writer,
            self._reconcilers,
            events=self.events,
            clock=clock,
            now=now,
            rng=rng,
            settle=timing.settle,
            interval=timing.status_interval,
            placing=placement,
            exports=export_resource_topologies,
        )
        events, enqueue = self.events, self._nodes.add
        pods = LivePods(cache, reader, self._enqueue)
        self._store = store = AllocationStore(
            cache,
            pods,
            reader,
            writer,
            metrics=metrics,
            enqueue=self._enqueue,
            clock=clock,
            now=now,
            write_deadline=timing.write_deadline,
        )
        self._placement = (
            PlacementReconciler(
                cache,
                reader,
                writer,
                self._reconcilers.get,
                events=events,
                metrics=metrics,
                enqueue=enqueue,
                clock=clock,
                now=now,
                rng=rng,
                settle=timing.settle,
            )
            if placement
            else None
        )
        self._steps = node_steps(
            cache,
            pods,
            reader,
            writer,
            store,
            events=events,
            metrics=metrics,
            timer=self._timer,
            enqueue=enqueue,
            clock=clock,
            now=now,
            rng=rng,
            status_interval=timing.status_interval,
        )

    # What changed

    def on_update(self, obj: CachedObject) -> None:
        """Cache a state of an object and queue what it affects."""
        if self._placement is not None:
            self._placement.sees(obj)
        before = self.cache.topologies.get(obj.key) if obj.kind is Kind.TOPOLOGY else None
        self._enqueue(self.cache.update(obj))
        match obj:
            case CachedProfile():
                self._reports.profile(obj.key.name)
            case CachedPod():
                if obj.node and not obj.running:
                    self._timer.begin(obj.uid)
                self._queue_reserving_node(obj)
            case CachedTopology():
                if (node := self.node_state(obj.key.name)) is not None:
                    was_silent = node.heartbeat.silent
                    node.heartbeat.observe(obj.heartbeat, self._clock())
                    if was_silent or before is None or before.said != obj.said:
                        self._reports.node(obj.key.name)
                self._queue_findings(obj)
            case CachedAllocation():
                self._queue_findings(obj)
            case _:
                pass

    def on_delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        """Remove an object from the cache and queue what that affects."""
        held = self.cache.allocation(key, version.uid) if kind is Kind.POD else None
        self._enqueue(self.cache.delete(kind, key, version))
        self._timer.end(version.uid)
        if self._placement is not None and kind in {Kind.POD, Kind.NODE, Kind.ALLOCATION}:
            if held is not None and held.node:
                self._nodes.add(held.node)
            self._placement.wake()

    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool:
        """Tell whether exactly this state is cached; safe in any thread."""
        return self.cache.is_cached(kind, key, version)

    def _queue_findings(self, obj: CachedTopology | CachedAllocation) -> None:
        """Queue the status of a node whose agent has found something, or finds it no more."""
        node = self.node_state(obj.node)
        if node is not None and has_news(node, obj):
            self._reports.node(obj.node)

    def _queue_reserving_node(self, pod: CachedPod) -> None:
        """Queue the node on which a pod has something reserved, if it is another one than the pod's."""
        if self._placement is None:
            return
        held = self.cache.allocation(pod.key, pod.uid)
        if held is not None and held.reserved and held.node not in {"", pod.node}:
            self._nodes.add(held.node)

    async def sync(self, kinds: Iterable[Kind]) -> None:
        """List kinds anew, PodAllocations first: a pod that is listed later has no older one."""
        for kind in sorted(kinds, key=lambda kind: kind is not Kind.ALLOCATION):
            objects, version = await self._reader.list_all(kind)
            self._enqueue(self.cache.replace(kind, objects, version))
            self._listed.add(kind)
            if kind is Kind.POD and self._placement is not None:
                self._enqueue(frozenset(one.node for one in self.cache.allocations if one.reserved))
                self._placement.wake()
        if self.has_synced:
            self._all_listed.set()

    @property
    def has_synced(self) -> bool:
        """Tell whether every kind was listed at least once."""
        return self._listed == set(Kind)

    async def wait_for_sync(self) -> None:
        """Wait until every kind was listed at least once."""
        await self._all_listed.wait()

    # Leading

    async def start(self) -> None:
        """Begin to decide, from nothing but the PodAllocations that are stored now."""
        self._reconcilers.clear()
        self._store.retry_mismatches()
        await self.sync([Kind.ALLOCATION] if self.has_synced else Kind)
        self._nodes.start()
        self._reports.start()
        if self._placement is not None:
            self._placement.start()
        self.enqueue_all()

    async def stop(self) -> None:
        """Stop deciding; changes are still cached."""
        if self._placement is not None:
            await self._placement.stop()
        await asyncio.gather(self._nodes.stop(), self._reports.stop())

    def enqueue_all(self) -> None:
        """Queue every node and profile."""
        self._enqueue(frozenset({EVERY_NODE}))
        for profile in self.cache.profiles:
            self._reports.profile(profile.key.name)

    def resync(self) -> None:
        """Queue everything, and try once more to store what was stored otherwise than sent."""
        self._store.retry_mismatches()
        for node in self._reconcilers.values():
            node.state.settings_otherwise = None
        self._reports.export_again()
        self.enqueue_all()

    # Work

    async def reconcile_node(self, name: str) -> None:
        """Run the reconciler of one node."""
        node = self._reconcilers.get(name) or self._reconcilers.setdefault(
            name, NodeReconciler(name, self.cache, self._steps)
        )
        try:
            changed_profiles = await node.reconcile()
        except NotLeadingError:
            return  # the next leader does it: starting queues every node
        except Exception as error:
            self._metrics.reconciles.labels("failed").inc()
            node.state.failed(str(error) or type(error).__name__, self._clock())
            self._reports.node(name)
            if self._placement is not None:
                self._placement.node_changed(node)
            raise
        if node.state.write_refused:
            node.state.failed(node.state.write_refused, self._clock())
            self._reports.node(name)
            failure = node.state.failure
            if failure is not None and self._clock() - failure.since <= FAILING:
                self._nodes.add(name, FAILING)  # its condition says so from then on
        else:
            node.state.failure = None
        if self._placement is not None:
            self._placement.node_changed(node)
        self._reports.decided(name)
        for profile in sorted(changed_profiles):
            self._reports.profile(profile)
        if node.obsolete:
            self._reconcilers.pop(name, None)
        self._metrics.reconciles.labels("ok").inc()

    def _enqueue(self, affected: AffectedNodes) -> None:
        if EVERY_NODE in affected:
            known = [*self.cache.nodes, *self.cache.topologies]
            affected = frozenset(one.key.name for one in known) | self._reconcilers.keys()
        for name in sorted(affected):  # the same order in each run
            if name:
                self._nodes.add(name)

    # State

    def node_state(self, name: str) -> NodeState | None:
        """Return the state of a node; None for one that nothing is known of."""
        node = self._reconcilers.get(name)
        return None if node is None else node.state

    def snapshot(self, *, leading: bool, term: int, watch_age: float) -> Snapshot:
        """Return the present state in numbers."""
        return snapshot_of(
            self._reconcilers.values(),
            self.cache,
            self._placement,
            now=self._clock(),
            queue_depth=len(self._nodes),
            leading=leading,
            term=term,
            watch_age=watch_age,
        )
