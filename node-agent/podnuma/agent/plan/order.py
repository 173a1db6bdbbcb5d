"""From what was seen to what is wanted, as a list of steps that is safe at every point.

    shrink   children before parents: everybody gives up what is not theirs to keep.
    grow     parents before children: a place gets what nobody still holds without a right to it.
    park     a ring (A waits for B's CPUs, B for A's; only drift makes such) is broken by sending one to the
             shared pool first.

The first two are repeated until nothing is left to do, nearly always once. A child whose set misses its
parent's new one would run on *all* of it (cgroup v2): a parent keeps what a child still stands on, and what
has fallen onto its parent's set already is held there before the parent grows, if growth would do harm.

Always true, and what the property tests check:
* a CPU outside the shared pool is never open to two places at once, unless both shall have it in the end
  (a sidecar and a later init container) or both had it before, by drift;
* no step writes the empty set;
* the steps lead to what is wanted, and from there no steps lead on.
"""

from collections.abc import Iterable, Iterator, Mapping

from podnuma.agent.plan.places import Place, Step, Values, Wish, depth, parent
from podnuma.allocator.cpuset import CpuSet


def order(
    seen: Mapping[Place, Values], wanted: Mapping[Place, Wish], *, pool: CpuSet, everything: CpuSet
) -> tuple[Step, ...]:
    """Return the steps. Wishes for places that were not seen are left out: there is nothing to write to yet.

    `pool`: the wanted shared pool, not empty; `everything`: the CPUs of kubepods.
    """
    places = sorted((place for place in wanted if place in seen), key=_rank)
    goals = {place: cpus for place in places if (cpus := wanted[place].cpus) is not None}
    board = _Board({place: values.cpus for place, values in seen.items()}, goals, pool, everything)
    return _with_the_rest(list(_steps(board)), places, seen, wanted)


def _rank(place: Place) -> tuple[int, str]:
    return depth(place), repr(place)


class _Board:
    """The sets as they would be after the steps so far.

    Hundreds of pods may follow the shared pool, and a container's start waits for the order of their writes:
    what a place has and whether it is in others' way is kept, and made anew only for what a write changes.
    """

    def __init__(
        self,
        written: dict[Place, CpuSet | None],
        goals: dict[Place, CpuSet],
        pool: CpuSet,
        everything: CpuSet,
    ) -> None:
        self.written = written
        self.goals = goals
        self.pool = pool
        self.everything = everything
        self._below: dict[Place, list[Place]] = {}
        for place in goals:
            for above in _line(parent(place)):
                self._below.setdefault(above, []).append(place)
        self._effective: dict[Place, CpuSet] = {}
        self._blocking: dict[Place, CpuSet] = {}
        self._look(goals)

    def effective(self, place: Place | None) -> CpuSet:
        if place is None:
            return self.everything
        known = self._effective.get(place)
        return self._made(place) if known is None else known

    def _made(self, place: Place) -> CpuSet:
        return _made_of(self.written.get(place), self.effective(parent(place)))

    def _look(self, changed: Iterable[Place]) -> None:
        """Make anew what is kept about places, those above first."""
        for place in changed:
            self._effective[place] = self._made(place)
            blocked = CpuSet(self.trespass(place) & ~self.pool)
            if blocked:
                self._blocking[place] = blocked
            else:
                self._blocking.pop(place, None)

    def fallen(self, place: Place, cpus: CpuSet) -> list[Place]:
        """Return the places below that have to be held before the place is given `cpus`, the lowest first.

        They have nothing of their own sets now. There are none to hold if all below would have at the most
        what they have now and what they shall have.
        """
        below = self._below.get(place, [])
        if not any(
            self._if_given(other, place, cpus) & ~(self.goals[other] | self.effective(other))
            for other in below
        ):
            return []
        return [
            other
            for other in reversed(below)
            if (own := self.written[other]) is not None and not own & self.effective(parent(other))
        ]

    def _if_given(self, other: Place | None, place: Place, cpus: CpuSet) -> CpuSet:
        """Return what a place would have if one at or above it were given `cpus`."""
        if other is None:
            return self.everything
        own = cpus if other == place else self.written.get(other)
        return _made_of(own, self._if_given(parent(other), place, cpus))

    def write(self, place: Place, cpus: CpuSet) -> Step:
        before = self.effective(place)
        self.written[place] = cpus
        self._look((place, *self._below.get(place, ())))
        after = self.effective(place)
        return Step(place, cpus, gains=CpuSet(after & ~before), losses=CpuSet(before & ~after))

    def unfinished(self) -> list[Place]:
        return [place for place, goal in self.goals.items() if self.written[place] != goal]

    def trespass(self, place: Place) -> CpuSet:
        """CPUs that the place can run on now and shall not have."""
        return CpuSet(self.effective(place) & ~self.goals[place])

    def free_for(self, place: Place) -> CpuSet:
        """Return the part of its goal that it may have now; offline CPUs are nobody's."""
        blocked = 0
        for other, cpus in self._blocking.items():
            if not _related(place, other):
                blocked |= cpus
        reachable = self.effective(parent(place)) | ~self.everything
        return CpuSet(self.goals[place] & ~blocked & reachable)

    def stood_on(self, place: Place, cpus: CpuSet) -> CpuSet:
        """Return what places below hold that would have nothing left if the place had only `cpus`."""
        held = 0
        for child in self._below.get(place, ()):
            if parent(child) == place:
                own = self.effective(child)
                left = CpuSet(own & cpus)
                held |= self.stood_on(child, left) if left else own
        return CpuSet(held)


