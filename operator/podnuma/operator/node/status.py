"""What is told in the status of NodeTopologies and NodeProfiles.

Both are computed from the present state, compared with what was written last, and written
at most once per interval: a thousand refused pods cost one write a second, not a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api import names
from podnuma.api.conditions import Condition, Readiness, Status, find, merged, readiness
from podnuma.api.node_profile import (
    MatchedNode,
    NodeProfileStatus,
    NodeState,
    render_node_profile_status,
)
from podnuma.api.node_topology import (
    NodeAllocation,
    NodeCondition,
    NodeFree,
    NodeTopology,
    render_operator_status,
)
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podnuma.allocator.node_allocator import NodeAllocator
    from podnuma.operator.cache.objects import CachedProfile
    from podnuma.operator.node.means import Means
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import Book

_SILENT = 180.0  # seconds without a new heartbeat; agents send one a minute
_NAMED = 3  # pods or nodes named in a sentence; the rest is counted


@dataclass(slots=True)
class LastWrite:
    """What was written last about one object, and when."""

    content: object = None
    at: float = float("-inf")


@dataclass(slots=True)
class AgentHeartbeat:
    """The last heartbeat of a node's agent and when it was new, by this process's clock.

    The time in the heartbeat itself is the node's, which may be anything.
    """

    heartbeat: str = ""
    at: float = float("inf")
    silent: bool = False

    def listen(self, heartbeat: str, now: float) -> None:
        """Take in the heartbeat that is stored now."""
        if heartbeat != self.heartbeat or now < self.at:
            self.heartbeat, self.at = heartbeat, now
        self.silent = bool(heartbeat) and now - self.at > _SILENT


async def report_node(
    means: Means, name: str, book: Book, plan: ProfileSelection, written: LastWrite, heard: AgentHeartbeat
) -> float:
    """Bring the operator's part of NodeTopology.status up to date; return as `report_profile` does."""
    topology = means.cache.topologies.get(ObjectKey("", name))
    if topology is None or topology.model is None:
        return 0.0
    allocation = _allocation(book.allocator, book) if book.allocator is not None else None
    generation = topology.generation
    settled = _settled(book)
    heard.listen(topology.heartbeat, means.clock())
    conditions = (
        *_node_readiness(topology.model.conditions, plan.usable, settled, heard, generation),
        plan.usable,
        settled,
    )
    stamped = tuple(replace(condition, observed_generation=generation) for condition in conditions)
    if _told(topology.model, allocation, generation, stamped):
        return 0.0
    wait = written.at + means.status_interval - means.clock()
    if wait > 0:
        return wait
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_TOPOLOGY.kind,
        "metadata": {"name": name, "uid": topology.uid},
        "status": render_operator_status(
            allocation, generation, merged(topology.model.conditions, stamped, means.now())
        ),
    }
    written.at = means.clock()
    means.cache.update(decode.decode_topology(await means.writer.apply_topology_status(name, body)))
    return 0.0


def _node_readiness(
    told: Iterable[Condition], usable: Condition, settled: Condition, heard: AgentHeartbeat, generation: int
) -> tuple[Condition, ...]:
    """Sum up what the agent told, whether the settings are usable and whether all pods hold under them."""
    agent = find(told, NodeCondition.AGENT_READY)
    if usable.status is Status.FALSE:
        return readiness(Readiness.FAILED, usable.reason, usable.message, generation)
    if usable.status is Status.UNKNOWN:
        return readiness(Readiness.IN_PROGRESS, usable.reason, usable.message, generation)
    if agent is None:
        text = "no agent of this node has reported yet; see whether its pod runs"
        return readiness(Readiness.IN_PROGRESS, "AgentMissing", text, generation)
    if heard.silent:
        text = (
            f"the agent's last report is of {heard.heartbeat}; what runs keeps its CPUs, what starts may be"
            " pinned late; see whether the agent's pod runs and reaches the API server"
        )
        return readiness(Readiness.IN_PROGRESS, "AgentSilent", text, generation)
    if agent.status is not Status.TRUE:
        return readiness(Readiness.FAILED, "AgentNotReady", f"the agent says: {agent.message}", generation)
    if settled.status is not Status.TRUE:
        return readiness(Readiness.IN_PROGRESS, settled.reason, settled.message, generation)
    return readiness(Readiness.CURRENT, "Ready", "pods are decided and their decisions applied", generation)


