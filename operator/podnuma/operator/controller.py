"""The loop: a dirty node is brought to what it should be, from memory, one step after the other.

    see, lose, sync    news comes in, concerned nodes are marked
    reconcile          settle   which profile holds; NodeTopology.spec
                       tidy     releases what is gone, takes over and restores what is there
                       decide   pods without a decision, oldest first; refused ones if there may be room
                       follow   evictions
    report             NodeTopology.status and NodeProfile.status; apart, telling must not delay deciding

A node has one worker at a time, so that the steps of one node never meet. Each step leaves
memory and API in agreement, and can fail: then the node is tried again later from the start.
A decision is written first and held afterwards; a write whose outcome is unknown is repeated
with the same decision before anything else is decided on that node.

The service knows no Kopf and no HTTP: tests drive it with the same calls.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podnuma.allocator.rules import Rules
from podnuma.operator.cache.cluster import EVERY_NODE, ClusterCache
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import CachedPod, CachedProfile, CachedTopology, ObjectKey
from podnuma.operator.metrics import Metrics, Snapshot
from podnuma.operator.node import profile_selection, status
from podnuma.operator.node.admission import decide, undecided, withdraw
from podnuma.operator.node.allocations import tidy
from podnuma.operator.node.eviction import follow
from podnuma.operator.node.eviction_policy import EvictionBackoff
from podnuma.operator.node.means import Means, Waits
from podnuma.operator.node.settings import clear, settle
from podnuma.operator.node.state import Book
from podnuma.operator.node.status import AgentHeartbeat, LastWrite
from podnuma.operator.write.allocation_store import AllocationStore
from podnuma.operator.write.event_recorder import EventRecorder
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Iterable

    from podnuma.api.node_profile import MatchedNode
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.cluster import AffectedNodes
    from podnuma.operator.cache.objects import CachedObject, ObjectVersion
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_NODE_BACKOFF = Backoff(first=0.2, limit=10.0)
_EVICTION_BACKOFF = Backoff(first=20.0, limit=600.0)
_BUSY = 4  # nodes in the queue; with more, telling stands back
_PROFILE_BACKOFF = Backoff(first=1.0, limit=60.0)


@dataclass(frozen=True, slots=True)
class ControllerTiming:
    """Paces of the loop, in seconds, and how many nodes are worked on at once.

    After `write_deadline` seconds no write is carried out any more.
    """

    settle: float = 0.05
    status_interval: float = 1.0
    resync: float = 300.0
    concurrency: int = 16
    write_deadline: float = 5.0


@dataclass(slots=True)
class _Desk:
    """What the service keeps of one node between runs."""

    book: Book = field(default_factory=Book)
    basis: object = None
    plan: ProfileSelection | None = None
    rules: Rules | None = None
    written: LastWrite = field(default_factory=LastWrite)
    heard: AgentHeartbeat = field(default_factory=AgentHeartbeat)
    standings: dict[str, MatchedNode] = field(default_factory=dict)


class Controller:
    """Decides for all nodes."""

    def __init__(  # noqa: PLR0913 - its ports, passed in once
        self,
        reader: Reader,
        writer: Writer,
        *,
        metrics: Metrics,
        timing: ControllerTiming,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        rng: random.Random,
    ) -> None:
        self.cache = ClusterCache()
        self._timing = timing
        self._clock = clock
        self._metrics = metrics
        self._nodes: WorkQueue[str] = WorkQueue(
            self.reconcile,
            backoff=_NODE_BACKOFF,
            rng=rng,
            delay=timing.settle,
            concurrency=timing.concurrency,
        )
        self._profiles: WorkQueue[str] = WorkQueue(
            self.report_profile,
            backoff=_PROFILE_BACKOFF,
            rng=rng,
            delay=max(timing.settle, 0.2),
            concurrency=2,
        )
        self._reports: WorkQueue[str] = WorkQueue(
            self.report_node,
            backoff=_NODE_BACKOFF,
            rng=rng,
            delay=max(timing.settle, timing.status_interval / 4),
            concurrency=2,
        )
        self.announcer = EventRecorder(
            writer, now, metrics.events_dropped.inc, lambda: len(self._nodes) > _BUSY
        )
        self._means = Means(
            cache=self.cache,
            reader=reader,
            writer=writer,
            checkpoint=AllocationStore(
                self.cache,
                reader,
                writer,
                mark=self._mark,
                clock=clock,
                write_deadline=timing.write_deadline,
            ),
            announcer=self.announcer,
            metrics=metrics,
            pacer=EvictionBackoff(_EVICTION_BACKOFF, rng),
            clock=clock,
            now=now,
            mark=self._nodes.add,
            status_interval=timing.status_interval,
            waits=Waits(clock),
        )
        self._desks: dict[str, _Desk] = {}
        self._rules: list[tuple[NodeSettings, Rules]] = []
        self._profiles_written: dict[str, LastWrite] = {}
        self._synced: set[Kind] = set()
        self._whole = asyncio.Event()

    # News

    def on_update(self, record: CachedObject) -> None:
        """Take in the state of an object."""
        before = self.cache.topologies.get(record.key) if record.kind is Kind.TOPOLOGY else None
        self._mark(self.cache.update(record))
        match record:
            case CachedProfile():
                self._profiles.add(record.key.name)
            case CachedPod():
                self._means.waits.begin(record.uid)
            case CachedTopology():
                news = before is None or before.agent_ready != record.agent_ready
                if (desk := self._desks.get(record.key.name)) is not None:
                    was_silent = desk.heard.silent
                    desk.heard.listen(record.heartbeat, self._clock())
                    if news or was_silent:
                        self._reports.add(record.key.name)
            case _:
                pass

    def on_delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        """Take in the end of an object."""
        self._mark(self.cache.delete(kind, key, version))
        self._means.waits.end(version.uid)

    async def sync(self, kinds: Iterable[Kind]) -> None:
        """Compare memory with full lists, the PodAllocations first: a pod listed later has no older one."""
        for kind in sorted(kinds, key=lambda kind: kind is not Kind.ALLOCATION):
            records, version = await self._means.reader.everything(kind)
            self._mark(self.cache.replace(kind, records, version))
            self._synced.add(kind)
        if self.synced:
            self._whole.set()

    @property
    def synced(self) -> bool:
        """Tell whether every kind was listed at least once."""
        return self._synced == set(Kind)

    async def whole(self) -> None:
        """Wait until every kind was listed at least once."""
        await self._whole.wait()

    # Leading

    async def take_over(self) -> None:
        """Begin to decide: from the PodAllocations as they are stored now, and nothing else."""
        self._desks.clear()
        self._profiles_written.clear()
        await self.sync([Kind.ALLOCATION] if self.synced else Kind)
        self._nodes.start()
        self._reports.start()
        self._profiles.start()
        self.mark_everything()

    async def stand_down(self) -> None:
        """Stop deciding; news is still taken in."""
        await asyncio.gather(self._nodes.stop(), self._reports.stop(), self._profiles.stop())

    def mark_everything(self) -> None:
        """Ask for a run of every node and profile."""
        self._mark(frozenset({EVERY_NODE}))
        for profile in self.cache.profiles:
            self._profiles.add(profile.key.name)

    def look_again(self) -> None:
        """Ask for a run of everything, and for another try at what was stored otherwise than sent."""
        for desk in self._desks.values():
            desk.book.as_stored.clear()
        self.mark_everything()

    # Work

    async def reconcile(self, name: str) -> None:
        """Bring one node to what it should be."""
        try:
            await self._reconcile(name)
        except NotLeadingError:
            return  # whoever leads does it; taking over marks every node
        except Exception:
            self._metrics.reconciles.labels("failed").inc()
            raise
        self._metrics.reconciles.labels("ok").inc()

    async def _reconcile(self, name: str) -> None:
        means, cache = self._means, self.cache
        desk = self._desks.setdefault(name, _Desk())
        book = desk.book
        node = cache.nodes.get(ObjectKey("", name))
        plan = self._plan(name, desk)
        if node is not None:
            await settle(means, node, plan, cache.topologies.get(ObjectKey("", name)))
            plan = self._plan(name, desk)
        book.equip(desk.rules if node is not None else None)
        await tidy(means, name, book)
        await withdraw(means, book, plan)
        await clear(means, name, plan, book)
        await decide(means, name, book, plan)
        await follow(means, name, book, plan.decide_with)
        self._reports.add(name)
        self._stand(name, desk, plan)
        if node is None and not book.decided and not cache.allocations.group(name):
            del self._desks[name]

    async def report_node(self, name: str) -> None:
        """Bring the status of one node up to date."""
        desk = self._desks.get(name)
        if desk is None or desk.plan is None:
            return
        try:
            again = await status.report_node(
                self._means, name, desk.book, desk.plan, desk.written, desk.heard
            )
        except NotLeadingError:
            return
        if again > 0:
            self._reports.add(name, again)

    async def report_profile(self, name: str) -> None:
        """Bring the status of one profile up to date."""
        record = self.cache.profiles.get(ObjectKey("", name))
        if record is None:
            self._profiles_written.pop(name, None)
            return
        written = self._profiles_written.setdefault(name, LastWrite())
        standings = [desk.standings[name] for desk in self._desks.values() if name in desk.standings]
        try:
            again = await status.report_profile(self._means, record, standings, written)
        except NotLeadingError:
            return
        if again > 0:
            self._profiles.add(name, again)

    def _plan(self, name: str, desk: _Desk) -> ProfileSelection:
        cache = self.cache
        node, topology = (
            cache.nodes.get(ObjectKey("", name)),
            cache.topologies.get(ObjectKey("", name)),
        )
        if node is None:
            return profile_selection.NO_NODE
        candidates = tuple(cache.profiles)
        basis = (
            node.relevant_state,
            tuple(p.relevant_state for p in candidates),
            topology.relevant_state if topology else None,
        )
        if desk.plan is None or desk.basis != basis:
            desk.plan, desk.basis = profile_selection.select(node, candidates, topology), basis
            desk.rules = self._rules_for(topology, desk.plan.decide_with)
        return desk.plan

    def _rules_for(self, topology: CachedTopology | None, settings: NodeSettings | None) -> Rules | None:
        """Return the rules for a node's settings and hardware; equal nodes share one object."""
        if settings is None or topology is None or topology.model is None or topology.model.hardware is None:
            return None
        machine = topology.model.hardware.topology
        for known, rules in self._rules:
            if known == settings and rules.topology == machine:
                return rules
        rules = Rules(settings.settings, machine)
        self._rules = [(settings, rules), *self._rules[:63]]
        return rules

    def _stand(self, name: str, desk: _Desk, plan: ProfileSelection) -> None:
        standings = dict(status.standings(plan, name, desk.book))
        if standings == desk.standings:
            return
        for profile in sorted(standings.keys() | desk.standings.keys()):
            if standings.get(profile) != desk.standings.get(profile):
                self._profiles.add(profile)
        desk.standings = standings

    def _mark(self, concerned: AffectedNodes) -> None:
        if EVERY_NODE in concerned:
            concerned = frozenset(node.key.name for node in self.cache.nodes) | self._desks.keys()
        for name in sorted(concerned):  # the same order each run
            if name:
                self._nodes.add(name)

    # State

    def desk(self, name: str) -> Book | None:
        """Return what was decided on a node; None for one that nothing is known of."""
        desk = self._desks.get(name)
        return None if desk is None else desk.book

    def snapshot(self, *, leading: bool, term: int, watch_age: float) -> Snapshot:
        """Return the present state in numbers."""
        held = rejected = nodes = exclusive = shared = twice = out = waiting = 0
        for name, desk in self._desks.items():
            book = desk.book
            settings = desk.plan.decide_with if desk.plan else None
            nodes += settings is not None
            seen = 0
            for decided in book.decided.values():
                held += decided.grant.holds_anything
                rejected += not decided.decision.admitted
                twice += (seen & decided.grant.exclusive_cpus).bit_count()
                seen |= decided.grant.exclusive_cpus
            exclusive += seen.bit_count()
            shared += status.shared_cpus(book)
            out += len(book.out_of_place)
            waiting += len(undecided(self._means, name, book, desk.plan)) if desk.plan is not None else 0
        return Snapshot(
            leading=leading,
            term=term,
            queue_depth=len(self._nodes),
            pods=len(self.cache.pods),
            nodes=nodes,
            pods_holding=held,
            pods_rejected=rejected,
            pods_waiting=waiting,
            exclusive_cpus=exclusive,
            shared_cpus=shared,
            cpus_with_two_owners=twice,
            pods_out_of_place=out,
            watch_age=watch_age,
        )