def _made_of(own: CpuSet | None, above: CpuSet) -> CpuSet:
    """Return what cgroup v2 makes of a set below another: without a common CPU, all of that other."""
    return above if own is None else CpuSet(own & above or above)


def _related(one: Place, other: Place) -> bool:
    return other in _line(one) or one in _line(other)


def _line(place: Place | None) -> Iterator[Place]:
    above = place
    while above is not None:
        yield above
        above = parent(above)


def _steps(board: _Board) -> Iterator[Step]:
    # Ends: a write widens a set within its goal, ends a trespass, or holds what has fallen for the widening
    # that follows at once; only parking, once per place, does neither.
    parked: set[Place] = set()
    while waiting := board.unfinished():
        moved = False
        for step in (*_shrink(board, waiting), *_grow(board, waiting)):
            moved = True
            yield step
        if not moved:
            yield _unlock(board, waiting, parked)


def _shrink(board: _Board, waiting: list[Place]) -> Iterator[Step]:
    for place in reversed(waiting):
        own, goal, has = board.written[place], board.goals[place], board.effective(place)
        keep = CpuSet(has & goal)
        keep = CpuSet(keep | board.stood_on(place, keep))
        if own is None or own & ~(goal | has):
            # More than it has now would become its own when the parent grows.
            yield board.write(place, keep or has)
        elif keep and own & ~(goal | keep):
            yield board.write(place, keep)


def _grow(board: _Board, waiting: list[Place]) -> Iterator[Step]:
    for place in waiting:
        own, goal = board.written[place], board.goals[place]
        may = board.free_for(place)
        may = CpuSet(may | board.stood_on(place, may))
        if goal & board.everything and not may & board.everything:
            continue  # only offline ones: it would have all of its parent's
        has = own is not None and not own & ~(goal | may) and not may & ~own
        if may and not has:
            for fallen in board.fallen(place, may):
                yield board.write(fallen, board.effective(fallen))
            yield board.write(place, may)


def _unlock(board: _Board, waiting: list[Place], parked: set[Place]) -> Step:
    for place in waiting:
        guest = CpuSet(board.pool & board.effective(parent(place)))
        blocks = board.trespass(place) & ~board.pool and not board.stood_on(place, guest)
        if guest and blocks and place not in parked:
            parked.add(place)
            return board.write(place, guest)
    # Only reached when no CPU of the pool is online: the goal is worth the overlap.
    return board.write(waiting[0], board.goals[waiting[0]])


def _with_the_rest(
    steps: list[Step], places: Iterable[Place], seen: Mapping[Place, Values], wanted: Mapping[Place, Wish]
) -> tuple[Step, ...]:
    """Let memory nodes and bandwidth ride on the last write of their place, or follow in one of their own."""
    last = {step.place: number for number, step in enumerate(steps)}
    for place in places:
        wish, values = wanted[place], seen[place]
        mems = wish.mems if wish.mems != values.mems else None
        bandwidth = wish.bandwidth if wish.bandwidth != values.bandwidth else None
        if mems is None and bandwidth is None:
            continue
        if place not in last:
            steps.append(Step(place, mems=mems, bandwidth=bandwidth))
            continue
        step = steps[last[place]]
        steps[last[place]] = Step(place, step.cpus, mems, bandwidth, step.gains, step.losses)
    return tuple(steps)
