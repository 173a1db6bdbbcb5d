"""From what was seen to what is targets, as a list of writes that is safe at every point.

    shrink   children before parents: everybody gives up what is not theirs to keep.
    grow     parents before children: a cgroup gets what nobody still holds without a right to it.
    park     a ring (A waits for B's CPUs, B for A's; only drift makes such) is broken by sending one to the
             shared pool first.

The first two are repeated until nothing is left to do, nearly always once. A child whose set misses its
parent's new one would run on *all* of it (cgroup v2): a parent keeps what a child still stands on, and what
has inheriting onto its parent's set already is held there before the parent grows, if growth would do harm.

Always true, and what the property tests check:
* a CPU outside the shared pool is never open to two cgroups at once, unless both shall have it in the end
  (a sidecar and a later init container) or both had it before, by drift;
* no write writes the empty set;
* the writes lead to what is targets, and from there no writes lead on.
"""

from collections.abc import Iterable, Iterator, Mapping

from podnuma.agent.model.cgroup_ref import CgroupRef, depth, parent
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite
from podnuma.allocator.cpuset import CpuSet


def order_writes(
    seen: Mapping[CgroupRef, CgroupValues],
    targets: Mapping[CgroupRef, CgroupTarget],
    *,
    pool: CpuSet,
    everything: CpuSet,
) -> tuple[CgroupWrite, ...]:
    """Return the writes. Targets of cgroups that were not seen are left out: they do not exist yet.

    `pool`: the targets shared pool, not empty; `everything`: the CPUs of kubepods.
    """
    cgroups = sorted((cgroup for cgroup in targets if cgroup in seen), key=_rank)
    goals = {cgroup: cpus for cgroup in cgroups if (cpus := targets[cgroup].cpus) is not None}
    projection = _Projection(
        {cgroup: values.cpus for cgroup, values in seen.items()}, goals, pool, everything
    )
    return _with_the_rest(list(_writes(projection)), cgroups, seen, targets)


def _rank(cgroup: CgroupRef) -> tuple[int, str]:
    return depth(cgroup), repr(cgroup)


class _Projection:
    """The sets as they would be after the writes so far.

    Hundreds of pods may follow the shared pool, and a container's start waits for the order of their writes:
    what a cgroup has and whether it is in others' way is kept, and made anew only for what a write changes.
    """

    def __init__(
        self,
        written: dict[CgroupRef, CpuSet | None],
        goals: dict[CgroupRef, CpuSet],
        pool: CpuSet,
        everything: CpuSet,
    ) -> None:
        self.written = written
        self.goals = goals
        self.pool = pool
        self.everything = everything
        self._below: dict[CgroupRef, list[CgroupRef]] = {}
        for cgroup in goals:
            for above in _line(parent(cgroup)):
                self._below.setdefault(above, []).append(cgroup)
        self._effective: dict[CgroupRef, CpuSet] = {}
        self._blocking: dict[CgroupRef, CpuSet] = {}
        self._refresh(goals)

    def effective(self, cgroup: CgroupRef | None) -> CpuSet:
        if cgroup is None:
            return self.everything
        known = self._effective.get(cgroup)
        return self._compute(cgroup) if known is None else known

    def _compute(self, cgroup: CgroupRef) -> CpuSet:
        return _effective_in(self.written.get(cgroup), self.effective(parent(cgroup)))

    def _refresh(self, changed: Iterable[CgroupRef]) -> None:
        """Make anew what is kept about cgroups, those above first."""
        for cgroup in changed:
            self._effective[cgroup] = self._compute(cgroup)
            blocked = CpuSet(self.excess(cgroup) & ~self.pool)
            if blocked:
                self._blocking[cgroup] = blocked
            else:
                self._blocking.pop(cgroup, None)

    def inheriting(self, cgroup: CgroupRef, cpus: CpuSet) -> list[CgroupRef]:
        """Return the cgroups below that have to be held before the cgroup is given `cpus`, the lowest first.

        They have nothing of their own sets now. There are none to hold if all below would have at the most
        what they have now and what they shall have.
        """
        below = self._below.get(cgroup, [])
        if not any(
            self._if_given(other, cgroup, cpus) & ~(self.goals[other] | self.effective(other))
            for other in below
        ):
            return []
        return [
            other
            for other in reversed(below)
            if (own := self.written[other]) is not None and not own & self.effective(parent(other))
        ]

    def _if_given(self, other: CgroupRef | None, cgroup: CgroupRef, cpus: CpuSet) -> CpuSet:
        """Return what a cgroup would have if one at or above it were given `cpus`."""
        if other is None:
            return self.everything
        own = cpus if other == cgroup else self.written.get(other)
        return _effective_in(own, self._if_given(parent(other), cgroup, cpus))

    def write(self, cgroup: CgroupRef, cpus: CpuSet) -> CgroupWrite:
        before = self.effective(cgroup)
        self.written[cgroup] = cpus
        self._refresh((cgroup, *self._below.get(cgroup, ())))
        after = self.effective(cgroup)
        return CgroupWrite(cgroup, cpus, gains=CpuSet(after & ~before), losses=CpuSet(before & ~after))

    def unfinished(self) -> list[CgroupRef]:
        return [cgroup for cgroup, goal in self.goals.items() if self.written[cgroup] != goal]

    def excess(self, cgroup: CgroupRef) -> CpuSet:
        """CPUs that the cgroup can run on now and shall not have."""
        return CpuSet(self.effective(cgroup) & ~self.goals[cgroup])

    def free_for(self, cgroup: CgroupRef) -> CpuSet:
        """Return the part of its goal that it may have now; offline CPUs are nobody's."""
        blocked = 0
        for other, cpus in self._blocking.items():
            if not _related(cgroup, other):
                blocked |= cpus
        reachable = self.effective(parent(cgroup)) | ~self.everything
        return CpuSet(self.goals[cgroup] & ~blocked & reachable)

    def needed_by_children(self, cgroup: CgroupRef, cpus: CpuSet) -> CpuSet:
        """Return what cgroups below hold that would have nothing left if the cgroup had only `cpus`."""
        held = 0
        for child in self._below.get(cgroup, ()):
            if parent(child) == cgroup:
                own = self.effective(child)
                left = CpuSet(own & cpus)
                held |= self.needed_by_children(child, left) if left else own
        return CpuSet(held)


