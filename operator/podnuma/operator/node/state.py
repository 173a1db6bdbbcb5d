"""What the operator remembers of one node: the decisions, and the allocator that knows what is free.

After a restart the state is filled from PodAllocations, afterwards from the operator's own
decisions. It outlives the settings: when they or the hardware change, a new allocator is made
that holds the same grants; pods whose grant it would not give are *outdated* and keep it.

Always true: a decision is in the state only once it is stored; no CPU has two owners: `adopt`
refuses a grant that overlaps another one, and an answer of the allocator that would overlap
the grant of an outdated pod is a rejection.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted, PodGrant, Reason, Rejected
from podnuma.allocator.device_hints import locality, with_granted_devices
from podnuma.allocator.memory.others import others_pages
from podnuma.allocator.node_allocator import NodeAllocator, StaleDecisionError
from podnuma.allocator.resize.decide import ResizeRefused
from podnuma.operator.node.pod_state import PodState
from podnuma.operator.write.last_write import LastWrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from podnuma.allocator.device_hints import DeviceLocality
    from podnuma.allocator.memory.others import OthersPages, PagesInUse
    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.rules import Rules
    from podnuma.api.node_profile import MatchedNode
    from podnuma.api.node_settings import NodeSettings
    from podnuma.api.node_topology import ProfileReference
    from podnuma.operator.cache.objects import CachedTopology
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.readiness import NodeStanding
    from podnuma.operator.write.decision import PodDecision

_SILENT = 180.0  # seconds without a new heartbeat; agents send one a minute

WRITE_AGAIN = 10.0
"""Seconds until a write of one PodAllocation that the API server refused is tried again."""


@dataclass(slots=True)
class AgentHeartbeat:
    """The last heartbeat of a node's agent and when it was new, by this process's clock.

    The time in the heartbeat itself is by the node's clock, which may be wrong.
    """

    time: str = ""
    seen_at: float = float("inf")
    silent: bool = False

    def observe(self, time: str, now: float) -> None:
        """Note the heartbeat that is stored now."""
        if time != self.time or now < self.seen_at:
            self.time, self.seen_at = time, now
        self.silent = bool(time) and now - self.seen_at > _SILENT

    def awaited(self, now: float) -> bool:
        """Tell whether the agent is there, so that what it has yet to say can be waited for."""
        return bool(self.time) and now - self.seen_at <= _SILENT


@dataclass(frozen=True, slots=True)
class ReconcileFailure:
    """Why the last run over a node failed, and since when runs have failed in a row."""

    message: str
    since: float


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """That a NodeTopology, in this generation, is not what was sent, and what is other in it."""

    uid: str
    generation: int
    settings: NodeSettings
    profile: ProfileReference | None
    text: str

    def about(
        self, topology: CachedTopology, settings: NodeSettings, profile: ProfileReference | None
    ) -> bool:
        """Tell whether sending these settings again would change nothing."""
        sent = (topology.uid, topology.generation, settings, profile)
        return sent == (self.uid, self.generation, self.settings, self.profile)


class NodeState:
    """One node's decisions by pod UID, the selected settings, and the allocator that holds the grants.

    Beside them, by pod UID: what is remembered of each of the `pods`; `unconfirmed` decisions whose write had
    no clear answer; since when pods are `orphans`: gone from the API, while their processes may still run;
    since when what a pod holds has been `reserved` while it had neither gate nor node; and, by its own UID,
    since when a PodAllocation is `unsettled`: only the node's agent can tell what it stands for. `announced`
    are the findings of the agent (UID of the object, condition) of which there was an event. `left_since`:
    since when the NodeTopology has been there without Node and owner. `write_refused`: why the last run could
    not store something that it decided; `settings_otherwise`: what of the settings could not be stored as
    they are. `selected_from`: the profiles, by generation, that the last selection knew; `profiles_seen`:
    those that `profile_states` is about, None before a run has ended. The pages in use are huge pages that,
    as the agent says, no grant accounts for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.selection: ProfileSelection | None = None
        self.selection_basis: object = None
        self.rules: Rules | None = None
        self.profile_states: Mapping[str, MatchedNode] = {}
        self.profiles_seen: tuple[object, ...] | None = None
        self.selected_from: tuple[object, ...] = ()
        self.heartbeat = AgentHeartbeat()
        self.failure: ReconcileFailure | None = None
        self.standing: NodeStanding | None = None
        self.status_written = LastWrite()
        self.left_since: float | None = None
        self.write_refused = ""
        self.settings_otherwise: StoredSettings | None = None
        self.pods: defaultdict[str, PodState] = defaultdict(PodState)
        self.unconfirmed: dict[str, tuple[PodDecision, Admitted | None]] = {}
        self.orphans: dict[str, float] = {}
        self.reserved: dict[str, float] = {}
        self.announced: frozenset[tuple[str, str]] = frozenset()
        self.unsettled: dict[str, float] = {}
        self._pages_in_use: tuple[PagesInUse, ...] = ()
        self._decisions: dict[str, PodDecision] = {}
        self._allocator: NodeAllocator | None = None
        self._outdated: dict[str, str] = {}
        self._revision = 0

    def note_write_refused(self, text: str) -> None:
        """Have the node's condition say what could not be stored; the first of a run counts."""
        if not self.write_refused:
            self.write_refused = text

    @property
    def settings(self) -> NodeSettings | None:
        """The settings that decisions follow; None before they are known and where there are none."""
        return None if self.selection is None else self.selection.decide_with

    @property
    def decisions(self) -> Mapping[str, PodDecision]:
        """Return every stored decision, by pod UID."""
        return self._decisions

    @property
    def allocator(self) -> NodeAllocator | None:
        """Return the allocator; None without settings and hardware to decide with."""
        return self._allocator

    @property
    def outdated(self) -> Mapping[str, str]:
        """Return why the present settings or hardware would not give these pods what they hold."""
        return self._outdated

    @property
    def revision(self) -> int:
        """Return a number that changes whenever the same pod could get another answer."""
        return self._revision

    @property
    def exclusive_cpus(self) -> CpuSet:
        """Return all CPUs that pods hold exclusively."""
        return self._held_by_others("")

    @property
    def shared_cpu_count(self) -> int:
        """Return the number of CPUs in the node's shared pool."""
        return self._allocator.shared_pool.bit_count() if self._allocator is not None else 0

    def failed(self, why: str, now: float) -> None:
        """Note that a run over the node failed."""
        self.failure = ReconcileFailure(why, now if self.failure is None else self.failure.since)

    def device_localities(self) -> Iterator[DeviceLocality]:
        """Yield how near the CPUs of each pod with devices are to these."""
        if self._allocator is None:
            return
        for decision in self._decisions.values():
            if decision.grant.devices:
                found = locality(self._allocator.topology, decision.grant)
                if found is not None:
                    yield found

    def use_rules(self, rules: Rules | None) -> None:
        """Decide by these rules from now on; None: decide nothing."""
        if self._allocator is not None and rules is self._allocator.rules:
            return
        if self._allocator is None and rules is None:
            return
        self._revision += 1
        for pod in self.pods.values():
            pod.idle = None
        self._outdated.clear()
        self._allocator = None if rules is None else self._rebuilt(NodeAllocator(rules))
        self._look_at_pages()

    def use_pages(self, pages: tuple[PagesInUse, ...]) -> None:
        """Leave the huge pages alone from now on that the agent finds in use without a grant."""
        if pages != self._pages_in_use:
            self._pages_in_use = pages
            self._revision += 1
        self._look_at_pages()

    def seen_by(self, allocator: NodeAllocator, uid: str) -> NodeAllocator:
        """Return the node as an undecided pod finds it: the huge pages that it uses already are its own."""
        if not any(one.pod_uid == uid for one in self._pages_in_use):
            return allocator
        seen = allocator.without(uid)
        seen.others_have(self._others(seen, uid))
        return seen

    def _look_at_pages(self) -> None:
        if self._allocator is not None:
            self._allocator.others_have(self._others(self._allocator))

    def _others(self, allocator: NodeAllocator, but: str = "") -> OthersPages:
        """Sum up the pages in use, less what grants cover that the agent had not seen when it looked."""
        return others_pages(self._pages_in_use, allocator.grants, allocator.topology, but)

    def adopt(self, decision: PodDecision) -> str | None:
        """Keep a stored decision; if it overlaps another grant, return a sentence about that instead."""
        taken = self.exclusive_cpus & decision.grant.exclusive_cpus
        if taken:
            owners = [
                str(other.key)
                for other in self._decisions.values()
                if other.grant.exclusive_cpus & taken and other.uid != decision.uid
            ]
            if owners:
                return f"CPUs {cpuset.render(CpuSet(taken))} belong to {', '.join(sorted(owners))}"
        self._decisions[decision.uid] = decision
        self._revision += 1
        if self._allocator is not None and decision.grant.holds_anything:
            self._place(self._allocator, decision.grant)
            self._look_at_pages()
        return None

    def decide(self, allocator: NodeAllocator, request: PodRequest) -> Admitted | Rejected:
        """Decide a pod; nothing changes."""
        answer = self.seen_by(allocator, request.uid).decide(request)
        if isinstance(answer, Admitted):
            lost = CpuSet(answer.grant.exclusive_cpus & self._held_by_others(request.uid))
            if lost:
                message = (
                    f"CPUs {cpuset.render(lost)} are still held by pods that started under other settings; "
                    "they are free again when those pods end"
                )
                return Rejected(Reason.UNEXPECTED_ADMISSION, message, answer.counts)
        return answer

    def resize(self, allocator: NodeAllocator, request: PodRequest) -> Admitted | ResizeRefused:
        """Decide what a pod holds with other resources and the devices that it has; nothing changes."""
        held = self._decisions.get(request.uid)
        if held is not None:
            request = with_granted_devices(request, held.grant)
        answer = allocator.resize(request)
        if isinstance(answer, Admitted):
            lost = CpuSet(answer.grant.exclusive_cpus & self._held_by_others(request.uid))
            if lost:
                return ResizeRefused(
                    f"CPUs {cpuset.render(lost)} are still held by pods that started under other settings; "
                    "they are free again when those pods end"
                )
        return answer

    def hold(self, decision: PodDecision, answer: Admitted | None) -> None:
        """Keep a decision that is stored now; `answer` is the allocator's, None for a rejection."""
        self._decisions[decision.uid] = decision
        if answer is None or self._allocator is None:
            return
        self._revision += 1
        self._outdated.pop(decision.uid, None)
        try:
            self._allocator.hold(answer)
        except StaleDecisionError:
            # Its write took several attempts, and pods came or went in between.
            self._place(self._allocator, decision.grant)
        self._look_at_pages()

    def hand_over(self, uid: str, decision: PodDecision) -> None:
        """Keep what a pod holds under another UID."""
        self.release(uid)
        problem = self.adopt(decision)
        if problem is not None:
            raise AssertionError(f"what {uid} held was free for nobody else: {problem}")

    def still_fits(self, decision: PodDecision) -> bool:
        """Tell whether an earlier decision overlaps nothing that other pods hold by now."""
        return not decision.grant.exclusive_cpus & self._held_by_others(decision.uid)

    def release(self, uid: str) -> None:
        """Forget a pod that is gone; what it held is free."""
        self._decisions.pop(uid, None)
        self._outdated.pop(uid, None)
        self.unconfirmed.pop(uid, None)
        self.pods.pop(uid, None)
        self.orphans.pop(uid, None)
        self.reserved.pop(uid, None)
        if self._allocator is not None and uid in self._allocator.grants:
            self._allocator.release(uid)
            self._look_at_pages()
        self._revision += 1

    def forget_absent(self, present: AbstractSet[str]) -> None:
        """Drop what is remembered of pods that are neither present nor decided."""
        for uid in self.pods.keys() - present - self._decisions.keys() - self.unconfirmed.keys():
            del self.pods[uid]

    def forget_settled(self, present: AbstractSet[str]) -> None:
        """Drop what is remembered of PodAllocations that are gone."""
        for uid in self.unsettled.keys() - present:
            del self.unsettled[uid]

    def _held_by_others(self, uid: str) -> CpuSet:
        held = 0
        for decision in self._decisions.values():
            if decision.uid != uid:
                held |= decision.grant.exclusive_cpus
        return CpuSet(held)

    def _rebuilt(self, node: NodeAllocator) -> NodeAllocator:
        for decision in sorted(self._decisions.values(), key=lambda decision: str(decision.key)):
            if decision.grant.holds_anything:
                self._place(node, decision.grant)
        return node

    def _place(self, node: NodeAllocator, grant: PodGrant) -> None:
        problems = node.adopt(grant)
        if problems:
            self._outdated[grant.uid] = "; ".join(
                f"{problem.field} {problem.value}: {problem.message}" for problem in problems
            )
