"""Pick CPUs spread evenly over as few NUMA nodes as can hold them.

CPUs are dealt in groups of `group` (1, or a core's threads with full-pcpus-only). For a
growing number of nodes every combination is scored by how evenly it leaves the free CPUs of
the machine; each node of the best one gives the same even share, and what does not divide is
dealt round robin over the best subset of it.

An affinity is binding: of the nodes it names all are used, not as few as could hold the CPUs,
since something else (memory) needed that many (kubernetes/kubernetes#139430). Kubelets from v1.38 on do
the same, and for the slices of a pod as well.

Kubelets before v1.38 keep a combination in a buffer that later combinations with the same beginning
may write over (`_append`). With five NUMA nodes and more, what they finally use can therefore differ
from what was scored best; decisions for them are to be the same.

Always true: the work is bounded (at most MAX_TRIES combinations; dealing ends when a whole
round deals nothing), and where nothing usable is found the packed order is used, so the result
always has exactly `count` CPUs.
In the kubelet: cpumanager/cpu_assignment.go, `takeByTopologyNUMADistributed`.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import floor, inf, sqrt

from podnuma.allocator.cpu.order import Order
from podnuma.allocator.cpu.pack import packed
from podnuma.allocator.refusal import Refusal, not_enough_cpus

# All combinations with all their subsets are 6,561 for 8 NUMA nodes, 177,147 for 11.
MAX_TRIES = 200_000

_View = tuple[list[int], int]  # (cells, how many of them belong to the view)


@dataclass(frozen=True, slots=True)
class Dealing:
    """How CPUs are distributed: in groups of `group`, and whether NUMA nodes of one socket go first."""

    group: int
    by_socket: bool = False
    before_v1_38: bool = False


@dataclass(slots=True)
class _Best:
    """The combination remembered so far, and the subset of it that deals the remainder."""

    score: float = inf
    nodes: _View | None = None
    subset: _View | None = None
    one_socket: bool = False


class _Search:
    """One distribution: the machine, the free CPUs per NUMA node, what is wanted."""

    def __init__(self, order: Order, free: int, count: int, dealing: Dealing) -> None:
        self.order = order
        self.free = free
        self.count = count
        self.group = dealing.group
        self.by_socket = dealing.by_socket
        self.combinations = _kept_combinations if dealing.before_v1_38 else _combinations
        listed = order.numa_nodes(free)
        self.nodes = [node for _, node, _ in listed]
        self.left = {node: count for count, node, _ in listed}
        self.tries = 0

    def over_few(self, least: int) -> int | None:
        """Return the CPUs distributed over as few nodes as possible, None when no combination can serve.

        Fewer than `least` nodes are not tried, unless there are no more.
        """
        wanted = -(-self.count // self.group)
        groups = -(-self.order.cpu_count // self.group)
        per_node = -(-groups // len(self.order.nodes))
        fewest, most = -(-wanted // per_node), min(wanted, len(self.nodes))
        return self._over(range(max(fewest, least) if least <= most else fewest, most + 1))

    def over_all(self) -> int | None:
        """Return the CPUs distributed over all nodes that have free ones, None when that cannot be."""
        return self._over((len(self.nodes),))

    def _over(self, sizes: Iterable[int]) -> int | None:
        for size in sizes:
            best = _Best()
            for view in self.combinations(self.nodes, size):
                if best.score == 0 and (best.one_socket or not self.by_socket):
                    break
                self.tries += 1
                if self.tries > MAX_TRIES:
                    return None
                self._weigh(view, best)
            if best.nodes is not None:
                return self._take(best)
        return None

    def _weigh(self, view: _View, best: _Best) -> None:
        chosen = _read(view)
        group, left = self.group, self.left
        if sum(left[node] for node in chosen) < self.count:
            return
        if sum(left[node] // group for node in chosen) * group < self.count:
            return
        share = self._share(chosen) if self.by_socket else self._even_share(len(chosen))
        if any(left[node] < share for node in chosen):
            return
        after = dict(left)
        for node in chosen:
            after[node] -= share
        remainder = self.count - share * len(chosen)
        if remainder == 0:
            score, subset = _deviation(after.values()), None
        else:
            score, subset = self._best_subset(
                [node for node in chosen if after[node] >= group], after, remainder
            )
        self._keep(best, _Best(score, view, subset, self._within_socket(chosen)))

    def _keep(self, best: _Best, new: _Best) -> None:
        if new.score == inf:
            return
        if self.by_socket and best.nodes is not None and new.one_socket != best.one_socket:
            better = new.one_socket
        else:
            better = new.score < best.score
        if better:
            best.score, best.nodes = new.score, new.nodes
            best.subset, best.one_socket = new.subset, new.one_socket

    def _best_subset(
        self, usable: Sequence[int], after: dict[int, int], remainder: int
    ) -> tuple[float, _View | None]:
        score, kept = inf, None
        for size in range(len(usable), 0, -1):
            for view in self.combinations(usable, size):
                self.tries += 1
                if self.tries > MAX_TRIES:
                    return score, kept
                subset = _read(view)
                if sum(after[node] for node in subset) < remainder:
                    continue
                dealt = dict(after)
                if not _deal(dealt, subset, remainder, self.group):
                    continue
                found = _deviation(dealt.values())
                if found < score:
                    score, kept = found, view
        return score, kept

    def _take(self, best: _Best) -> int | None:
        """Take the CPUs of the remembered combination, as its buffer reads by now."""
        chosen = _read(best.nodes)
        share = self._share(chosen)
        got = 0
        for node in chosen:
            got |= self._pack(node, got, share)
        remainder = self.count - share * len(chosen)
        subset = _read(best.subset)
        while remainder > 0:
            before = remainder
            for node in subset:
                if remainder == 0:
                    break
                if (self._free_on(node) & ~got).bit_count() >= self.group:
                    got |= self._pack(node, got, self.group)
                    remainder -= self.group
            if remainder == before:
                return None
        return got if got.bit_count() == self.count else None

    def _pack(self, node: int, got: int, count: int) -> int:
        try:
            return packed(self.order, self._free_on(node) & ~got, count)
        except Refusal:
            return 0

    def _free_on(self, node: int) -> int:
        return self.order.node_masks[node] & self.free

    def _even_share(self, size: int) -> int:
        return self.count // size // self.group * self.group

    def _share(self, chosen: Sequence[int]) -> int:
        """Return the even share, lowered to what the poorest node can give in whole groups."""
        poorest = min(self.left[node] // self.group * self.group for node in chosen)
        return min(self._even_share(len(chosen)), poorest)

    def _within_socket(self, chosen: Sequence[int]) -> bool:
        return len({self.order.socket_by_node[node] for node in chosen}) == 1


def distributed(order: Order, available: int, count: int, dealing: Dealing, nodes: int = 0) -> int:
    """Return `count` of the available CPUs in groups. Raises Refusal if there are fewer.

    Combinations of fewer NUMA nodes than `nodes` are not tried, if so many have free CPUs. (Before
    v1.38 only `distributed_within` looks at how many there are to be.) With `by_socket`,
    combinations inside one socket go before all others of the same size.
    """
    if count % dealing.group:
        return packed(order, available, count)
    if count == 0:
        return 0
    free = available & order.all_cpus
    if count > free.bit_count():
        raise not_enough_cpus(count, available.bit_count())
    least = 0 if dealing.before_v1_38 else nodes
    got = _Search(order, free, count, dealing).over_few(least)
    return packed(order, available, count) if got is None else got


def distributed_within(order: Order, available: int, count: int, dealing: Dealing) -> int:
    """Return `count` of the CPUs of an affinity, from every NUMA node they are on if that can be.

    Raises Refusal if there are fewer.
    """
    free = available & order.all_cpus
    if 0 < count <= free.bit_count() and count % dealing.group == 0:
        got = _Search(order, free, count, dealing).over_all()
        if got is not None:
            return got
    return distributed(order, available, count, dealing)


def _combinations(nodes: Sequence[int], size: int) -> Iterator[_View]:
    """Yield views of every combination, lexicographic by position."""
    return ((list(chosen), size) for chosen in combinations(nodes, size))


def _kept_combinations(nodes: Sequence[int], size: int) -> Iterator[_View]:
    """Yield the same views, growing buffers as kubelets before v1.38 do."""

    def grow(view: _View, start: int, missing: int) -> Iterator[_View]:
        if missing == 0:
            yield view
            return
        for place in range(start, len(nodes) - missing + 1):
            yield from grow(_append(view, nodes[place]), place + 1, missing - 1)

    return grow(([], 0), 0, size)


def _append(view: _View, node: int) -> _View:
    """Append in place while there is room, else into a new buffer of twice the room.

    Room is 1, 2, 4, 8, ... cells; whoever appends to a view with room left writes into the same
    cells as every other one that did.
    """
    cells, length = view
    if length == len(cells):
        cells = [*cells, *([-1] * max(1, length))]
    cells[length] = node
    return cells, length + 1


def _read(view: _View | None) -> list[int]:
    return [] if view is None else view[0][: view[1]]


def _deal(left: dict[int, int], subset: Sequence[int], remainder: int, group: int) -> bool:
    """Deal `remainder` in groups over the subset; False when it cannot be dealt."""
    while remainder > 0:
        before = remainder
        for node in subset:
            if remainder > 0 and left[node] >= group:
                left[node] -= group
                remainder -= group
        if remainder == before:
            return False
    return True


def _deviation(values: Collection[int]) -> float:
    """Return the population standard deviation, rounded to 3 decimals in both steps."""
    mean = _rounded(sum(values) / len(values))
    return _rounded(sqrt(sum((value - mean) ** 2 for value in values) / len(values)))


def _rounded(value: float) -> float:
    # Halves go up; round() would take them to the even neighbour.
    scaled = value * 1000
    low = floor(scaled)
    return (low + 1 if scaled - low >= 0.5 else low) / 1000  # noqa: PLR2004
