"""From the values seen to the targets, as a list of writes that is safe at every point.

    shrink   children before parents: each cgroup gives up the CPUs that it shall not keep.
    grow     parents before children: each gets CPUs that no other still has in excess of its target.
    park     a cycle (A waits for B's CPUs, B for A's; only drift leads to one) is broken by moving one of
             them to the shared pool first.

The first two are repeated until nothing is left to do, once or twice. Where nobody can move, CPUs that the
shared pool gets are opened before those who had them have left; only drift leads to it.

In cgroup v2 a child whose set has no CPU in common with its parent's inherits *all* of the parent's. So a
parent keeps the CPUs that its children still need, and a child that inherits already is set to what it has
before its parent grows, if it would get CPUs of others otherwise.

Always true, and what the property tests check:
* a CPU outside the shared pool is never open to two cgroups at once, unless both shall have it in the end
  (a sidecar and a later init container) or both had it before, by drift;
* the empty set is never written;
* the writes lead to the targets, and once there, there are none.
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

    `pool`: the shared pool by the targets, not empty; `everything`: the CPUs of kubepods.
    """
    if all(_reached(targets[cgroup], seen[cgroup]) for cgroup in targets if cgroup in seen):
        return ()
    cgroups = sorted((cgroup for cgroup in targets if cgroup in seen), key=_rank)
    cpu_targets = {cgroup: cpus for cgroup in cgroups if (cpus := targets[cgroup].cpus) is not None}
    projection = _Projection(
        {cgroup: values.cpus for cgroup, values in seen.items()}, cpu_targets, pool, everything
    )
    return _with_mems_and_cpu_max(list(_writes(projection)), cgroups, seen, targets)


def _reached(target: CgroupTarget, values: CgroupValues) -> bool:
    return (
        target.cpus in (None, values.cpus)
        and target.mems in (None, values.mems)
        and target.cpu_max in (None, values.cpu_max)
    )


def _rank(cgroup: CgroupRef) -> tuple[int, str]:
    return depth(cgroup), repr(cgroup)


class _Projection:
    """The sets of all cgroups as they will be after the writes so far.

    Hundreds of pods may follow the shared pool, and a container's start waits for the order of their writes.
    So a cgroup's effective set and the CPUs it blocks are cached, and recomputed only where a write changes
    them.
    """

    def __init__(
        self,
        written: dict[CgroupRef, CpuSet | None],
        cpu_targets: dict[CgroupRef, CpuSet],
        pool: CpuSet,
        everything: CpuSet,
    ) -> None:
        self.written = written
        self.cpu_targets = cpu_targets
        self.pool = pool
        self.everything = everything
        self._below: dict[CgroupRef, list[CgroupRef]] = {}
        for cgroup in cpu_targets:
            for above in _line(parent(cgroup)):
                self._below.setdefault(above, []).append(cgroup)
        self._effective: dict[CgroupRef, CpuSet] = {}
        self._blocking: dict[CgroupRef, CpuSet] = {}
        self._refresh(cpu_targets)

    def effective(self, cgroup: CgroupRef | None) -> CpuSet:
        if cgroup is None:
            return self.everything
        known = self._effective.get(cgroup)
        return self._compute(cgroup) if known is None else known

    def _compute(self, cgroup: CgroupRef) -> CpuSet:
        return _effective_in(self.written.get(cgroup), self.effective(parent(cgroup)))

    def _refresh(self, changed: Iterable[CgroupRef]) -> None:
        """Recompute what is cached about cgroups, parents first."""
        for cgroup in changed:
            self._effective[cgroup] = self._compute(cgroup)
            blocked = self.excess(cgroup)
            if blocked:
                self._blocking[cgroup] = blocked
            else:
                self._blocking.pop(cgroup, None)

    def inheriting(self, cgroup: CgroupRef, cpus: CpuSet) -> list[CgroupRef]:
        """Return the cgroups below that inherit their CPUs and must not follow to `cpus`, the lowest first.

        None of the CPUs in their own sets is available to them now. They may follow if no cgroup below would
        get more than it has now and its target.
        """
        below = self._below.get(cgroup, [])
        if not any(
            self._if_given(other, cgroup, cpus) & ~(self.cpu_targets[other] | self.effective(other))
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
        return [cgroup for cgroup, target in self.cpu_targets.items() if self.written[cgroup] != target]

    def excess(self, cgroup: CgroupRef) -> CpuSet:
        """Return the CPUs that the cgroup has now beyond its target."""
        return CpuSet(self.effective(cgroup) & ~self.cpu_targets[cgroup])

    def free_for(self, cgroup: CgroupRef, *, pool_too: bool) -> CpuSet:
        """Return the part of its target that it may have now; offline CPUs are never in the way.

        pool_too: not even CPUs of the shared pool that somebody has yet to leave.
        """
        blocked = 0
        for other, cpus in self._blocking.items():
            if not _related(cgroup, other):
                blocked |= cpus if pool_too else cpus & ~self.pool
        reachable = self.effective(parent(cgroup)) | ~self.everything
        return CpuSet(self.cpu_targets[cgroup] & ~blocked & reachable)

    def needed_by_children(self, cgroup: CgroupRef, cpus: CpuSet) -> CpuSet:
        """Return the CPUs of those below that would have none left if the cgroup had only `cpus`."""
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
    # Terminates: each write widens a set within its target, ends an excess, or pins a cgroup that inherits
    # for the widening that follows at once; only parking does neither, and happens once per cgroup.
    parked: set[CgroupRef] = set()
    while waiting := projection.unfinished():
        moved = False
        for write in (*_shrink(projection, waiting), *_grow(projection, waiting)):
            moved = True
            yield write
        if not moved:
            shared = next(_grow(projection, waiting, pool_too=False), None)
            yield _unlock(projection, waiting, parked) if shared is None else shared


def _shrink(projection: _Projection, waiting: list[CgroupRef]) -> Iterator[CgroupWrite]:
    for cgroup in reversed(waiting):
        own, target, has = (
            projection.written[cgroup],
            projection.cpu_targets[cgroup],
            projection.effective(cgroup),
        )
        keep = CpuSet(has & target)
        keep = CpuSet(keep | projection.needed_by_children(cgroup, keep))
        if own is None or own & ~(target | has):
            # More than it has now would become its own when the parent grows.
            yield projection.write(cgroup, keep or has)
        elif keep and own & ~(target | keep):
            yield projection.write(cgroup, keep)


def _grow(
    projection: _Projection, waiting: list[CgroupRef], *, pool_too: bool = True
) -> Iterator[CgroupWrite]:
    for cgroup in waiting:
        own, target = projection.written[cgroup], projection.cpu_targets[cgroup]
        may = projection.free_for(cgroup, pool_too=pool_too)
        may = CpuSet(may | projection.needed_by_children(cgroup, may))
        if target & projection.everything and not may & projection.everything:
            continue  # only offline ones: it would have all of its parent's
        has = own is not None and not own & ~(target | may) and not may & ~own
        if may and not has:
            for child in projection.inheriting(cgroup, may):
                yield projection.write(child, projection.effective(child))
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
    # Only reached when no CPU of the pool is online: reaching the target is worth the overlap.
    return projection.write(waiting[0], projection.cpu_targets[waiting[0]])


def _with_mems_and_cpu_max(
    writes: list[CgroupWrite],
    cgroups: Iterable[CgroupRef],
    seen: Mapping[CgroupRef, CgroupValues],
    targets: Mapping[CgroupRef, CgroupTarget],
) -> tuple[CgroupWrite, ...]:
    """Add memory nodes and cpu.max to the last write of their cgroup, or append a write of their own."""
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
