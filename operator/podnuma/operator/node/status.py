"""The operator's part of NodeTopology.status: allocation, readiness, and two conditions.

It is computed from the present state, compared with what is stored, and written at most once
per interval: a thousand rejected pods cost one write a second, not a thousand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.allocator.cpuset import CpuSet
from podnuma.api.conditions import Condition, Readiness, Status, find, merged, readiness
from podnuma.api.node_profile import MatchedNode, MatchState
from podnuma.api.node_topology import (
    NodeAllocation,
    NodeCondition,
    NodeFree,
    NodeTopology,
    render_operator_status,
)
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.operator.cache import decode

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping

    from podnuma.allocator.node_allocator import NodeAllocator
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import AgentHeartbeat, NodeState
    from podnuma.operator.write.writer import Writer

_NAMED = 3  # pods named in a message; the others are counted


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
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._now = now
        self._interval = interval

    async def run(self, node: NodeState) -> float:
        """Bring the status of a node up to date; return after how many seconds to try again, 0 when done."""
        topology, selection = self._cache.topology(node.name), node.selection
        if topology is None or topology.model is None or selection is None:
            return 0.0
        generation = topology.generation
        allocation = _allocation(node, node.allocator) if node.allocator is not None else None
        node.heartbeat.observe(topology.heartbeat, self._clock())
        up_to_date = _pods_up_to_date(node)
        conditions = (
            *_node_readiness(
                topology.model.conditions, selection.valid, up_to_date, node.heartbeat, generation
            ),
            selection.valid,
            up_to_date,
        )
        current = tuple(replace(condition, observed_generation=generation) for condition in conditions)
        if _is_stored(topology.model, allocation, generation, current):
            return 0.0
        wait = node.status_written + self._interval - self._clock()
        if wait > 0:
            return wait
        status = render_operator_status(
            allocation, generation, merged(topology.model.conditions, current, self._now())
        )
        body = NODE_TOPOLOGY.status_patch("", node.name, topology.uid, status)
        node.status_written = self._clock()
        self._cache.update(decode.decode_topology(await self._writer.apply_topology_status(node.name, body)))
        return 0.0


def profile_states(node: NodeState, selection: ProfileSelection) -> Mapping[str, MatchedNode]:
    """Return what a node reports to each profile that selects it, outdated pods considered."""
    up_to_date = _pods_up_to_date(node)
    if up_to_date.status is Status.TRUE:
        return selection.matches
    return {
        profile: MatchedNode(node.name, MatchState.PENDING, up_to_date.reason, up_to_date.message)
        if match.state is MatchState.APPLIED
        else match
        for profile, match in selection.matches.items()
    }


def _is_stored(
    model: NodeTopology, allocation: NodeAllocation | None, generation: int, conditions: tuple[Condition, ...]
) -> bool:
    """Tell whether the stored status says all of this already."""
    stored = {condition.type: replace(condition, last_transition_time="") for condition in model.conditions}
    return (
        model.allocation == allocation
        and model.observed_generation == generation
        and all(stored.get(condition.type) == condition for condition in conditions)
    )


def _node_readiness(
    stored: Iterable[Condition],
    valid: Condition,
    up_to_date: Condition,
    heartbeat: AgentHeartbeat,
    generation: int,
) -> tuple[Condition, ...]:
    """Sum up the agent's condition, whether the settings are valid, and whether all pods are up to date."""
    agent = find(stored, NodeCondition.AGENT_READY)
    if valid.status is Status.FALSE:
        return readiness(Readiness.FAILED, valid.reason, valid.message, generation)
    if valid.status is Status.UNKNOWN:
        return readiness(Readiness.IN_PROGRESS, valid.reason, valid.message, generation)
    if agent is None:
        text = "no agent of this node has reported yet; check that its pod runs"
        return readiness(Readiness.IN_PROGRESS, "AgentMissing", text, generation)
    if heartbeat.silent:
        text = (
            f"the agent's last report is of {heartbeat.time}; running containers keep their CPUs, new ones"
            " may be pinned late; check that the agent's pod runs and reaches the API server"
        )
        return readiness(Readiness.IN_PROGRESS, "AgentSilent", text, generation)
    if agent.status is not Status.TRUE:
        return readiness(Readiness.FAILED, "AgentNotReady", f"the agent says: {agent.message}", generation)
    if up_to_date.status is not Status.TRUE:
        return readiness(Readiness.IN_PROGRESS, up_to_date.reason, up_to_date.message, generation)
    return readiness(Readiness.CURRENT, "Ready", "pods are decided and their decisions applied", generation)


def _allocation(state: NodeState, node: NodeAllocator) -> NodeAllocation:
    free = node.default_set & ~node.reserved_cpus
    topology = node.topology
    decisions = state.decisions.values()
    return NodeAllocation(
        reserved=node.reserved_cpus,
        exclusive=state.exclusive_cpus,
        shared_pool=node.shared_pool,
        pods=sum(decision.grant.holds_anything for decision in decisions),
        rejected=sum(not decision.admitted for decision in decisions),
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


def _pods_up_to_date(node: NodeState) -> Condition:
    kind = NodeCondition.PODS_UP_TO_DATE
    if not node.outdated:
        return Condition(
            kind, Status.TRUE, "PodsUpToDate", "every pod holds what the present settings would give it"
        )
    pods = sorted(f"{node.decisions[uid].key} ({problem})" for uid, problem in node.outdated.items())
    more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
    message = (
        f"{len(pods)} pods hold what the present settings or hardware would not give them and keep it until "
        f"they end: {', '.join(pods[:_NAMED])}{more}; recreate them to bring the node up to date"
    )
    return Condition(kind, Status.FALSE, "PodsOutdated", message[:2048])
