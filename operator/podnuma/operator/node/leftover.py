"""Remove the NodeTopology that a node left behind: it has no owner, so the garbage collector does not.

An agent registers its node without an owner; the operator adds it. If the Node is deleted before that,
nothing else ever removes the object. It is removed only if its spec is still as the agent created it, nothing
is allocated there, the Node has been missing for a while, and a live read confirms that. An object that
somebody wrote for a future node is left alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api.node_settings import Mode
from podnuma.api.node_topology import without_settings
from podnuma.operator.cache.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedTopology
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

AWAY = 30.0
"""Seconds for which a Node must have been away: one that is made anew keeps its NodeTopology."""


class Leftovers:
    """The step for a name without a Node."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        *,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._enqueue = enqueue
        self._clock = clock

    async def run(self, state: NodeState) -> None:
        """Remove what is left of a node, or come back when that is certain."""
        name = state.name
        topology = self._cache.topology(name)
        if self._cache.node(name) is not None or topology is None or not self._is_left(topology, state):
            state.left_since = None
            return
        if state.left_since is None:
            state.left_since = self._clock()
        if (wait := state.left_since + AWAY - self._clock()) > 0:
            self._enqueue(name, wait)
            return
        state.left_since = None
        if await self._reader.node_exists(name):
            return  # the watch will tell
        await self._writer.delete_topology(name, topology.uid)
        self._cache.delete(Kind.TOPOLOGY, topology.key, topology.version)
        logger.info(
            "NodeTopology %s removed: its node is gone, and nothing was configured or allocated there", name
        )

    def _is_left(self, topology: CachedTopology, state: NodeState) -> bool:
        model = topology.model
        return (
            topology.owner is None
            and model is not None
            and model.profile is None
            and model.node == without_settings(Mode.AUDIT)
            and not state.decisions
            and not self._cache.allocations.group(state.name)
        )
