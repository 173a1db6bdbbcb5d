"""The NodeResourceTopology of a node, for schedulers that read them; only where the operator is told to.

    node with an allocator     its object is applied when it differs from the last one that was
    node without one           an object that podnuma wrote is deleted: it says nothing true any more
    kind not served            tried again after a while; nothing else waits for it
    fields of another writer   left to it, said once, tried again after a while

Nothing is read back but where an object may have to be deleted. A process that begins to lead applies
every object once; one that was changed or deleted by hand comes back at the next full pass.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from podnuma.api.node_resource_topology import render_node_resource_topology
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_LATER = 300.0  # seconds


class ResourceTopologyExport:
    """Writes NodeResourceTopologies, each at most once per interval and only when it differs."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        *,
        clock: Callable[[], float],
        interval: float,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._interval = interval
        self._written: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._others: set[str] = set()
        self._not_before = float("-inf")

    def forget_all(self) -> None:
        """Begin anew: nothing is known of any object."""
        self._written.clear()

    def write_again(self) -> None:
        """Write every object once more that should be there: it may have been changed by hand."""
        self._written = {name: done for name, done in self._written.items() if done[1] is None}

    def forget(self, name: str) -> None:
        """Forget a node that is gone; its object goes with its owner, the Node."""
        self._written.pop(name, None)
        self._others.discard(name)

    async def run(self, node: NodeState) -> float:
        """Bring the object of a node up to date; return after how many seconds to try again, 0 when done."""
        known = self._cache.node(node.name)
        if known is None:
            self.forget(node.name)
            return 0.0
        body = None
        if node.allocator is not None:
            body = render_node_resource_topology(node.name, known.uid, node.allocator, node.exclusive_cpus)
        at, before = self._written.get(node.name, (float("-inf"), {}))
        if before == body:
            return 0.0
        now = self._clock()
        if (wait := max(at + self._interval, self._not_before) - now) > 0:
            return wait
        try:
            if body is None:
                await self._withdraw(node.name)
            else:
                await self._writer.apply_resource_topology(node.name, body)
        except errors.NotFoundError:
            self._not_before = now + _LATER
            logger.warning(
                "NodeResourceTopologies are not written: noderesourcetopologies.topology.node.k8s.io is not "
                "served as v1alpha2; apply its definition, or stop asking for them"
            )
            return _LATER
        except errors.ConflictError as error:
            if node.name not in self._others:
                self._others.add(node.name)
                logger.warning(
                    "NodeResourceTopology %s is written by somebody else and left alone: %s; let only one "
                    "program write it",
                    node.name,
                    error.message,
                )
            return _LATER
        self._others.discard(node.name)
        self._written[node.name] = now, body
        return 0.0

    async def _withdraw(self, name: str) -> None:
        uid = await self._reader.resource_topology(name)
        if uid is not None:
            await self._writer.delete_resource_topology(name, uid)
