"""Reporting, in queues of its own so that it does not delay decisions: each with its back-off and pace.

    node           NodeTopology.status and the conditions of pods
    profile        NodeProfile.status, once a run over every node has ended; a node that has not seen the
                   present generation of the profile counts as pending
    export         the NodeResourceTopology of a node, where they are wanted

Each run brings one object up to date with what is known then; one that comes too early is repeated.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.readiness import match_with
from podnuma.operator.node.resource_topology import ResourceTopologyExport
from podnuma.operator.profile_status import ProfileStatusWriter
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedNode
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

_NODE_BACKOFF = Backoff(first=0.2, limit=10.0)
_EXPORT_BACKOFF = Backoff(first=1.0, limit=60.0)
_PROFILE_BACKOFF = Backoff(first=1.0, limit=60.0)
_PROFILE_SETTLE = 0.2  # seconds
_NODES_FIRST = 0.5
_AT_ONCE = 2


class Reports:
    """The queues of what is reported; `nodes` are the reconcilers by name, as the controller has them."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        nodes: Mapping[str, NodeReconciler],
        *,
        events: EventRecorder,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        rng: random.Random,
        settle: float,
        interval: float,
        placing: bool,
        exports: bool,
    ) -> None:
        self._cache = cache
        self._reconcilers = nodes
        self._profile_writer = ProfileStatusWriter(
            cache, writer, events=events, clock=clock, now=now, interval=interval, placing=placing
        )
        self._export = (
            ResourceTopologyExport(cache, reader, writer, clock=clock, interval=interval) if exports else None
        )
        queue = partial(WorkQueue[str], rng=rng, concurrency=_AT_ONCE)
        pace = max(settle, interval / 4)
        self._nodes = queue(self._write_node, backoff=_NODE_BACKOFF, delay=pace)
        self._profiles = queue(
            self._write_profile, backoff=_PROFILE_BACKOFF, delay=max(settle, _PROFILE_SETTLE)
        )
        self._exports = queue(self._write_export, backoff=_EXPORT_BACKOFF, delay=pace)

    def node(self, name: str) -> None:
        """Queue the status of a node."""
        self._nodes.add(name)

    def profile(self, name: str) -> None:
        """Queue the status of a profile."""
        self._profiles.add(name)

    def decided(self, name: str) -> None:
        """Queue what is reported of a node after its run."""
        self._nodes.add(name)
        if self._export is not None:
            self._exports.add(name)

    def start(self) -> None:
        """Begin, from nothing: another process may have written since."""
        self._profile_writer.forget_all()
        if self._export is not None:
            self._export.forget_all()
        for queue in (self._nodes, self._profiles, self._exports):
            queue.start()

    async def stop(self) -> None:
        """End."""
        await asyncio.gather(self._nodes.stop(), self._profiles.stop(), self._exports.stop())

    def export_again(self) -> None:
        """Write at the next occasion what others may have changed meanwhile."""
        if self._export is not None:
            self._export.write_again()

    async def _write_node(self, name: str) -> None:
        node = self._reconcilers.get(name)
        if node is not None:
            await self._report(self._nodes, name, node.write_status())

    async def _write_export(self, name: str) -> None:
        node = self._reconcilers.get(name)
        if self._export is None:
            return
        if node is None:
            self._export.forget(name)
        else:
            await self._report(self._exports, name, self._export.run(node.state))

    async def _write_profile(self, name: str) -> None:
        found: list[tuple[CachedNode, NodeState]] = []
        for one in self._cache.nodes:
            node = self._reconcilers.get(one.key.name)
            if node is None or (node.state.profiles_seen is None and node.state.failure is None):
                self._profiles.add(name, _NODES_FIRST)
                return
            found.append((one, node.state))
        profile = self._cache.profiles.get(ObjectKey("", name))
        matches = [] if profile is None else [match_with(profile, *one) for one in found]
        matched = [one for one in matches if one is not None]
        await self._report(self._profiles, name, self._profile_writer.run(name, matched))

    async def _report(self, queue: WorkQueue[str], name: str, write: Awaitable[float]) -> None:
        try:
            again = await write
        except NotLeadingError:
            return
        if again > 0:
            queue.add(name, again)
