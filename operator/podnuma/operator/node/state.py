"""What was decided on one node, beside the allocator that knows what is left there.

The book is filled from PodAllocations after a restart, and from own answers afterwards. It
outlives the settings: when they or the hardware change, a new allocator is made that holds
the same grants, and those it cannot hold stay in the book as *out of place*.

Always true: a decision is in the book only when it is durable; no CPU has two owners in the
book: `adopt` refuses a grant that meets another one, and an answer of the allocator that
would meet a grant out of place is a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted, PodGrant, Reason, Rejected
from podnuma.allocator.node_allocator import NodeAllocator, StaleDecisionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.rules import Rules
    from podnuma.operator.write.allocation_store import PodDecision


class Book:
    """Decisions by pod UID, and the allocator that holds the admitted ones.

    Beside them, notes of the steps about pods, by UID: `unconfirmed` decisions whose write had
    no clear answer; the `age` of the book when a pod was last refused (`refused_at`); pods that
    ask for nothing (`idle`); pods that were `evicted`; UID and generation of objects that the API
    server stored otherwise than they were sent (`as_stored`); what was `told` about a pod last.
    """

    def __init__(self) -> None:
        self.unconfirmed: dict[str, tuple[PodDecision, Admitted | None]] = {}
        self.refused_at: dict[str, int] = {}
        self.idle: set[str] = set()
        self.evicted: set[str] = set()
        self.as_stored: dict[str, tuple[str, int]] = {}
        self.told: dict[str, tuple[str, str]] = {}
        self._decided: dict[str, PodDecision] = {}
        self._allocator: NodeAllocator | None = None
        self._out_of_place: dict[str, str] = {}
        self._age = 0

    @property
    def decided(self) -> Mapping[str, PodDecision]:
        """Return every durable decision, by pod UID."""
        return self._decided

    @property
    def allocator(self) -> NodeAllocator | None:
        """Return the allocator; None without settings and hardware to decide with."""
        return self._allocator

    @property
    def out_of_place(self) -> Mapping[str, str]:
        """Return why the present settings or hardware would not give these pods what they hold."""
        return self._out_of_place

    @property
    def age(self) -> int:
        """Return a number that changes whenever another answer to the same pod is possible."""
        return self._age

    @property
    def held_cpus(self) -> CpuSet:
        """Return all CPUs that pods hold exclusively."""
        return self._held_by_others("")

    def equip(self, rules: Rules | None) -> None:
        """Decide by these rules from now on; None: decide nothing."""
        if self._allocator is not None and rules is self._allocator.rules:
            return
        if self._allocator is None and rules is None:
            return
        self._age += 1
        self.idle.clear()
        self._out_of_place.clear()
        self._allocator = None if rules is None else self._rebuilt(NodeAllocator(rules))

    def adopt(self, decided: PodDecision) -> str | None:
        """Take in a durable decision; a sentence says why it cannot be, if it meets another grant."""
        taken = self.held_cpus & decided.grant.exclusive_cpus
        if taken:
            owners = [
                str(other.key)
                for other in self._decided.values()
                if other.grant.exclusive_cpus & taken and other.uid != decided.uid
            ]
            if owners:
                return f"CPUs {cpuset.render(CpuSet(taken))} belong to {', '.join(sorted(owners))}"
        self._decided[decided.uid] = decided
        self._age += 1
        if self._allocator is not None and decided.grant.holds_anything:
            self._place(self._allocator, decided.grant)
        return None

    def answer(self, allocator: NodeAllocator, request: PodRequest) -> Admitted | Rejected:
        """Decide a pod, changing nothing."""
        answer = allocator.decide(request)
        if isinstance(answer, Admitted):
            lost = CpuSet(answer.grant.exclusive_cpus & self._held_by_others(request.uid))
            if lost:
                message = (
                    f"CPUs {cpuset.render(lost)} are still held by pods that started under other settings; "
                    "there is room again when they end"
                )
                return Rejected(Reason.UNEXPECTED_ADMISSION, message, answer.counts)
        return answer

    def enter(self, decided: PodDecision, answer: Admitted | None) -> None:
        """Note a decision that is durable now; `answer` is what the allocator said, None for a refusal."""
        self._decided[decided.uid] = decided
        if answer is None or self._allocator is None:
            return
        self._age += 1
        try:
            self._allocator.hold(answer)
        except StaleDecisionError:
            # Its write took several attempts, and pods came or went in between.
            self._place(self._allocator, decided.grant)

    def room_for(self, decided: PodDecision) -> bool:
        """Tell whether a decision from a while ago meets nothing that others hold by now."""
        return not decided.grant.exclusive_cpus & self._held_by_others(decided.uid)

    def release(self, uid: str) -> None:
        """Forget a pod that is gone; what it held is free."""
        self._decided.pop(uid, None)
        self._out_of_place.pop(uid, None)
        self.forget(uid)
        if self._allocator is not None and uid in self._allocator.grants:
            self._allocator.release(uid)
        self._age += 1

    def forget_others(self, present: AbstractSet[str]) -> None:
        """Drop the notes about pods that are neither present nor in the book."""
        kept = present | self._decided.keys() | self.unconfirmed.keys()
        self.idle &= kept
        self.evicted &= kept
        for notes in (self.refused_at, self.as_stored, self.told):
            for uid in notes.keys() - kept:
                del notes[uid]

    def forget(self, uid: str) -> None:
        """Drop the notes about a pod that is gone."""
        self.unconfirmed.pop(uid, None)
        self.refused_at.pop(uid, None)
        self.as_stored.pop(uid, None)
        self.told.pop(uid, None)
        self.idle.discard(uid)
        self.evicted.discard(uid)

    def _held_by_others(self, uid: str) -> CpuSet:
        held = 0
        for decided in self._decided.values():
            if decided.uid != uid:
                held |= decided.grant.exclusive_cpus
        return CpuSet(held)

    def _rebuilt(self, node: NodeAllocator) -> NodeAllocator:
        for decided in sorted(self._decided.values(), key=lambda decided: str(decided.key)):
            if decided.grant.holds_anything:
                self._place(node, decided.grant)
        return node

    def _place(self, node: NodeAllocator, grant: PodGrant) -> None:
        problems = node.adopt(grant)
        if problems:
            self._out_of_place[grant.uid] = "; ".join(
                f"{problem.field} {problem.value}: {problem.message}" for problem in problems
            )
