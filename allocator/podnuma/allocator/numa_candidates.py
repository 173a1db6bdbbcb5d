"""Which sets of NUMA nodes are looked at, and in which order.

On machines of up to 12 nodes all of them (at most 924 of one size), best first: the lowest
integer, or the smallest average distance. Beyond, there are too many to look at: sets are built from
the highest node down, in the order of their integers, and a branch is cut as soon as even the
richest nodes left could not serve a demand. With one demand every set that comes out serves;
with several, nearly all do.

Always true: candidates of one size come in a fixed order and each at most once; on wide machines
the work per size is bounded by MAX_STEPS, after which the enumeration ends early, so a set may
be missed there, but never a wrong one taken: who asks still tests each candidate.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.topology import Topology

MAX_STEPS = 20_000

Demand = tuple[Mapping[int, int], int]
"""(what each node can give, how much is wanted)"""


@dataclass(frozen=True, slots=True)
class CandidateDemand:
    """What a hint provider demands: nodes its sets are made of, amounts, and sets beside those (groups)."""

    members: int
    demands: tuple[Demand, ...]
    groups: tuple[int, ...] = ()


def candidates(
    topology: Topology, size: int, offers: Sequence[CandidateDemand], *, closest: bool = False
) -> Iterable[NodeSet]:
    """Return sets of `size` nodes, best first, among them every set that serves all offers.

    On wide machines as many as bounded work finds. `offers` matter only there.
    """
    if not topology.wide:
        return topology.node_sets(size, closest=closest)
    members = int(topology.all_nodes)
    for offer in offers:
        members &= offer.members
    demands = [demand for offer in offers for demand in offer.demands]
    groups = {NodeSet(group) for offer in offers for group in offer.groups if group.bit_count() == size}
    found = _serving(topology.members(members), size, demands)
    ordered = merge(found, sorted(group for group in groups if group & ~members))
    if closest:
        return sorted(ordered, key=lambda nodes: (topology.average_distance(nodes), nodes))
    return ordered


def _serving(members: Sequence[int], size: int, demands: Sequence[Demand]) -> Iterator[NodeSet]:
    if size > len(members):
        return iter(())
    search = _Search(members, size, demands)
    return (NodeSet(found) for found in search.below(len(members), size, [want for _, want in demands]))


class _Search:
    """One enumeration over members, ascending node ids."""

    def __init__(self, members: Sequence[int], size: int, demands: Sequence[Demand]) -> None:
        self.members = members
        self.gives = [[offer.get(node, 0) for node in members] for offer, _ in demands]
        self.most = [_richest(gives, size) for gives in self.gives]
        self.steps = 0

    def below(self, limit: int, size: int, wanted: Sequence[int]) -> Iterator[int]:
        """Yield sets of `size` of the first `limit` members that may give what is wanted."""
        if size == 0:
            yield 0
            return
        for place in range(size - 1, limit):
            self.steps += 1
            if self.steps > MAX_STEPS:
                return
            left = [want - gives[place] for want, gives in zip(wanted, self.gives, strict=True)]
            if all(most[place][size - 1] >= want for most, want in zip(self.most, left, strict=True)):
                for rest in self.below(place, size - 1, left):
                    yield 1 << self.members[place] | rest


def _richest(gives: Sequence[int], size: int) -> list[list[int]]:
    """Return, for the first n members, what their k richest can give together: [n][k]."""
    table: list[list[int]] = []
    best: list[int] = []
    for give in gives:
        sums = [0]
        for amount in best[:size]:
            sums.append(sums[-1] + amount)
        table.append(sums)
        best = sorted([*best, give], reverse=True)
    return table
