"""The nodes of a cluster, and the best one for a pod.

A decision depends on the rules of a node, its free CPUs and its memory tables, and on nothing else
(`NodeAllocator.state`): nodes that agree in them get the same answer, so each state is judged once
per shape of pod, and the answer is remembered until no node is in that state. A pod's shape is all of
it but its name: the replicas of a workload have one. What is remembered is bounded.

`update` after every change of a node's allocator: a fleet that was not told answers for the old state.
`best` and `ranking` change nothing. Which nodes a pod may go to at all (labels, taints, room) is the
caller's question, asked for the best nodes only.

Likely pods are taken to be of the sizes that the nodes hold now, and of the one that is placed.

    best       the node to take, with the decision that holds there now
    nearest    the same for a pod whose devices differ from node to node: the best of its wishes
    ranking    every node: its score, or the reason for which it refuses the pod

Equal scores go to the first node by name, and nothing depends on what was asked before: equal fleets give
equal answers. Devices of a pod are part of its shape.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from heapq import heapify, heappop

from podnuma.allocator.decision import Admitted, Reason, Rejected
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.placement.device_wishes import DeviceWish
from podnuma.allocator.placement.likely_pods import LikelyPods, shares_of
from podnuma.allocator.placement.packing import Packing, PlacementEffect, Score, effect, score
from podnuma.allocator.request import Amounts, PodRequest

_TABLES = 256  # of likely pods that are kept

MAX_SHAPES = 64
"""Shapes of pods that answers are remembered for; the one not asked for longest goes first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that admits a pod, and what the pod would do to it."""

    node: str
    effect: PlacementEffect
    score: Score


@dataclass(frozen=True, slots=True)
class Placement:
    """The best node for a pod; `decision` can be held by its allocator as long as that stays as it is."""

    candidate: Candidate
    decision: Admitted


@dataclass(frozen=True, slots=True)
class Ranking:
    """All nodes as a pod sees them: those that admit it, best first, and why the others refuse it."""

    candidates: tuple[Candidate, ...]
    refused: Mapping[str, Rejected]

    @property
    def reasons(self) -> Counter[Reason]:
        """How many nodes refuse the pod, by reason."""
        return Counter(answer.reason for answer in self.refused.values())


PodShape = Hashable
"""All of a pod that a decision depends on."""


def shape_of(pod: PodRequest) -> PodShape:
    """Return a pod's shape; pods that differ in namespace, name and UID only have the same."""
    return (
        tuple(
            (one.name, one.kind, _amounts(one.requests), _amounts(one.limits), one.devices)
            for one in pod.containers
        ),
        None if pod.pod_requests is None else _amounts(pod.pod_requests),
        None if pod.pod_limits is None else _amounts(pod.pod_limits),
        pod.qos,
    )


def anywhere(_node: str) -> bool:
    """Let a pod go to every node."""
    return True


