"""NodeProfile.status: how many nodes a profile matches, in which state each is, and why.

Computed from what the nodes report, compared with what was written last and with what is stored since, and
written at most once per interval. When a profile stops being ready for another reason than before, an event
says so.

A profile that asks for placement has the condition `Placement`: False, and the profile not ready, while
this operator does not place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podnuma.api.conditions import READY, Condition, Readiness, Status, find, merged, readiness
from podnuma.api.events import EventType
from podnuma.api.node_profile import MatchedNode, MatchState, NodeProfileStatus, render_node_profile_status
from podnuma.api.resource_types import NODE_PROFILE
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.write.event_recorder import profile_reference
from podnuma.operator.write.last_write import LastWrite

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from podnuma.api.node_profile import NodeProfile
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedProfile
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

NODES_PENDING: Final = "NodesPending"
PLACEMENT: Final = "Placement"
_NOT_PLACING = (
    "spec.placement is BeforeBinding, and the operator runs without --placement: pods are decided once they "
    "are bound, and those that carry the scheduling gate stay gated; set placement.enabled in the values of "
    "the chart"
)


class ProfileStatusWriter:
    """Writes the status of profiles; never more often than once per interval, and only what differs."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        writer: Writer,
        *,
        events: EventRecorder,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        interval: float,
        placing: bool,
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._events = events
        self._clock = clock
        self._now = now
        self._interval = interval
        self._placing = placing
        self._last: dict[str, LastWrite] = {}

    def forget_all(self) -> None:
        """Forget what was written: another process may have written since."""
        self._last.clear()

    async def run(self, name: str, matched: Iterable[MatchedNode]) -> float:
        """Bring a profile's status up to date; return after how many seconds to try again, 0 when done."""
        profile = self._cache.profiles.get(ObjectKey("", name))
        if profile is None:
            self._last.pop(name, None)
            return 0.0
        last = self._last.get(name, LastWrite())
        nodes = tuple(sorted(matched, key=lambda node: node.name))
        conditions = _profile_conditions(profile, nodes, placing=self._placing)
        content = (profile.uid, profile.generation, nodes, conditions)
        if (content, profile.told) == (last.said, last.stored):
            return 0.0
        now = self._clock()
        wait = last.at + last.pause(content, self._interval) - now
        if wait > 0:
            return wait
        status = NodeProfileStatus(
            profile.generation, nodes, merged(profile.conditions, conditions, self._now())
        )
        body = NODE_PROFILE.status_patch("", name, profile.uid, render_node_profile_status(status))
        self._last[name] = LastWrite(at=now)
        self._announce(profile, conditions)
        stored = decode.decode_profile(await self._writer.apply_profile_status(name, body))
        self._cache.update(stored)
        self._last[name] = LastWrite(content, stored.told, now)
        return 0.0

    def _announce(self, profile: CachedProfile, conditions: Iterable[Condition]) -> None:
        before, ready = find(profile.conditions, READY), find(conditions, READY)
        if ready is None or ready.status is Status.TRUE or ready.reason == NODES_PENDING:
            return  # nodes that are not up to date yet need nobody
        if before is None or (before.status, before.reason) != (ready.status, ready.reason):
            involved = profile_reference(profile)
            self._events.record(involved, EventType.WARNING, ready.reason, ready.message)


def _profile_conditions(
    profile: CachedProfile, nodes: tuple[MatchedNode, ...], *, placing: bool
) -> tuple[Condition, ...]:
    generation = profile.generation
    if profile.model is None:
        return readiness(Readiness.FAILED, "InvalidObject", f"{profile.problem}; correct it", generation)
    clashes = [node for node in nodes if node.reason == "ConflictingPriority"]
    conflict = Condition(
        "Conflict",
        Status.of(bool(clashes)),
        "ConflictingPriority" if clashes else "NoConflictingProfile",
        clashes[0].message if clashes else "no other profile of equal priority selects the same nodes",
        generation,
    )
    placement = _placement(profile.model, placing=placing)
    return (*_profile_readiness(nodes, placement, generation), conflict, *placement)


def _placement(model: NodeProfile, *, placing: bool) -> tuple[Condition, ...]:
    if not model.node.pod_policy.places:
        return ()
    generation = model.metadata.generation
    if not placing:
        return (Condition(PLACEMENT, Status.FALSE, "Disabled", _NOT_PLACING, generation),)
    text = "pods that carry the scheduling gate are placed before they are bound"
    return (Condition(PLACEMENT, Status.TRUE, "BeforeBinding", text, generation),)


def _profile_readiness(
    nodes: tuple[MatchedNode, ...], placement: tuple[Condition, ...], generation: int
) -> tuple[Condition, ...]:
    by_state = {state: [node for node in nodes if node.state is state] for state in MatchState}
    refused, pending = by_state[MatchState.REFUSED], by_state[MatchState.PENDING]
    if refused:
        text = f"{len(refused)} of {len(nodes)} nodes cannot use this profile: {_first(refused)}"
        return readiness(Readiness.FAILED, "NodesRefused", text, generation)
    if any(one.status is Status.FALSE for one in placement):
        return readiness(Readiness.FAILED, "PlacementDisabled", _NOT_PLACING, generation)
    if pending:
        text = f"{len(pending)} of {len(nodes)} nodes are not up to date yet: {_first(pending)}"
        return readiness(Readiness.IN_PROGRESS, NODES_PENDING, text, generation)
    if not nodes:
        text = "no node has the labels of spec.nodeSelector; label nodes or change the selector"
        return readiness(Readiness.IN_PROGRESS, "NoNodes", text, generation)
    applied = len(by_state[MatchState.APPLIED])
    over = len(nodes) - applied
    text = f"applied on {applied} of {len(nodes)} nodes" + (f", overridden on {over}" if over else "")
    return readiness(Readiness.CURRENT, "Applied", text, generation)


def _first(nodes: list[MatchedNode]) -> str:
    more = f" (and {len(nodes) - 1} more, see status.nodes)" if len(nodes) > 1 else ""
    return f"{nodes[0].name}: {nodes[0].message}{more}"