def _effective_in(own: CpuSet | None, above: CpuSet) -> CpuSet:
    """Return what cgroup v2 makes of a set below another: without a common CPU, all of that other."""
    return above if own is None else CpuSet(own & above or above)


def _related(one: CgroupRef, other: CgroupRef) -> bool:
    return other in _line(one) or one in _line(other)


def _line(cgroup: CgroupRef | None) -> Iterator[CgroupRef]:
    above = cgroup
    while above is not None:
        yield above
        above = parent(above)


def _writes(projection: _Projection) -> Iterator[CgroupWrite]:
    # Ends: a write widens a set within its goal, ends a excess, or holds what has inheriting for the widening
    # that follows at once; only parking, once per cgroup, does neither.
    parked: set[CgroupRef] = set()
    while waiting := projection.unfinished():
        moved = False
        for write in (*_shrink(projection, waiting), *_grow(projection, waiting)):
            moved = True
            yield write
        if not moved:
            yield _unlock(projection, waiting, parked)


def _shrink(projection: _Projection, waiting: list[CgroupRef]) -> Iterator[CgroupWrite]:
    for cgroup in reversed(waiting):
        own, goal, has = projection.written[cgroup], projection.goals[cgroup], projection.effective(cgroup)
        keep = CpuSet(has & goal)
        keep = CpuSet(keep | projection.needed_by_children(cgroup, keep))
        if own is None or own & ~(goal | has):
            # More than it has now would become its own when the parent grows.
            yield projection.write(cgroup, keep or has)
        elif keep and own & ~(goal | keep):
            yield projection.write(cgroup, keep)


def _grow(projection: _Projection, waiting: list[CgroupRef]) -> Iterator[CgroupWrite]:
    for cgroup in waiting:
        own, goal = projection.written[cgroup], projection.goals[cgroup]
        may = projection.free_for(cgroup)
        may = CpuSet(may | projection.needed_by_children(cgroup, may))
        if goal & projection.everything and not may & projection.everything:
            continue  # only offline ones: it would have all of its parent's
        has = own is not None and not own & ~(goal | may) and not may & ~own
        if may and not has:
            for inheriting in projection.inheriting(cgroup, may):
                yield projection.write(inheriting, projection.effective(inheriting))
            yield projection.write(cgroup, may)


def _unlock(projection: _Projection, waiting: list[CgroupRef], parked: set[CgroupRef]) -> CgroupWrite:
    for cgroup in waiting:
        shared = CpuSet(projection.pool & projection.effective(parent(cgroup)))
        blocks = projection.excess(cgroup) & ~projection.pool and not projection.needed_by_children(
            cgroup, shared
        )
        if shared and blocks and cgroup not in parked:
            parked.add(cgroup)
            return projection.write(cgroup, shared)
    # Only reached when no CPU of the pool is online: the goal is worth the overlap.
    return projection.write(waiting[0], projection.goals[waiting[0]])


def _with_the_rest(
    writes: list[CgroupWrite],
    cgroups: Iterable[CgroupRef],
    seen: Mapping[CgroupRef, CgroupValues],
    targets: Mapping[CgroupRef, CgroupTarget],
) -> tuple[CgroupWrite, ...]:
    """Let memory nodes and cpu_max ride on the last write of their cgroup, or follow in one of their own."""
    last = {write.cgroup: number for number, write in enumerate(writes)}
    for cgroup in cgroups:
        target, values = targets[cgroup], seen[cgroup]
        mems = target.mems if target.mems != values.mems else None
        cpu_max = target.cpu_max if target.cpu_max != values.cpu_max else None
        if mems is None and cpu_max is None:
            continue
        if cgroup not in last:
            writes.append(CgroupWrite(cgroup, mems=mems, cpu_max=cpu_max))
            continue
        write = writes[last[cgroup]]
        writes[last[cgroup]] = CgroupWrite(cgroup, write.cpus, mems, cpu_max, write.gains, write.losses)
    return tuple(writes)