class Fleet:
    """Nodes by name. Not safe for concurrent use."""

    __slots__ = (
        "_held",
        "_judged",
        "_likely",
        "_members",
        "_numbers",
        "_serial",
        "_sizes",
        "_states",
        "_tables",
    )

    def __init__(self) -> None:
        self._serial = 0
        self._numbers: dict[Hashable, int] = {}  # of states that a node is in
        self._states: dict[str, tuple[Hashable, int]] = {}  # by node
        self._members: dict[int, dict[str, NodeAllocator]] = {}  # by the number of a state
        self._held: dict[str, tuple[int, ...]] = {}  # sizes of what each node holds, in CPUs
        self._sizes: Counter[int] = Counter()  # of all nodes
        self._likely: dict[int, LikelyPods] = {}  # by the size of the pod that is placed, for these sizes
        self._tables: dict[tuple[tuple[int, int], ...], LikelyPods] = {}  # by shares
        self._judged: OrderedDict[PodShape, dict[int, PlacementEffect | Rejected]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    @property
    def distinct(self) -> int:
        """The number of different states that nodes are in."""
        return len(self._members)

    @property
    def remembered(self) -> int:
        """The number of answers that are remembered."""
        return sum(len(answers) for answers in self._judged.values())

    def update(self, name: str, allocator: NodeAllocator) -> None:
        """Take a node as it is now, whether it is new or has changed."""
        self._count(name, tuple(grant.exclusive_cpus.bit_count() for grant in allocator.grants.values()))
        state = allocator.state()
        known = self._states.get(name)
        if known is not None:
            if known[0] == state:
                self._members[known[1]][name] = allocator
                return
            self._leave(name)
        number = self._numbers.get(state)
        if number is None:
            self._serial += 1
            number = self._numbers[state] = self._serial
            self._members[number] = {}
        self._states[name] = (state, number)
        self._members[number][name] = allocator

    def remove(self, name: str) -> None:
        """Forget a node."""
        self._count(name, ())
        self._leave(name)

    def best(
        self, pod: PodRequest, packing: Packing, may_go: Callable[[str], bool] = anywhere
    ) -> Placement | None:
        """Return where a pod should go; None if no node that it may go to admits it."""
        return self._best(pod, packing, may_go, self._members)

    def nearest(
        self, wishes: Iterable[DeviceWish], packing: Packing, may_go: Callable[[str], bool] = anywhere
    ) -> tuple[Placement, DeviceWish] | None:
        """Return where a pod should go, and the wish that holds there; None if no node admits any of them."""
        best: tuple[Placement, DeviceWish] | None = None
        for wish in wishes:
            numbers = {self._states[name][1] for name in wish.nodes if name in self._states}
            if not numbers:
                continue
            found = self._best(wish.pod, packing, partial(_offers, wish, may_go), numbers)
            if found is not None and (best is None or _rank(found) < _rank(best[0])):
                best = found, wish
        return best

    def ranking(self, pod: PodRequest, packing: Packing, may_go: Callable[[str], bool] = anywhere) -> Ranking:
        """Return how all nodes that a pod may go to answer it."""
        answers = self._answers(pod)
        candidates: list[Candidate] = []
        refused: dict[str, Rejected] = {}
        for name, (_, number) in sorted(self._states.items()):
            if not may_go(name):
                continue
            answer = answers.get(number) or self._judge(pod, number, answers)
            if isinstance(answer, Rejected):
                refused[name] = answer
            else:
                candidates.append(Candidate(name, answer, self._score(packing, answer)))
        candidates.sort(key=lambda one: (one.score, one.node))
        return Ranking(tuple(candidates), refused)

    def _best(
        self, pod: PodRequest, packing: Packing, may_go: Callable[[str], bool], numbers: Iterable[int]
    ) -> Placement | None:
        """Return the best node in one of these states."""
        answers = self._answers(pod)
        open_states: list[tuple[Score, str, int]] = []
        for number in numbers:
            answer = answers.get(number) or self._judge(pod, number, answers)
            if not isinstance(answer, Rejected):
                open_states.append((self._score(packing, answer), min(self._members[number]), number))
        heapify(open_states)
        while open_states:
            grade, _, _ = open_states[0]
            alike: list[tuple[str, int]] = []
            while open_states and open_states[0][0] == grade:
                number = heappop(open_states)[2]
                alike += [(name, number) for name in self._members[number]]
            for name, number in sorted(alike):
                if may_go(name):
                    return self._placement(pod, name, number, packing)
        return None

    def _placement(self, pod: PodRequest, name: str, number: int, packing: Packing) -> Placement | None:
        allocator = self._members[number][name]
        decision = allocator.decide(pod)
        if isinstance(decision, Rejected):  # only if the allocator changed and nobody said so
            return None
        found = effect(allocator, decision.grant)
        return Placement(Candidate(name, found, self._score(packing, found)), decision)

    def _leave(self, name: str) -> None:
        known = self._states.pop(name, None)
        if known is None:
            return
        state, number = known
        members = self._members[number]
        del members[name]
        if not members:
            del self._members[number], self._numbers[state]
            for answers in self._judged.values():
                answers.pop(number, None)

    def _count(self, name: str, sizes: tuple[int, ...]) -> None:
        before = self._held.pop(name, ())
        if sizes:
            self._held[name] = sizes
        if before != sizes:
            self._sizes.subtract(before)
            self._sizes.update(sizes)
            self._likely.clear()

    def _score(self, packing: Packing, found: PlacementEffect) -> Score:
        likely = self._likely.get(found.takes)
        if likely is None:
            likely = self._likely[found.takes] = self._table(found.takes)
        return score(packing, found, likely)

    def _table(self, takes: int) -> LikelyPods:
        shares = shares_of(self._sizes, takes)
        key = tuple(sorted(shares.items()))
        if key not in self._tables and len(self._tables) >= _TABLES:
            self._tables.clear()
        return self._tables.setdefault(key, LikelyPods(shares))

    def _answers(self, pod: PodRequest) -> dict[int, PlacementEffect | Rejected]:
        shape = shape_of(pod)
        answers = self._judged.setdefault(shape, {})
        self._judged.move_to_end(shape)
        if len(self._judged) > MAX_SHAPES:
            self._judged.popitem(last=False)
        return answers

    def _judge(
        self, pod: PodRequest, number: int, answers: dict[int, PlacementEffect | Rejected]
    ) -> PlacementEffect | Rejected:
        allocator = next(iter(self._members[number].values()))
        decision = allocator.decide(replace(pod, uid=""))  # of any pod of this shape, held nowhere
        answer = effect(allocator, decision.grant) if isinstance(decision, Admitted) else decision
        answers[number] = answer
        return answer


def _offers(wish: DeviceWish, may_go: Callable[[str], bool], name: str) -> bool:
    return name in wish.nodes and may_go(name)


def _rank(found: Placement) -> tuple[Score, str]:
    return found.candidate.score, found.candidate.node


def _amounts(amounts: Amounts) -> Hashable:
    return frozenset((name, amount.nano) for name, amount in amounts.items())
