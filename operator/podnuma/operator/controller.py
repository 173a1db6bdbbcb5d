"""Queues and dispatch: what changed is cached, affected nodes are queued, one worker at a time runs each.

    on_update, on_delete, sync    cache, then queue the affected nodes and profiles
    nodes                         run the node's reconciler
    placement                     choose nodes for gated pods (`placement`)
    node and profile statuses     queues of their own: reporting must not delay decisions

A failed run is repeated after a back-off. A decision is stored first and held afterwards; a
write whose outcome is unknown is repeated with the same decision before anything else is
decided on that node.

The controller knows neither Kopf nor HTTP: tests drive it with the same calls.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api.node_topology import NodeReason
from podnuma.operator.cache.cluster import EVERY_NODE, ClusterCache
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import CachedAllocation, CachedPod, CachedProfile, CachedTopology
from podnuma.operator.metrics import AdmissionTimer, Metrics, Snapshot
from podnuma.operator.node.admission import Admission
from podnuma.operator.node.allocations import AllocationSync
from podnuma.operator.node.decision_writer import DecisionWriter
from podnuma.operator.node.device_lookup import DeviceLookup
from podnuma.operator.node.eviction import Eviction
from podnuma.operator.node.eviction_policy import EvictionBackoff
from podnuma.operator.node.findings import AgentFindings, has_news
from podnuma.operator.node.pod_conditions import PodConditions
from podnuma.operator.node.profile_selector import ProfileSelector
from podnuma.operator.node.reconciler import NodeReconciler, NodeSteps
from podnuma.operator.node.releases import Releases
from podnuma.operator.node.reservations import Reservations
from podnuma.operator.node.resize import Resizes
from podnuma.operator.node.resource_topology import ResourceTopologyExport
from podnuma.operator.node.settings import SettingsSync
from podnuma.operator.node.status import NodeStatusWriter
from podnuma.operator.placement.reconciler import PlacementReconciler
from podnuma.operator.profile_status import ProfileStatusWriter
from podnuma.operator.write.allocation_store import AllocationStore
from podnuma.operator.write.event_recorder import EventRecorder
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Awaitable, Callable, Iterable

    from podnuma.allocator.device_hints import DeviceLocality
    from podnuma.operator.cache.cluster import AffectedNodes
    from podnuma.operator.cache.objects import CachedObject, ObjectKey, ObjectVersion
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

_NODE_BACKOFF = Backoff(first=0.2, limit=10.0)
_EXPORT_BACKOFF = Backoff(first=1.0, limit=60.0)
_PROFILE_BACKOFF = Backoff(first=1.0, limit=60.0)
_EVICTION_BACKOFF = Backoff(first=20.0, limit=600.0)
_NODES_FIRST = 0.5  # seconds
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
        self._profile_statuses: WorkQueue[str] = WorkQueue(
            self.write_profile_status,
            backoff=_PROFILE_BACKOFF,
            rng=rng,
            delay=max(timing.settle, 0.2),
            concurrency=2,
        )
        self._node_statuses: WorkQueue[str] = WorkQueue(
            self.write_node_status,
            backoff=_NODE_BACKOFF,
            rng=rng,
            delay=max(timing.settle, timing.status_interval / 4),
            concurrency=2,
        )
        self._resource_topologies: WorkQueue[str] = WorkQueue(
            self.export_resource_topology,
            backoff=_EXPORT_BACKOFF,
            rng=rng,
            delay=max(timing.settle, timing.status_interval / 4),
            concurrency=2,
        )
        self._export = (
            ResourceTopologyExport(cache, reader, writer, clock=clock, interval=timing.status_interval)
            if export_resource_topologies
            else None
        )
        events, enqueue = self.events, self._nodes.add
        self._store = store = AllocationStore(
            cache,
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
        releases = Releases(
            cache, reader, store, events=events, metrics=metrics, enqueue=enqueue, clock=clock
        )
        allocations = AllocationSync(
            cache, store, releases, events=events, metrics=metrics, enqueue=enqueue, clock=clock
        )
        resizes = Resizes(cache, events=events, metrics=metrics)
        decisions = DecisionWriter(
            cache,
            store,
            allocations,
            releases,
            resizes,
            events=events,
            metrics=metrics,
            timer=self._timer,
            enqueue=enqueue,
            clock=clock,
        )
        self._steps = NodeSteps(
            selector=ProfileSelector(cache),
            settings=SettingsSync(cache, writer),
            allocations=allocations,
            reservations=Reservations(
                cache,
                store,
                allocations,
                decisions,
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
            findings=AgentFindings(cache, events),
            status=NodeStatusWriter(
                cache, writer, clock=clock, now=now, interval=timing.status_interval, events=self.events
            ),
            conditions=PodConditions(cache, writer, now),
        )
        self._profiles = ProfileStatusWriter(
            cache, writer, events=events, clock=clock, now=now, interval=timing.status_interval
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
                self._profile_statuses.add(obj.key.name)
            case CachedPod():
                if obj.node:
                    self._timer.begin(obj.uid)
                self._queue_reserving_node(obj)
            case CachedTopology():
                if (node := self.node_state(obj.key.name)) is not None:
                    was_silent = node.heartbeat.silent
                    node.heartbeat.observe(obj.heartbeat, self._clock())
                    if was_silent or before is None or before.agent_ready != obj.agent_ready:
                        self._node_statuses.add(obj.key.name)
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

    def _queue_findings(self, obj: CachedTopology | CachedAllocation) -> None:
        """Queue the status of a node whose agent has found something, or finds it no more."""
        node = self.node_state(obj.node)
        if node is not None and has_news(node, obj):
            self._node_statuses.add(obj.node)

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
        self._profiles.forget_all()
        self._store.retry_mismatches()
        if self._export is not None:
            self._export.forget_all()
        await self.sync([Kind.ALLOCATION] if self.has_synced else Kind)
        for queue in (self._nodes, self._node_statuses, self._profile_statuses, self._resource_topologies):
            queue.start()
        if self._placement is not None:
            self._placement.start()
        self.enqueue_all()

    async def stop(self) -> None:
        """Stop deciding; changes are still cached."""
        if self._placement is not None:
            await self._placement.stop()
        await asyncio.gather(
            self._nodes.stop(),
            self._node_statuses.stop(),
            self._profile_statuses.stop(),
            self._resource_topologies.stop(),
        )

    def enqueue_all(self) -> None:
        """Queue every node and profile."""
        self._enqueue(frozenset({EVERY_NODE}))
        for profile in self.cache.profiles:
            self._profile_statuses.add(profile.key.name)

    def resync(self) -> None:
        """Queue everything, and try once more to store what was stored otherwise than sent."""
        self._store.retry_mismatches()
        if self._export is not None:
            self._export.write_again()
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
            self._node_statuses.add(name)
            if self._placement is not None:
                self._placement.node_changed(node)
            raise
        node.state.failure = None
        if self._placement is not None:
            self._placement.node_changed(node)
        self._node_statuses.add(name)
        if self._export is not None:
            self._resource_topologies.add(name)
        for profile in sorted(changed_profiles):
            self._profile_statuses.add(profile)
        if node.obsolete:
            self._reconcilers.pop(name, None)
        self._metrics.reconciles.labels("ok").inc()

    async def write_node_status(self, name: str) -> None:
        """Bring the status of one node up to date."""
        node = self._reconcilers.get(name)
        if node is not None:
            await self._report(self._node_statuses, name, node.write_status())

    async def export_resource_topology(self, name: str) -> None:
        """Bring the NodeResourceTopology of one node up to date."""
        node = self._reconcilers.get(name)
        if self._export is None:
            return
        if node is None:
            self._export.forget(name)
        else:
            await self._report(self._resource_topologies, name, self._export.run(node.state))

    async def write_profile_status(self, name: str) -> None:
        """Bring the status of one profile up to date, once every node has been looked at."""
        if any(
            (state := self.node_state(node.key.name)) is None or state.selection is None
            for node in self.cache.nodes
        ):
            self._profile_statuses.add(name, _NODES_FIRST)
            return
        states = (node.state.profile_states for node in self._reconcilers.values())
        matched = [profiles[name] for profiles in states if name in profiles]
        await self._report(self._profile_statuses, name, self._profiles.run(name, matched))

    async def _report(self, queue: WorkQueue[str], name: str, write: Awaitable[float]) -> None:
        try:
            again = await write
        except NotLeadingError:
            return
        if again > 0:
            queue.add(name, again)

    def _enqueue(self, affected: AffectedNodes) -> None:
        if EVERY_NODE in affected:
            affected = frozenset(node.key.name for node in self.cache.nodes) | self._reconcilers.keys()
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
        holding = rejected = managed = exclusive = shared = twice = outdated = waiting = resizing = 0
        states = dict.fromkeys(NodeReason, 0)
        localities: Counter[DeviceLocality] = Counter()
        now, waited = self._clock(), 0.0
        orphaned = 0
        for node in self._reconcilers.values():
            state = node.state
            if (standing := state.standing) is not None and not node.obsolete:
                states[standing.reason] += 1
                if standing.reason not in {NodeReason.READY, NodeReason.NO_PROFILE}:
                    waited = max(waited, now - standing.since)
            managed += state.selection is not None and state.selection.decide_with is not None
            seen = 0
            for decision in state.decisions.values():
                holding += decision.grant.holds_anything
                rejected += decision.refused
                waiting += decision.undecided
                resizing += decision.decision.pending_resize is not None
                twice += (seen & decision.grant.exclusive_cpus).bit_count()
                seen |= decision.grant.exclusive_cpus
            localities.update(state.device_localities())
            exclusive += seen.bit_count()
            shared += state.shared_cpu_count
            outdated += len(state.outdated)
            orphaned += len(state.orphans)
            waiting += node.undecided
        return Snapshot(
            leading=leading,
            term=term,
            queue_depth=len(self._nodes),
            pods=len(self.cache.pods),
            nodes=managed,
            pods_holding=holding,
            pods_rejected=rejected,
            pods_waiting=waiting,
            exclusive_cpus=exclusive,
            shared_cpus=shared,
            cpus_with_two_owners=twice,
            pods_outdated=outdated,
            pods_resize_pending=resizing,
            node_states=states,
            longest_node_wait=waited,
            unreadable=self.cache.unreadable(),
            pods_orphaned=orphaned,
            device_localities=localities,
            watch_age=watch_age,
            pods_gated=len(self._placement.gated()) if self._placement is not None else 0,
            longest_gated_wait=self._placement.longest_wait() if self._placement is not None else 0.0,
        )
