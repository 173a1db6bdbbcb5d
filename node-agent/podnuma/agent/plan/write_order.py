"""From the values seen to the targets, as a list of writes that is safe at every point.

    shrink   children before parents: each cgroup gives up the CPUs that it should not keep. First those that
             follow the shared pool, so that nobody is confined to CPUs that others have yet to leave.
    grow     parents before children: each gets CPUs that no other still has in excess of its target.
    park     cycles (A waits for B's CPUs, B for A's; only drift leads to them) are broken by moving one of
             each to the shared pool first.

The first two are repeated until nothing is left to do, once or twice. Where nobody can move, CPUs that the
shared pool gets are opened before those who had them have left; only drift leads to it.

Nobody waits for CPUs that it cannot have: those outside its parent's target, or a target without an online
CPU, with which it has its parent's. Such a cgroup is led to what it will come to have, and its own target is
written at the end, where it changes nothing.

In cgroup v2 a child whose set has no CPU in common with its parent's inherits *all* of the parent's. So a
parent keeps the CPUs that its children still need, and a child that inherits already is set to what it has
before its parent grows, if it would get CPUs of others otherwise.

Always true, and what the property tests check:
* a CPU outside the shared pool is never open to two cgroups at once, unless both should have it in the end
  (a sidecar and a later init container) or both had it before, by drift;
* the empty set is never written;
* the writes come to an end, whatever was seen, wanted and taken offline;
* they lead to the targets, and once there, there are none.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, depth, parent
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite, has_quota
from podnuma.allocator.cpuset import CpuSet

_ROUNDS = 8  # per cgroup; the most ever seen is little more than one

_There: TypeAlias = tuple[CgroupRef, CgroupTarget, CgroupValues]
"""A cgroup, what it should have, and what was seen of it."""


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
    named = ((cgroup, target, seen.get(cgroup)) for cgroup, target in targets.items())
    there = [(cgroup, target, values) for cgroup, target, values in named if values is not None]
    if all(_reached(target, values) for _, target, values in there):
        return ()
    there.sort(key=_rank)
    projection = _Projection(pool, everything, seen)
    for cgroup, target, values in there:
        if target.cpus is not None:
            projection.add(cgroup, values.cpus, target.cpus)
    writes = [*_writes(projection), *projection.unattainable()]
    return _with_mems_and_cpu_max(writes, there)


def _reached(target: CgroupTarget, values: CgroupValues) -> bool:
    return (
        target.cpus in (None, values.cpus)
        and target.mems in (None, values.mems)
        and has_quota(values.cpu_max, target.cpu_max)
    )


def _rank(there: _There) -> tuple[int, str, str, str, str]:
    """Return what puts parents first, and everything in one order always."""
    cgroup = there[0]
    if isinstance(cgroup, ContainerCgroup):
        return depth(cgroup), "container", cgroup.pod.uid, cgroup.name, cgroup.id
    if isinstance(cgroup, PodCgroup):
        return depth(cgroup), "pod", cgroup.uid, "", ""
    return depth(cgroup), "slice", cgroup.qos.value, "", ""


class _Cgroup:
    """One cgroup as it will be after the writes so far. Its sets are plain integers until they are written.

    Hundreds of pods may follow the shared pool, and a container's start waits for the order of their writes.
    So what is asked again and again is kept here, and computed anew only where a write changes it.

    own: what is written in it. has: what is in force. end: what is in force when all targets are written,
    with the CPUs that are offline. target: what it is led to, its end; None for one that only lies above
    others. excess: what it has beyond its target. below: all that were added below it, parents first.
    """

    __slots__ = ("above", "below", "end", "excess", "has", "own", "ref", "target")

    def __init__(self, ref: CgroupRef | None, above: "_Cgroup | None", own: int | None) -> None:
        self.ref = ref
        self.above = above
        self.own = own
        self.target: int | None = None
        self.has = 0
        self.end = 0
        self.excess = 0
        self.below: list[_Cgroup] = []

    def line(self) -> "Iterator[_Cgroup]":
        """Yield it and all above it, kubepods last."""
        each: _Cgroup | None = self
        while each is not None:
            yield each
            each = each.above

    def if_given(self, other: "_Cgroup", cpus: int) -> int:
        """Return what it would have if another, at or above it, were given `cpus`."""
        if self.above is None:
            return self.has
        return _effective_in(cpus if self is other else self.own, self.above.if_given(other, cpus))

    def needed_by_children(self, cpus: int) -> int:
        """Return the CPUs of those below that would have none left if it had only `cpus`."""
        held = 0
        for child in self.below:
            if child.above is self and child.target is not None:
                left = child.has & cpus
                held |= child.needed_by_children(left) if left else child.has
        return held

    def inheriting(self, cpus: int) -> "list[_Cgroup]":
        """Return those below that inherit their CPUs and must not follow to `cpus`, the lowest first.

        None of the CPUs in their own sets is available to them now. They may follow if none below would get
        more than it has now and its target.
        """
        below = [each for each in self.below if each.target is not None]
        if not any(each.if_given(self, cpus) & ~((each.target or 0) | each.has) for each in below):
            return []
        return [
            each
            for each in reversed(below)
            if each.own is not None and each.above is not None and not each.own & each.above.has
        ]


class _Projection:
    """All cgroups that have a target, below kubepods."""

    def __init__(self, pool: int, everything: int, seen: Mapping[CgroupRef, CgroupValues]) -> None:
        self.pool = pool
        self._seen = seen
        self.kubepods = _Cgroup(None, None, None)
        self.kubepods.has = everything
        self.kubepods.end = -1
        self._unattainable: list[tuple[_Cgroup, int]] = []
        self._targeted: list[_Cgroup] = []
        self._at: dict[CgroupRef | None, _Cgroup] = {None: self.kubepods}
        self._blocking: dict[_Cgroup, int] = {}

    def add(self, ref: CgroupRef, own: int | None, target: int) -> None:
        """Take in a cgroup, after those above it."""
        cgroup = self._place(ref, own, target)
        cgroup.target = cgroup.end
        if cgroup.end != target:
            self._unattainable.append((cgroup, target))
        self._targeted.append(cgroup)
        self._weigh(cgroup, cgroup.end)

    def _place(self, ref: CgroupRef, own: int | None, last: int | None) -> _Cgroup:
        """Put a cgroup, in which `last` is written at the end, below the one above it."""
        outer = parent(ref)
        above = self._at.get(outer)
        if above is None:
            above = self.kubepods if outer is None else self._place_unled(outer)
        cgroup = self._at[ref] = _Cgroup(ref, above, own)
        each: _Cgroup | None = above
        while each is not None:
            each.below.append(cgroup)
            each = each.above
        cgroup.has = _effective_in(own, above.has)
        cgroup.end = above.end if last is None else self._end(last, above)
        return cgroup

    def _place_unled(self, ref: CgroupRef) -> _Cgroup:
        """Put a cgroup without a target, which stays as it is, below the one above it."""
        values = self._seen.get(ref)
        own = None if values is None else values.cpus
        return self._place(ref, own, own)

    def _end(self, cpus: int, above: _Cgroup) -> int:
        online, within = self.kubepods.has, cpus & above.end
        return within if within & online else above.end & online

    def _refresh(self, cgroup: _Cgroup) -> None:
        """Compute what a cgroup has now."""
        has = _effective_in(cgroup.own, self.above(cgroup).has)
        if has != cgroup.has:
            cgroup.has = has
            if cgroup.target is not None:
                self._weigh(cgroup, cgroup.target)

    def _weigh(self, cgroup: _Cgroup, target: int) -> None:
        """Compute what a cgroup has beyond its target."""
        excess = cgroup.has & ~target
        if excess:
            self._blocking[cgroup] = excess
        elif cgroup.excess:
            del self._blocking[cgroup]
        cgroup.excess = excess

    def write(self, cgroup: _Cgroup, cpus: int) -> CgroupWrite:
        if cgroup.ref is None:
            raise ValueError("kubepods is never written")
        before, cgroup.own = cgroup.has, cpus
        self._refresh(cgroup)
        after = cgroup.has
        if after != before:
            for each in cgroup.below:
                self._refresh(each)
        gains, losses = CpuSet(after & ~before), CpuSet(before & ~after)
        return CgroupWrite(cgroup.ref, CpuSet(cpus), None, None, gains, losses)

    def unattainable(self) -> Iterator[CgroupWrite]:
        """Yield the writes of targets that are not attainable, when all others are reached."""
        for cgroup, target in self._unattainable:
            if cgroup.own != target:
                yield self.write(cgroup, target)

    @property
    def size(self) -> int:
        """How many cgroups have a target."""
        return len(self._targeted)

    def unfinished(self) -> list[_Cgroup]:
        return [cgroup for cgroup in self._targeted if cgroup.own != cgroup.target]

    def free_for(self, cgroup: _Cgroup, target: int, *, pool_too: bool) -> int:
        """Return the part of its target that it may have now; offline CPUs are never in the way.

        pool_too: not even CPUs of the shared pool that somebody has yet to leave.
        """
        free = target & (self.above(cgroup).has | ~self.kubepods.has)
        contested = free if pool_too else free & ~self.pool
        for other, cpus in self._blocking.items():
            if cpus & contested and cgroup not in other.line() and other not in cgroup.line():
                contested &= ~cpus
                free &= ~cpus if pool_too else ~cpus | self.pool
        return free

    def above(self, cgroup: _Cgroup) -> _Cgroup:
        return cgroup.above or self.kubepods


def _effective_in(own: int | None, above: int) -> int:
    """Return what cgroup v2 makes of a set below another: without a common CPU, all of that other."""
    return above if own is None else own & above or above


def _writes(projection: _Projection) -> Iterator[CgroupWrite]:
    # Terminates: each write widens a set within its target, ends an excess, or pins a cgroup that inherits
    # for the widening that follows at once; only parking does neither, and happens once per cgroup.
    parked: set[_Cgroup] = set()
    waiting = projection.unfinished()
    for _ in range(_ROUNDS + _ROUNDS * projection.size):
        moved = False
        for write in (*_shrink(projection, waiting), *_grow(projection, waiting)):
            moved = True
            yield write
        if not moved:
            shared = next(_grow(projection, waiting, pool_too=False), None)
            if shared is not None:
                yield shared
            else:
                yield from _unlock(projection, waiting, parked)
        waiting = projection.unfinished()
        if not waiting:
            return
    # Never seen, and better than a node on which nothing is written any more.
    yield from _at_once(projection, waiting)


def _shrink(projection: _Projection, waiting: list[_Cgroup]) -> Iterator[CgroupWrite]:
    children_first, own_ones = waiting[::-1], ~projection.pool
    followers = [each for each in children_first if not (each.target or 0) & own_ones]
    for cgroup in (*followers, *(each for each in children_first if (each.target or 0) & own_ones)):
        own, target, has = cgroup.own, cgroup.target or 0, cgroup.has
        keep = has & target
        if cgroup.below:
            keep |= cgroup.needed_by_children(keep)
        if own is None or own & ~(target | has):
            # More than it has now would become its own when the parent grows.
            yield projection.write(cgroup, keep or has)
        elif keep and own & ~(target | keep):
            yield projection.write(cgroup, keep)


def _grow(projection: _Projection, waiting: list[_Cgroup], *, pool_too: bool = True) -> Iterator[CgroupWrite]:
    everything = projection.kubepods.has
    for cgroup in waiting:
        own, target = cgroup.own, cgroup.target or 0
        if own == target:
            continue  # since it shrank
        may = projection.free_for(cgroup, target, pool_too=pool_too)
        may |= cgroup.needed_by_children(may)
        if target & everything and not may & everything:
            continue  # only offline ones: it would have all of its parent's
        has = own is not None and not own & ~(target | may) and not may & ~own
        if may and not has:
            for child in cgroup.inheriting(may):
                yield projection.write(child, child.has)
            yield projection.write(cgroup, may)


def _unlock(projection: _Projection, waiting: list[_Cgroup], parked: set[_Cgroup]) -> Iterator[CgroupWrite]:
    """Yield the moves to the shared pool that let others go on: none of one that can go on by then."""
    freed = 0
    for cgroup in waiting:
        shared = projection.pool & projection.above(cgroup).has
        blocks = cgroup.excess & ~projection.pool
        if not shared or not blocks or cgroup in parked or (cgroup.target or 0) & freed:
            continue
        if not cgroup.needed_by_children(shared):
            parked.add(cgroup)
            freed |= blocks
            yield projection.write(cgroup, shared)
    if not freed:
        # Only reached when no CPU of the pool is online: reaching the target is worth the overlap.
        yield from _at_once(projection, waiting[:1])


def _at_once(projection: _Projection, waiting: list[_Cgroup]) -> Iterator[CgroupWrite]:
    for cgroup in waiting:
        yield projection.write(cgroup, cgroup.target or 0)


def _with_mems_and_cpu_max(writes: list[CgroupWrite], there: Iterable[_There]) -> tuple[CgroupWrite, ...]:
    """Add memory nodes and cpu.max to the last write of their cgroup, or append a write of their own."""
    last: dict[CgroupRef, int] | None = None
    for cgroup, target, values in there:
        if target.mems is None and target.cpu_max is None:
            continue
        mems = target.mems if target.mems != values.mems else None
        cpu_max = None if has_quota(values.cpu_max, target.cpu_max) else target.cpu_max
        if mems is None and cpu_max is None:
            continue
        if last is None:
            last = {write.cgroup: number for number, write in enumerate(writes)}
        if cgroup not in last:
            writes.append(CgroupWrite(cgroup, mems=mems, cpu_max=cpu_max))
            continue
        write = writes[last[cgroup]]
        writes[last[cgroup]] = CgroupWrite(cgroup, write.cpus, mems, cpu_max, write.gains, write.losses)
    return tuple(writes)
