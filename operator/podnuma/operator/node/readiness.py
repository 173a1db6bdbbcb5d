"""The operator's conditions of a NodeTopology. Pure.

`Ready` says whether pods are decided there and their decisions applied, and if not, why not; of several
causes it names the one that has to be removed first.
`PodsUpToDate` and `Readable` are about what runs on and what cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podnuma.api.conditions import Condition, Readiness, Status, find, readiness
from podnuma.api.node_conditions import NodeCondition, NodeReason
from podnuma.api.node_profile import MatchedNode, MatchState
from podnuma.operator.node.profile_selection import matching_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podnuma.operator.cache.objects import CachedAllocation, CachedNode, CachedProfile, CachedTopology
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import NodeState

_NAMED = 3  # pods or objects named in a message; the others are counted
FAILING = 30.0  # seconds for which a node must have failed before its condition says so


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """Why a node is Ready or not, and since when, by this process's clock."""

    reason: NodeReason
    since: float

    def followed_by(self, reason: NodeReason, now: float) -> NodeStanding:
        """Return the standing for a reason that holds now."""
        return self if reason is self.reason else NodeStanding(reason, now)


def node_readiness(
    node: NodeState,
    selection: ProfileSelection,
    topology: CachedTopology | None,
    up_to_date: Condition,
    now: float,
) -> tuple[Condition, ...]:
    """Sum up settings, agent, the operator's own work, and whether all pods are up to date."""
    valid = selection.valid
    if node.failure is not None and now - node.failure.since > FAILING:
        text = f"reconciling this node keeps failing: {node.failure.message}"
        return _in_progress(NodeReason.RECONCILE_FAILING, text[:2048])
    if valid.status is Status.FALSE:
        return readiness(Readiness.FAILED, valid.reason, valid.message, None)
    if valid.status is Status.UNKNOWN:
        return readiness(Readiness.IN_PROGRESS, valid.reason, valid.message, None)
    agent = None if topology is None else find(topology.conditions, NodeCondition.AGENT_READY)
    if agent is None:
        text = "no agent of this node has reported yet; check that its pod runs"
        return _in_progress(NodeReason.AGENT_MISSING, text)
    if node.heartbeat.silent:
        text = (
            f"the agent last reported at {node.heartbeat.time}; running containers keep their CPUs, new"
            " ones may be pinned late; check that the agent's pod runs and reaches the API server"
        )
        return _in_progress(NodeReason.AGENT_SILENT, text)
    if agent.status is not Status.TRUE:
        text = f"the agent reports: {agent.message}"
        return readiness(Readiness.FAILED, NodeReason.AGENT_NOT_READY, text, None)
    if up_to_date.status is not Status.TRUE:
        return _in_progress(NodeReason.PODS_OUTDATED, up_to_date.message)
    return readiness(
        Readiness.CURRENT, NodeReason.READY, "pods are decided and their decisions applied", None
    )


def _in_progress(reason: NodeReason, message: str) -> tuple[Condition, ...]:
    return readiness(Readiness.IN_PROGRESS, reason, message, None)


def pods_up_to_date(node: NodeState) -> Condition:
    """Tell whether every pod holds what the present settings and hardware would give it."""
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
    return Condition(kind, Status.FALSE, NodeReason.PODS_OUTDATED, message[:2048])


def readable(topology: CachedTopology, allocations: Iterable[CachedAllocation]) -> Condition:
    """Tell whether every field of a NodeTopology and of its node's PodAllocations can be read."""
    found = [*topology.problems]
    for allocation in allocations:
        found += (f"PodAllocation {allocation.key}, {problem}" for problem in allocation.problems)
    if not found:
        return Condition(NodeCondition.READABLE, Status.TRUE, "Readable", "every field can be read")
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    message = (
        f"{'; '.join(found[:_NAMED])}{more}; operator and agent rewrite their own fields: what remains "
        "was written by someone else or by another version"
    )
    return Condition(NodeCondition.READABLE, Status.FALSE, "FieldsUnreadable", message[:2048])


def profile_states(node: NodeState, selection: ProfileSelection) -> Mapping[str, MatchedNode]:
    """Return what a node reports to each profile that selects it, outdated pods considered."""
    up_to_date = pods_up_to_date(node)
    rejected = sum(decision.refused for decision in node.decisions.values())

    def told(match: MatchedNode) -> MatchedNode:
        if match.state is not MatchState.APPLIED:
            return match
        if up_to_date.status is Status.TRUE:
            return replace(match, rejected=rejected)
        return MatchedNode(
            node.name, MatchState.PENDING, up_to_date.reason, up_to_date.message, rejected=rejected
        )

    return {profile: told(match) for profile, match in selection.matches.items()}


def match_with(profile: CachedProfile, node: CachedNode, state: NodeState) -> MatchedNode | None:
    """Return how a node stands to a profile as it is now; None where the profile does not select it.

    Until a run has looked at this generation, what the node reported is about an earlier one.
    """
    known = state.profile_states.get(profile.key.name)
    if profile.model is None or profile.relevant_state in (state.profiles_seen or ()):
        return known
    if matching_profiles(node.labels, (profile,)).winner is None:
        return None
    return MatchedNode(
        state.name,
        MatchState.PENDING,
        "ProfileChanged",
        "the operator has yet to look at this node with this generation of the profile",
        rejected=known.rejected if known is not None else 0,
    )
