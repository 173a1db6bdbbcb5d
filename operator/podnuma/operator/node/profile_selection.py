"""Which profile holds on a node, and whether it can. Pure.

Of the profiles that select a node the one with the highest priority wins, then the first
by name. Before a winner's settings come into force they are tried against the node's
hardware; settings that do not fit are refused with the reason, and the last good ones
stay. Pods that run keep what they hold, whatever the new settings say.

A node without a winner keeps no settings of ours: nothing new is decided there, and the
NodeTopology goes when the last pod that holds something has ended. Settings written into a
NodeTopology by hand hold where no profile wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from podnuma.allocator.check import SettingsProblem, check
from podnuma.api.conditions import Condition, Status, find
from podnuma.api.node_profile import MatchedNode, NodeProfile, NodeState
from podnuma.api.node_topology import NodeCondition, NodeTopology, ProfileReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podnuma.allocator.topology import Topology
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.objects import CachedNode, CachedProfile, CachedTopology


@dataclass(frozen=True, slots=True)
class MatchingProfiles:
    """The profiles that select a node: the winner, those of equal priority, and the others."""

    winner: NodeProfile | None
    rivals: tuple[NodeProfile, ...] = ()
    others: tuple[NodeProfile, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileSelection:
    """What shall hold on a node.

    `usable`: the condition for the NodeTopology. `decide_with`: the settings that decisions
    follow; None: nothing new is decided. `intended`: the settings that somebody wants here,
    whether they can be used or not. `apply`: what NodeTopology.spec has to become; None: it is
    right, or there shall be none. `withdraw`: the NodeTopology is ours and no longer wanted.
    `standings`: how the node stands to each profile that selects it, by profile name.
    """

    usable: Condition
    decide_with: NodeSettings | None = None
    intended: NodeSettings | None = None
    apply: tuple[NodeSettings, ProfileReference | None] | None = None
    withdraw: bool = False
    standings: Mapping[str, MatchedNode] = field(default_factory=lambda: MappingProxyType({}))


NO_NODE = ProfileSelection(
    Condition(NodeCondition.SETTINGS_USABLE, Status.UNKNOWN, "NoNode", "there is no such node")
)
"""For a name without a Node object: pods that are still bound to it keep what they hold."""


def matching_profiles(labels: Mapping[str, str], profiles: Iterable[CachedProfile]) -> MatchingProfiles:
    """Return the profiles that select a node with these labels."""
    models = [record.model for record in profiles if record.model is not None]
    matched = sorted(
        (model for model in models if model.node_selector.matches(labels)), key=lambda model: model.rank
    )
    if not matched:
        return MatchingProfiles(None)
    winner = matched[0]
    rivals = tuple(model for model in matched[1:] if model.priority == winner.priority)
    return MatchingProfiles(winner, rivals, tuple(matched[1 + len(rivals) :]))


def select(
    node: CachedNode, profiles: Sequence[CachedProfile], topology: CachedTopology | None
) -> ProfileSelection:
    """Work out what shall hold on a node."""
    present = topology.model if topology else None
    if topology is not None and topology.problem is not None:
        return ProfileSelection(_usable(False, "Unreadable", f"{topology.problem}; correct it or delete it"))
    unreadable = _unreadable_in_force(profiles, present)
    if unreadable is not None and present is not None:
        return _keep(present, "ProfileUnreadable", f"{unreadable}; the settings from before stay in force")
    choice = matching_profiles(node.labels, profiles)
    if choice.winner is not None:
        return _win(node.key.name, choice, choice.winner, present)
    if present is None:
        return ProfileSelection(_usable(None, "NoProfile", "no NodeProfile selects this node"))
    if present.profile is not None:
        message = (
            f"NodeProfile {present.profile.name} does not select this node any more; pods keep what they hold"
        )
        return ProfileSelection(_usable(None, "NoProfile", message), withdraw=True)
    return _by_hand(present)


def _win(
    name: str, choice: MatchingProfiles, winner: NodeProfile, present: NodeTopology | None
) -> ProfileSelection:
    wanted = (winner.node, ProfileReference(winner.name, winner.metadata.generation))
    apply = None if present is not None and (present.node, present.profile) == wanted else wanted
    hardware = present.hardware if present else None
    standings = _overridden(name, choice, winner)
    if present is None or hardware is None:
        message = (
            f"the agent of node {name} has not reported its hardware; "
            f"see that the podnuma agent runs there: kubectl describe nodetopology {name}"
        )
        standings[winner.name] = MatchedNode(name, NodeState.PENDING, "HardwareUnknown", message)
        usable = _usable(None, "HardwareUnknown", message)
        return ProfileSelection(usable, intended=winner.node, apply=apply, standings=standings)
    if back := _standing_back(present):
        standings[winner.name] = MatchedNode(name, NodeState.REFUSED, "StandingBack", back)
        return ProfileSelection(
            _usable(False, "StandingBack", back), intended=None, apply=apply, standings=standings
        )
    problems = check(winner.node.settings, hardware.topology)
    if problems:
        message = _refusal(winner.name, name, problems)
        standings[winner.name] = MatchedNode(name, NodeState.REFUSED, "SettingsNotUsable", message)
        good = _last_good(present, hardware.topology)
        kept = "the settings from before stay in force" if good else "nothing is decided on this node"
        usable = _usable(False, "SettingsNotUsable", f"{message}; {kept}")
        return ProfileSelection(usable, decide_with=good, intended=winner.node, standings=standings)
    text = f"the settings of NodeProfile {winner.name} are in force"
    reason = "InForce"
    if choice.rivals:
        reason, text = "EqualPriority", f"{text}; {_clash(name, winner, choice.rivals)}"
    standings[winner.name] = MatchedNode(name, NodeState.SETTLED, reason, text if choice.rivals else "")
    return ProfileSelection(
        _usable(True, reason, text),
        decide_with=winner.node,
        intended=winner.node,
        apply=apply,
        standings=standings,
    )


def _by_hand(present: NodeTopology) -> ProfileSelection:
    if present.hardware is None:
        message = f"the agent of node {present.name} has not reported its hardware; see that it runs there"
        return ProfileSelection(_usable(None, "HardwareUnknown", message), intended=present.node)
    if back := _standing_back(present):
        return ProfileSelection(_usable(False, "StandingBack", back))
    problems = check(present.node.settings, present.hardware.topology)
    if problems:
        text = f"NodeTopology {present.name} cannot be used: {_sentences('spec', problems)}"
        return ProfileSelection(_usable(False, "SettingsNotUsable", text), intended=present.node)
    usable = _usable(True, "ByHand", "settings written by hand are in force")
    return ProfileSelection(usable, decide_with=present.node, intended=present.node)


def _standing_back(present: NodeTopology) -> str | None:
    """Say why nothing is decided on a node whose agent applies nothing."""
    condition = find(present.conditions, NodeCondition.STANDING_BACK)
    if condition is None or condition.status is not Status.TRUE:
        return None
    return f"the agent of node {present.name} stands back: {condition.message}"


def _keep(present: NodeTopology, reason: str, message: str) -> ProfileSelection:
    good = _last_good(present, present.hardware.topology) if present.hardware else None
    return ProfileSelection(_usable(False, reason, message), decide_with=good, intended=present.node)


def _last_good(present: NodeTopology | None, machine: Topology) -> NodeSettings | None:
    if present is None or check(present.node.settings, machine):
        return None
    return present.node


def _unreadable_in_force(profiles: Iterable[CachedProfile], present: NodeTopology | None) -> str | None:
    if present is None or present.profile is None:
        return None
    return next(
        (record.problem for record in profiles if record.key.name == present.profile.name and record.problem),
        None,
    )


def _overridden(name: str, choice: MatchingProfiles, winner: NodeProfile) -> dict[str, MatchedNode]:
    standings = {
        rival.name: MatchedNode(
            name, NodeState.OVERRIDDEN, "EqualPriority", _clash(name, winner, choice.rivals)
        )
        for rival in choice.rivals
    }
    for other in choice.others:
        message = f"NodeProfile {winner.name} has a higher priority ({winner.priority})"
        standings[other.name] = MatchedNode(name, NodeState.OVERRIDDEN, "LowerPriority", message)
    return standings


def _clash(name: str, winner: NodeProfile, rivals: Iterable[NodeProfile]) -> str:
    others = ", ".join(rival.name for rival in rivals)
    return (
        f"NodeProfiles {winner.name} and {others} select node {name} with equal spec.priority "
        f"{winner.priority}; "
        f"{winner.name} wins by name: raise the priority of the one that shall win, or narrow nodeSelector"
    )


def _refusal(profile: str, name: str, problems: Sequence[SettingsProblem]) -> str:
    return f"NodeProfile {profile} cannot be used on node {name}: {_sentences('spec', problems)}"


def _sentences(path: str, problems: Sequence[SettingsProblem]) -> str:
    return "; ".join(f"{path}.{problem.field} {problem.value!r}: {problem.message}" for problem in problems)


def _usable(holds: bool | None, reason: str, message: str) -> Condition:  # noqa: FBT001 - the condition's value
    return Condition(NodeCondition.SETTINGS_USABLE, Status.of(holds), reason, message[:2048])
