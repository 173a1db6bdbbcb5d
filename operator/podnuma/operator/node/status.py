"""The operator's part of NodeTopology.status: allocation, and the conditions of `readiness`.

It is computed from the present state, compared with what is stored, and written at most once
per interval: a thousand rejected pods cost one write a second, not a thousand. What
another client changes in it is restored, every few seconds if that goes on; what the API server stores
differently than it was sent is left as it is. A condition that becomes False is an event, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.allocator.cpuset import CpuSet
from podnuma.api.conditions import Condition, Status, merged
from podnuma.api.events import EventType
from podnuma.api.node_allocation import NodeAllocation, NodeFree
from podnuma.api.node_conditions import NodeReason
from podnuma.api.node_topology import operator_part, render_operator_status
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.operator.cache import decode
from podnuma.operator.node.readiness import NodeStanding, node_readiness, pods_up_to_date, readable
from podnuma.operator.write.event_recorder import topology_reference
from podnuma.operator.write.last_write import LastWrite

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from podnuma.allocator.node_allocator import NodeAllocator
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedTopology
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer


_SOON = 0.1  # seconds


class NodeStatusWriter:
    """Writes a node's status; never more often than once per interval, and only what differs."""

    def __init__(
        self,
        cache: ClusterCache,
        writer: Writer,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        interval: float,
        events: EventRecorder,
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._now = now
        self._interval = interval
        self._events = events

    async def run(self, node: NodeState) -> float:
        """Bring the status of a node up to date; return after how many seconds to try again, 0 when done."""
        topology, selection, now = self._cache.topology(node.name), node.selection, self._clock()
        if selection is None:
            return 0.0
        node.heartbeat.observe(topology.heartbeat if topology is not None else "", now)
        up_to_date = pods_up_to_date(node)
        ready = node_readiness(node, selection, topology, up_to_date, now)
        reason = NodeReason(ready[0].reason)
        before = node.standing or NodeStanding(reason, now)
        node.standing = before.followed_by(reason, now)
        if topology is None:
            return 0.0
        generation = topology.generation
        allocation = node_allocation(node, node.allocator) if node.allocator is not None else None
        told = decode.in_brief(operator_part(render_operator_status(allocation, generation, ())))
        readability = readable(topology, self._cache.allocations.group(node.name).values())
        current = tuple(
            replace(condition, observed_generation=generation)
            for condition in (*ready, selection.valid, up_to_date, readability)
        )
        said, written = (told, current), node.status_written
        shown = topology.told == told or (written.said == said and written.stored == topology.told)
        if shown and _are_stored(topology, current):
            return 0.0
        wait = written.at + written.pause(said, self._interval) - now
        if wait > 0:
            return wait
        status = render_operator_status(
            allocation, generation, merged(topology.conditions, current, self._now())
        )
        body = NODE_TOPOLOGY.status_patch("", node.name, topology.uid, status)
        node.status_written = LastWrite(at=now)
        self._announce(topology, selection.valid, readability)
        stored = decode.decode_topology(await self._writer.apply_topology_status(node.name, body))
        self._cache.update(stored)
        node.status_written = LastWrite(said, stored.told, now)
        # What could not be read may have been written anew just now: then say that it can be read.
        return max(self._interval, _SOON) if stored.problems != topology.problems else 0.0

    def _announce(self, topology: CachedTopology, *conditions: Condition) -> None:
        """Record an event for each condition that is false and was not so, or for another reason."""
        before = {condition.type: condition for condition in topology.conditions}
        for condition in conditions:
            known = before.get(condition.type)
            if condition.status is Status.FALSE and (
                known is None or (known.status, known.reason) != (condition.status, condition.reason)
            ):
                involved = topology_reference(topology)
                self._events.record(involved, EventType.WARNING, condition.reason, condition.message)


def _are_stored(topology: CachedTopology, conditions: tuple[Condition, ...]) -> bool:
    """Tell whether the stored status has these conditions already."""
    stored = {
        condition.type: replace(condition, last_transition_time="") for condition in topology.conditions
    }
    return all(stored.get(condition.type) == condition for condition in conditions)


def node_allocation(state: NodeState, node: NodeAllocator) -> NodeAllocation:
    """Return what is given out on a node now."""
    free = node.free_cpus
    topology = node.topology
    decisions = state.decisions.values()
    return NodeAllocation(
        reserved=node.reserved_cpus,
        exclusive=state.exclusive_cpus,
        shared_pool=node.shared_pool,
        pods=sum(decision.grant.holds_anything for decision in decisions),
        rejected=sum(decision.refused for decision in decisions),
        nodes=tuple(
            NodeFree.of(
                numa.id,
                CpuSet(free & topology.cpus_of_node(numa.id)),
                {
                    resource: node.free_memory(numa.id, resource)
                    for resource in ("memory", *sorted(numa.hugepages))
                    if node.memory_rows(numa.id)
                },
            )
            for numa in topology.nodes
        ),
        assignments=dict(node.assignment_counts()),
    )