async def report_profile(
    means: Means, record: CachedProfile, standings: Iterable[MatchedNode], written: LastWrite
) -> float:
    """Bring NodeProfile.status up to date; return after how many seconds to try again, 0 when done."""
    nodes = tuple(sorted(standings, key=lambda node: node.name))
    conditions = _profile_conditions(record, nodes)
    content = (record.uid, record.generation, nodes, conditions)
    if content == written.content:
        return 0.0
    wait = written.at + means.status_interval - means.clock()
    if wait > 0:
        return wait
    before = record.model.conditions if record.model else ()
    status = NodeProfileStatus(record.generation, nodes, merged(before, conditions, means.now()))
    body: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_PROFILE.kind,
        "metadata": {"name": record.key.name, "uid": record.uid},
        "status": render_node_profile_status(status),
    }
    written.at = means.clock()
    means.cache.update(decode.decode_profile(await means.writer.apply_profile_status(record.key.name, body)))
    written.content = content
    return 0.0


def standings(plan: ProfileSelection, name: str, book: Book) -> Mapping[str, MatchedNode]:
    """Return how a node stands to each profile that selects it, pods out of place considered."""
    unsettled = _settled(book)
    if unsettled.status is Status.TRUE:
        return plan.standings
    return {
        profile: MatchedNode(name, NodeState.PENDING, unsettled.reason, unsettled.message)
        if node.state is NodeState.SETTLED
        else node
        for profile, node in plan.standings.items()
    }


def _told(
    model: NodeTopology, allocation: NodeAllocation | None, generation: int, conditions: tuple[Condition, ...]
) -> bool:
    """Tell whether the stored status says all of this already."""
    stored = {condition.type: replace(condition, last_transition_time="") for condition in model.conditions}
    return (
        model.allocation == allocation
        and model.observed_generation == generation
        and all(stored.get(condition.type) == condition for condition in conditions)
    )


def _allocation(node: NodeAllocator, book: Book) -> NodeAllocation:
    free = node.default_set & ~node.reserved_cpus
    topology = node.topology
    decisions = book.decided.values()
    return NodeAllocation(
        reserved=node.reserved_cpus,
        exclusive=book.held_cpus,
        shared_pool=node.shared_pool,
        pods=sum(decided.grant.holds_anything for decided in decisions),
        rejected=sum(not decided.decision.admitted for decided in decisions),
        nodes=tuple(
            NodeFree(
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


def _settled(book: Book) -> Condition:
    kind = NodeCondition.SETTLED
    if not book.out_of_place:
        return Condition(kind, Status.TRUE, "Settled", "every pod holds what the present settings give")
    pods = sorted(f"{book.decided[uid].key} ({problem})" for uid, problem in book.out_of_place.items())
    more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
    message = (
        f"{len(pods)} pods hold what the present settings or hardware would not give them and keep it until "
        f"they end: {', '.join(pods[:_NAMED])}{more}; restart them to settle the node"
    )
    return Condition(kind, Status.FALSE, "PodsFromBefore", message[:2048])


def _profile_conditions(record: CachedProfile, nodes: tuple[MatchedNode, ...]) -> tuple[Condition, ...]:
    generation = record.generation
    if record.model is None:
        return readiness(Readiness.FAILED, "Unreadable", f"{record.problem}; correct it", generation)
    clashes = [node for node in nodes if node.reason == "EqualPriority"]
    conflict = Condition(
        "Conflict",
        Status.of(bool(clashes)),
        "EqualPriority" if clashes else "NoConflict",
        clashes[0].message if clashes else "no other profile of equal priority selects the same nodes",
        generation,
    )
    return (*_profile_readiness(nodes, generation), conflict)


def _profile_readiness(nodes: tuple[MatchedNode, ...], generation: int) -> tuple[Condition, ...]:
    by_state = {state: [node for node in nodes if node.state is state] for state in NodeState}
    refused, pending = by_state[NodeState.REFUSED], by_state[NodeState.PENDING]
    if refused:
        text = f"{len(refused)} of {len(nodes)} nodes cannot work with this profile: {_first(refused)}"
        return readiness(Readiness.FAILED, "NodesRefused", text, generation)
    if pending:
        text = f"{len(pending)} of {len(nodes)} nodes are not settled yet: {_first(pending)}"
        return readiness(Readiness.IN_PROGRESS, "NodesPending", text, generation)
    if not nodes:
        text = "no node has the labels of spec.nodeSelector; label nodes or change the selector"
        return readiness(Readiness.CURRENT, "NoNodes", text, generation)
    settled = len(by_state[NodeState.SETTLED])
    over = len(nodes) - settled
    text = f"in force on {settled} of {len(nodes)} nodes" + (f", overridden on {over}" if over else "")
    return readiness(Readiness.CURRENT, "Settled", text, generation)


def _first(nodes: list[MatchedNode]) -> str:
    more = f" (and {len(nodes) - 1} more, see status.nodes)" if len(nodes) > 1 else ""
    return f"{nodes[0].name}: {nodes[0].message}{more}"


def shared_cpus(book: Book) -> int:
    """Count the CPUs of a node's shared pool."""
    return len(tuple(cpuset.ids(book.allocator.shared_pool))) if book.allocator is not None else 0
