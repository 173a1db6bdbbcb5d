"""Which profile applies to a node, and whether its settings are valid there. Pure.

Of the profiles that select a node, the one with the highest priority wins, then the first by
name. Before its settings apply they are checked against the node's hardware: invalid settings
are refused with the reason, and the last valid ones stay in force; a node that never had valid settings
has none, and pods that ask for something are refused there. Running pods keep what they
hold, whatever the new settings say.

On a node that no profile selects, nothing new is decided, and the operator deletes its
NodeTopology when the last pod with a decision has ended. Settings that a user wrote into a
NodeTopology apply where no profile selects the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from podnuma.allocator import cpuset
from podnuma.allocator.check import SettingsProblem, check
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.conditions import Condition, Status, find
from podnuma.api.node_conditions import NodeCondition, NodeReason
from podnuma.api.node_profile import MatchedNode, MatchState, NodeProfile
from podnuma.api.node_topology import NodeTopology, ProfileReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podnuma.allocator.topology import Topology
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.objects import CachedNode, CachedProfile, CachedTopology


_OS_LABEL: Final = "kubernetes.io/os"
_LINUX: Final = "linux"


@dataclass(frozen=True, slots=True)
class MatchingProfiles:
    """The profiles that select a node: the winner, its rivals of equal priority, and the others."""

    winner: NodeProfile | None
    rivals: tuple[NodeProfile, ...] = ()
    others: tuple[NodeProfile, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileSelection:
    """The settings that apply to a node, and what has to be written and reported about them.

    `valid`: the condition for the NodeTopology. `decide_with`: the settings that decisions
    follow; None: nothing new is decided. `intended`: the settings that a user wants here,
    valid or not. `apply`: what NodeTopology.spec has to become; None: it is right, or there
    should be none. `withdraw`: the NodeTopology is the operator's and no longer wanted. `refused`: settings
    that do not fit this hardware, where no others apply: nothing is admitted, and not for want of knowledge.
    `managed_since`: when the profile was created that wants something here, RFC 3339; empty without one.
    `matches`: what the node reports to each profile that selects it, by profile name.
    """

    valid: Condition
    decide_with: NodeSettings | None = None
    intended: NodeSettings | None = None
    apply: tuple[NodeSettings, ProfileReference | None] | None = None
    withdraw: bool = False
    refused: NodeSettings | None = None
    managed_since: str = ""
    matches: Mapping[str, MatchedNode] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def policy_settings(self) -> NodeSettings | None:
        """Settings whose policy holds for pods: those they are decided with, or else those refused."""
        return self.decide_with or self.refused


NO_NODE = ProfileSelection(
    Condition(NodeCondition.SETTINGS_VALID, Status.UNKNOWN, "NoNode", "there is no such node")
)
"""For a name without a Node object: pods that are still bound to it keep what they hold."""


def matching_profiles(labels: Mapping[str, str], profiles: Iterable[CachedProfile]) -> MatchingProfiles:
    """Return the profiles that select a node with these labels.

    None selects a node of another system than Linux: no agent runs there.
    """
    if labels.get(_OS_LABEL, _LINUX) != _LINUX:
        return MatchingProfiles(None)
    models = [profile.model for profile in profiles if profile.model is not None]
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
    """Select the settings of a node."""
    present = topology.model if topology else None
    if topology is not None and present is None:
        return _replace_unreadable(node, profiles, topology)
    unreadable = _unreadable_profile(profiles, present)
    if unreadable is not None and present is not None:
        return _keep_present(
            present, NodeReason.INVALID_PROFILE, f"{unreadable}; the previous settings still apply"
        )
    matching = matching_profiles(node.labels, profiles)
    if (winner := matching.winner) is not None:
        selection = _apply_winner(node, matching, winner, present)
        return replace(selection, managed_since=winner.metadata.created)
    if present is None or not present.has_settings:
        return ProfileSelection(_valid(None, NodeReason.NO_PROFILE, "no NodeProfile selects this node"))
    if present.profile is not None:
        message = (
            f"NodeProfile {present.profile.name} does not select this node any more; pods keep what they hold"
        )
        return ProfileSelection(_valid(None, NodeReason.NO_PROFILE, message), withdraw=True)
    return _manual(present)


def _replace_unreadable(
    node: CachedNode, profiles: Sequence[CachedProfile], topology: CachedTopology
) -> ProfileSelection:
    """Have a spec that cannot be read written anew from the profile; without one a person has to do it.

    While a profile cannot be read either, it may be the one that applied: then nothing is written.
    """
    winner = matching_profiles(node.labels, profiles).winner
    broken = next((profile.problem for profile in profiles if profile.problem), None)
    if winner is None or broken is not None:
        rest = f"; nor can {broken}" if broken else ""
        message = f"{topology.problem}{rest}; correct it; running pods keep what they hold"
        return ProfileSelection(_valid(False, NodeReason.INVALID_OBJECT, message))
    settings = winner.settings_on(node.kubelet_version)
    message = f"{topology.problem}; it is rewritten from NodeProfile {winner.name}"
    return ProfileSelection(
        _valid(False, NodeReason.INVALID_OBJECT, message),
        intended=settings,
        apply=(settings, ProfileReference(winner.name, winner.metadata.generation)),
        matches={
            winner.name: MatchedNode(
                node.key.name, MatchState.PENDING, NodeReason.INVALID_OBJECT, message[:1024]
            )
        },
    )


def _apply_winner(
    node: CachedNode, matching: MatchingProfiles, winner: NodeProfile, present: NodeTopology | None
) -> ProfileSelection:
    name, settings = node.key.name, winner.settings_on(node.kubelet_version)
    wanted = (settings, ProfileReference(winner.name, winner.metadata.generation))
    apply = None if present is not None and (present.node, present.profile) == wanted else wanted
    hardware = present.hardware if present else None
    matches = _overridden(name, matching, winner)
    if present is None or hardware is None:
        valid = _without_hardware(name, present)
        matches[winner.name] = MatchedNode(name, MatchState.PENDING, valid.reason, valid.message)
        return ProfileSelection(valid, intended=settings, apply=apply, matches=matches)
    if paused := _paused(present):
        matches[winner.name] = MatchedNode(name, MatchState.REFUSED, NodeReason.PAUSED, paused)
        valid = _valid(False, NodeReason.PAUSED, paused)
        return ProfileSelection(valid, intended=None, apply=apply, matches=matches)
    problems = check(settings.managers, hardware.topology)
    if problems:
        message = _refusal(winner.name, name, problems)
        matches[winner.name] = MatchedNode(name, MatchState.REFUSED, NodeReason.INVALID_SETTINGS, message)
        last_valid = _last_valid(present, hardware.topology)
        kept = "the previous settings still apply" if last_valid else "nothing is decided on this node"
        valid = _valid(False, NodeReason.INVALID_SETTINGS, f"{message}; {kept}")
        refused = None if last_valid else _unfit(settings, hardware.topology)
        return ProfileSelection(
            valid, decide_with=last_valid, intended=settings, refused=refused, matches=matches
        )
    text = f"the settings of NodeProfile {winner.name} apply{_reserved_offline(settings, hardware.topology)}"
    reason = "ProfileApplied"
    if matching.rivals:
        reason, text = "ConflictingPriority", f"{text}; {_conflict(name, winner, matching.rivals)}"
    matches[winner.name] = MatchedNode(name, MatchState.APPLIED, reason, text if matching.rivals else "")
    return ProfileSelection(
        _valid(True, reason, text),
        decide_with=settings,
        intended=settings,
        apply=apply,
        matches=matches,
    )


def _manual(present: NodeTopology) -> ProfileSelection:
    if present.hardware is None:
        return ProfileSelection(_without_hardware(present.name, present), intended=present.node)
    if paused := _paused(present):
        return ProfileSelection(_valid(False, NodeReason.PAUSED, paused))
    problems = check(present.node.managers, present.hardware.topology)
    if problems:
        text = f"NodeTopology {present.name} cannot be used: {_describe('spec', problems)}"
        return ProfileSelection(
            _valid(False, NodeReason.INVALID_SETTINGS, text),
            intended=present.node,
            refused=_unfit(present.node, present.hardware.topology),
        )
    text = f"settings written by hand apply{_reserved_offline(present.node, present.hardware.topology)}"
    valid = _valid(True, "ManualSettings", text)
    return ProfileSelection(valid, decide_with=present.node, intended=present.node)


def _reserved_offline(settings: NodeSettings, machine: Topology) -> str:
    """Return which of the reserved CPUs are switched off, as the end of a sentence; empty if none is."""
    listed = settings.managers.reserved_system_cpus or cpuset.EMPTY
    off = CpuSet(listed & machine.offline)
    return f"; of the reserved CPUs {cpuset.render(off)} are offline" if off else ""


def _unfit(settings: NodeSettings, machine: Topology) -> NodeSettings | None:
    """Return settings that a machine refuses; None while too little is known of it to say so for good."""
    return None if machine.unknown_siblings else settings


def _without_hardware(name: str, present: NodeTopology | None) -> Condition:
    """Say why there is no hardware to decide with: who has to do something differs."""
    if present is not None and (problem := present.hardware_problem):
        message = (
            f"NodeTopology {name}: {problem}; the agent rewrites it within a minute; if this persists, agent "
            "and operator have different versions: upgrade the older one"
        )
        return _valid(None, NodeReason.HARDWARE_UNREADABLE, message)
    if present is None or present.agent is None:
        message = (
            f"the agent of node {name} has not reported its hardware; "
            f"check that the podnuma agent runs there: kubectl describe nodetopology {name}"
        )
        return _valid(None, NodeReason.HARDWARE_UNKNOWN, message)
    known = find(present.conditions, NodeCondition.HARDWARE_KNOWN)
    says = f": {known.message}" if known is not None and known.message else ""
    message = f"the agent of node {name} reports, but without hardware{says}; see the log of its pod"
    return _valid(None, NodeReason.HARDWARE_UNKNOWN, message)


def _paused(present: NodeTopology) -> str | None:
    """Return why nothing is decided on a node whose agent is paused, or may be; None if it is not."""
    condition = find(present.conditions, NodeCondition.PAUSED)
    if condition is None or condition.status is Status.FALSE:
        return None
    if condition.status is Status.UNKNOWN:
        return (
            f"whether the agent of node {present.name} is paused cannot be read in the condition "
            f"{NodeCondition.PAUSED}; the agent rewrites it within a minute"
        )
    return f"the agent of node {present.name} is paused: {condition.message}"


def _keep_present(present: NodeTopology, reason: str, message: str) -> ProfileSelection:
    last_valid = _last_valid(present, present.hardware.topology) if present.hardware else None
    return ProfileSelection(_valid(False, reason, message), decide_with=last_valid, intended=present.node)


def _last_valid(present: NodeTopology, machine: Topology) -> NodeSettings | None:
    """Return the settings in force if they fit; a node that nobody wanted anything of has none."""
    if not present.has_settings or check(present.node.managers, machine):
        return None
    return present.node


def _unreadable_profile(profiles: Iterable[CachedProfile], present: NodeTopology | None) -> str | None:
    if present is None or present.profile is None:
        return None
    return next(
        (
            profile.problem
            for profile in profiles
            if profile.key.name == present.profile.name and profile.problem
        ),
        None,
    )


def _overridden(name: str, matching: MatchingProfiles, winner: NodeProfile) -> dict[str, MatchedNode]:
    matches = {
        rival.name: MatchedNode(
            name, MatchState.OVERRIDDEN, "ConflictingPriority", _conflict(name, winner, matching.rivals)
        )
        for rival in matching.rivals
    }
    for other in matching.others:
        message = f"NodeProfile {winner.name} has a higher priority ({winner.priority})"
        matches[other.name] = MatchedNode(name, MatchState.OVERRIDDEN, "LowerPriority", message)
    return matches


def _conflict(name: str, winner: NodeProfile, rivals: Iterable[NodeProfile]) -> str:
    others = ", ".join(rival.name for rival in rivals)
    return (
        f"NodeProfiles {winner.name} and {others} select node {name} with equal spec.priority "
        f"{winner.priority}; {winner.name} wins by name: raise the priority of the one that should win, "
        "or narrow a nodeSelector"
    )


def _refusal(profile: str, name: str, problems: Sequence[SettingsProblem]) -> str:
    return f"NodeProfile {profile} cannot be used on node {name}: {_describe('spec', problems)}"


def _describe(path: str, problems: Sequence[SettingsProblem]) -> str:
    return "; ".join(f"{path}.{problem.field} {problem.value!r}: {problem.message}" for problem in problems)


def _valid(holds: bool | None, reason: str, message: str) -> Condition:  # noqa: FBT001 - the condition's value
    return Condition(NodeCondition.SETTINGS_VALID, Status.of(holds), reason, message[:2048])
