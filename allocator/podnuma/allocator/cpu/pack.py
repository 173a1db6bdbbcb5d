"""Pick CPUs packed: whole NUMA nodes, whole sockets, (caches,) whole cores, then single threads.

Every step takes what fits entirely and leaves the rest of the need to the next, finer step;
the last one takes threads from the core that is broken into the most. *Spread* leaves out the
core step: one thread of every core of a socket, then the second of each. Caches: all that are
taken whole come before the first part of one.

Kubelets before v1.38 take the CPUs of a socket in plain id order when they spread, and look for whole
and partial caches in turn. `Style` says which way it is.

An element is whole when all CPUs it has are free. (The kubelet compares with the machine's
average, which goes wrong where cores or sockets are unequal; kubernetes/kubernetes#140495.)

Always true: the result is part of the available set and has exactly `count` CPUs; the
available set and the topology alone decide it.
In the kubelet: cpumanager/cpu_assignment.go, `takeByTopologyNUMAPacked`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from podnuma.allocator import cpuset
from podnuma.allocator.cpu.order import Order, by_free
from podnuma.allocator.refusal import not_enough_cpus


class _Hand:
    """One picking under way: what may be taken, how many are still wanted, what was taken."""

    __slots__ = ("free", "got", "need")

    def __init__(self, free: int, need: int) -> None:
        self.free = free
        self.need = need
        self.got = 0

    def take(self, cpus: int, count: int) -> None:
        self.got |= cpus
        self.free &= ~cpus
        self.need -= count

    def take_whole(self, elements: Iterable[tuple[int, int]]) -> None:
        """Take every (size, mask) of the list that is whole and not more than is wanted."""
        free, need = self.free, self.need
        for size, mask in elements:
            if size <= need and mask & free == mask:
                self.take(mask, size)
                free, need = self.free, self.need
                if need == 0:
                    return


@dataclass(frozen=True, slots=True)
class Style:
    """How CPUs are packed: spread over cores, by caches, and whether as kubelets before v1.38 did."""

    spread: bool = False
    caches: bool = False
    before_v1_38: bool = False


_PLAIN = Style()


def packed(order: Order, available: int, count: int, style: Style = _PLAIN) -> int:
    """Return `count` of the available CPUs. Raises Refusal if there are fewer."""
    if count == 0:
        return 0
    hand = _Hand(available & order.all_cpus, count)
    if count > hand.free.bit_count():
        raise not_enough_cpus(count, available.bit_count())
    _widest(order, hand)
    if style.caches and hand.need:
        (_caches_in_turn if style.before_v1_38 else _caches)(order, hand)
    if hand.need and not style.spread:
        for _, outer, _ in order.around_cores(hand.free):
            hand.take_whole(order.cores_by_size_in[outer])
            if hand.need == 0:
                break
    if hand.need:
        _threads(order, hand, style)
    return hand.got


def _widest(order: Order, hand: _Hand) -> None:
    steps = [
        (order.smallest_node, order.numa_nodes),
        (order.smallest_socket, order.sockets),
    ]
    if not order.numa_first:
        steps.reverse()
    for smallest, listing in steps:
        if hand.need >= smallest:
            hand.take_whole(
                [(left, mask) for left, _, mask in listing(hand.free) if left == mask.bit_count()]
            )


def _threads(order: Order, hand: _Hand, style: Style) -> None:
    for cpus in _last(order, hand.free, style):
        taken = cpuset.lowest(cpus, hand.need)
        hand.take(taken, taken.bit_count())
        if hand.need == 0:
            return


def _last(order: Order, free: int, style: Style) -> Iterator[int]:
    """Yield sets of CPUs, to be used up one after the other, each from its lowest CPU on."""
    if not style.spread:
        for _, outer, _ in order.around_cores(free):
            for _, _, core in by_free(order.cores_in[outer], free):
                yield core & free
        return
    for _, _, socket in order.sockets(free):
        yield from (socket & free,) if style.before_v1_38 else _round_robin(order, socket & free)


def _round_robin(order: Order, free: int) -> Iterator[int]:
    """Yield the lowest free thread of every core, fewest free first; then the second of each, and so on."""
    cores = [core & free for _, _, core in by_free(order.cores, free)]
    while cores:
        yield from (core & -core for core in cores)
        cores = [rest for core in cores if (rest := core & (core - 1))]


def _caches(order: Order, hand: _Hand) -> None:
    """Take whole caches while they fit, then the rest from one cache."""
    seen: set[int] = set()
    caches: list[tuple[int, int]] = []
    for left, name, cache in order.uncores(hand.free):
        if name not in seen:
            seen.add(name)
            caches.append((left, cache))
    hand.take_whole([(left, cache) for left, cache in caches if left == cache.bit_count()])
    for _, cache in caches:
        if hand.need == 0:
            return
        _part_of_cache(order, hand, cache)


def _caches_in_turn(order: Order, hand: _Hand) -> None:
    """Take caches as kubelets before v1.38: for each cache, all whole ones again, then a part of it."""
    for _, _, cache in order.uncores(hand.free):
        if hand.need >= order.per_uncore:
            hand.take_whole(
                [(left, mask) for left, _, mask in order.uncores(hand.free) if left == mask.bit_count()]
            )
        if hand.need:
            _part_of_cache(order, hand, cache)
        if hand.need == 0:
            return


def _part_of_cache(order: Order, hand: _Hand, cache: int) -> None:
    """Take cores of one cache if, from the lowest on, they make exactly what is wanted."""
    wanted = -(-hand.need // order.per_core)
    free = 0
    for _, mask in order.cores:
        if mask & hand.free & cache:
            free |= mask & hand.free
            wanted -= 1
            if wanted == 0:
                break
    if hand.need % 2 and order.per_core > 1 and free.bit_count() > hand.need:
        free ^= 1 << (free.bit_length() - 1)
    if free.bit_count() == hand.need:
        hand.take(free, hand.need)
