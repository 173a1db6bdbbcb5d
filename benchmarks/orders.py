"""The most pods of one sequence that Compact places when they come in another order, for many orders.

Each packing is the real allocator's: machines differ by their state alone, and what a state answers to a pod
of a size, what that would do to the machine and in which state it leaves it is judged once for all orders and
sequences. The machine is chosen by the same score as in `Fleet`, from the same likely pods; what is placed is
the same, pod by pod.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from podnuma.allocator.decision import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.placement.likely_pods import LikelyPods, shares_of
from podnuma.allocator.placement.packing import Packing, PlacementEffect, effect, score
from podnuma.allocator.request import PodRequest
from podnuma.allocator.rules import Rules

_MOST = 200_000  # states that are kept; then all are forgotten


@dataclass(slots=True)
class _Known:
    """A state of a machine, an allocator in it, and what was judged of it so far, by size of pod."""

    allocator: NodeAllocator
    judged: dict[int, "_Answer | None"] = field(default_factory=dict)


@dataclass(slots=True)
class _Answer:
    effect: PlacementEffect
    decision: Admitted
    next: _Known | None = None


class OrderSearch:
    """Packings of pods onto equal machines; `pod` makes one of so many CPUs."""

    def __init__(self, rules: Rules, machines: int, pod: Callable[[int, str], PodRequest]) -> None:
        self._rules = rules
        self._machines = machines
        self._pod = pod
        self._known: dict[Hashable, _Known] = {}
        self._tables: dict[tuple[tuple[int, int], ...], LikelyPods] = {}

    @property
    def states(self) -> int:
        """The number of different states that were met."""
        return len(self._known)

    def most(self, sizes: Sequence[int], orders: int, seed: int) -> int:
        """Return the most that is placed: in the order given, or in one of so many random ones.

        It ends with the order in which all are placed: no other places more.
        """
        most, rng = self.placed(sizes), random.Random(seed)
        for _ in range(orders):
            if most == len(sizes):
                break
            most = max(most, self.placed(rng.sample(sizes, len(sizes))))
        return most

    def placed(self, sizes: Sequence[int]) -> int:
        """Return how many pods are placed that come in this order."""
        if len(self._known) > _MOST:
            self._known.clear()
            self._tables.clear()
        machines = [self._state(NodeAllocator(self._rules))] * self._machines
        held: Counter[int] = Counter()
        for size in sizes:
            found = self._best(machines, size, self._likely(held, size))
            if found is None:
                continue
            number, answer = found
            held[size] += 1
            machines[number] = self._after(machines[number], answer)
        return held.total()

    def _best(self, machines: list[_Known], size: int, likely: LikelyPods) -> tuple[int, _Answer] | None:
        best: tuple[int, _Answer] | None = None
        least: tuple[int, ...] = ()
        seen: set[int] = set()
        for number, machine in enumerate(machines):
            if id(machine) in seen:
                continue
            seen.add(id(machine))
            answer = self._answer(machine, size)
            if answer is None:
                continue
            grade = score(Packing.COMPACT, answer.effect, likely)
            if best is None or grade < least:
                best, least = (number, answer), grade
        return best

    def _answer(self, machine: _Known, size: int) -> _Answer | None:
        if size not in machine.judged:
            pod = self._pod(size, f"pod-{len(machine.allocator.grants)}")
            decision = machine.allocator.decide(pod)
            machine.judged[size] = (
                _Answer(effect(machine.allocator, decision.grant), decision)
                if isinstance(decision, Admitted)
                else None
            )
        return machine.judged[size]

    def _after(self, machine: _Known, answer: _Answer) -> _Known:
        if answer.next is None:
            allocator = machine.allocator.without("")
            allocator.hold(answer.decision)
            answer.next = self._state(allocator)
        return answer.next

    def _state(self, allocator: NodeAllocator) -> _Known:
        return self._known.setdefault(allocator.state(), _Known(allocator))

    def _likely(self, held: Counter[int], takes: int) -> LikelyPods:
        shares = shares_of(held, takes)
        key = tuple(sorted(shares.items()))
        if key not in self._tables:
            self._tables[key] = LikelyPods(shares)
        return self._tables[key]
