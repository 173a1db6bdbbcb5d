"""Which NUMA node sets can give amounts of memory.

As on the CPU side the hint list is a predicate, not a list. A single node is in it when it is
in no group and has enough free; a set of several when none of its nodes is tied to anything
else and together they have enough free. All resources of a request share one list.

A set is preferred when it has as few nodes as the request would need on a machine without
pods, counting what can be allocated. On a machine that has nodes without CPUs (persistent
memory, memory of accelerators), a set of nodes with CPUs is preferred too when it has as few
nodes as these alone would need: else one large node without CPUs would make every set with
CPUs second best, and restricted policies would refuse everything.

In the kubelet: memorymanager/policy_static.go, `calculateHints`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from podnuma.allocator.eligibility import Bytes
from podnuma.allocator.memory.memory_map import MemoryCapacity, NumaMemoryMap
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.numa_candidates import CandidateDemand, candidates

Reusable = Mapping[tuple[int, str], int]
"""Bytes of earlier init containers of the same pod that can be used again, by (node set, resource)."""


class MemoryHints:
    """A request for amounts of memory resources, all on the same node set."""

    __slots__ = ("_request", "_reusable", "_tables", "least", "least_with_cpus")

    def __init__(self, tables: NumaMemoryMap, request: Bytes, reusable: Reusable) -> None:
        self._tables = tables
        self._request = request
        self._reusable = reusable
        layout = tables.layout
        self.least = self.least_with_cpus = fewest(layout, request, with_cpus=False)
        if layout.cpu_nodes != layout.topology.all_nodes:
            self.least_with_cpus = fewest(layout, request, with_cpus=True)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many nodes preferred sets can have."""
        return (self.least,) if self.least == self.least_with_cpus else (self.least, self.least_with_cpus)

    @property
    def universe(self) -> int:
        """The nodes that sets of the list are made of."""
        return self._tables.layout.topology.all_nodes

    @property
    def resources(self) -> int:
        """How many resources ask with this one list."""
        return len(self._request)

    def holds(self, nodes: int) -> bool:
        """Say whether a node set is in the list."""
        tables = self._tables
        if nodes & (nodes - 1):
            if not tables.usable_group(nodes):
                return False
        elif tables.groups[nodes.bit_length() - 1] != nodes:
            return False
        reusable = self._reusable
        for resource, size in self._request.items():
            free = tables.free_on(nodes, resource)
            if reusable:
                free += reusable.get((nodes, resource), 0)
            if free < size:
                return False
        return True

    def prefers(self, nodes: int) -> bool:
        """Say whether a node set in the list is preferred."""
        size = nodes.bit_count()
        if size == self.least:
            return True
        return size == self.least_with_cpus and not nodes & ~self._tables.layout.cpu_nodes

    def narrowest(self) -> int:
        """Return the number of nodes of the smallest set in the list, 0 when the list is empty."""
        for resource, size in self._request.items():
            if not self._reusable and self._tables.most(resource) < size:
                return 0
        return next((nodes.bit_count() for nodes in self.sets()), 0)

    def sets(self) -> Iterator[NodeSet]:
        """Yield the list itself, smallest sets first."""
        topology = self._tables.layout.topology
        for size in range(1, len(topology.nodes) + 1):
            for nodes in candidates(topology, size, self.offers(size)):
                if self.holds(nodes):
                    yield nodes

    def offers(self, size: int) -> tuple[CandidateDemand, ...]:
        """Return what sets of a size can be made of; nothing where all sets are looked at anyway."""
        tables = self._tables
        if not tables.layout.topology.wide:
            return ()
        alone = 0
        for node, group in tables.groups.items():
            if group == 1 << node and (size == 1 or not tables.assignments[node]):
                alone |= group
        demands = tuple((tables.left(name), wanted) for name, wanted in self._request.items())
        return (CandidateDemand(alone, demands, tuple(set(tables.groups.values()))),)

    def best(self, around: int = 0) -> tuple[NodeSet, bool] | None:
        """Return the best set of the list that contains `around`, and whether it is preferred.

        Preferred goes before not preferred, then the narrower one; None when there is no set.
        """
        topology = self._tables.layout.topology
        for size in self.sizes:
            for nodes in candidates(topology, size, self.offers(size)):
                if nodes & around == around and self.prefers(nodes) and self.holds(nodes):
                    return nodes, True
        found = next((nodes for nodes in self.sets() if nodes & around == around), None)
        return None if found is None else (found, False)


def fewest(layout: MemoryCapacity, request: Bytes, *, with_cpus: bool) -> int:
    """Return the node count of the smallest set that could serve a request if nothing were charged.

    Of all nodes, or of those with CPUs. The number of all nodes when no set could.
    """
    members = layout.cpu_nodes if with_cpus else layout.topology.all_nodes
    bound = 1
    for resource, size in request.items():
        sums = layout.sums(resource, with_cpus=with_cpus)
        bound = max(bound, bisect_left(sums, size) + 1)
    if len(request) > 1:
        for count in range(bound, members.bit_count() + 1):
            offer = CandidateDemand(
                members, tuple((layout.by_node(name), wanted) for name, wanted in request.items())
            )
            for nodes in candidates(layout.topology, count, (offer,)):
                if nodes & ~members == 0 and _could_serve(layout, nodes, request):
                    return count
    elif bound <= members.bit_count():
        return bound
    return len(layout.nodes)


def _could_serve(layout: MemoryCapacity, nodes: int, request: Bytes) -> bool:
    return all(layout.allocatable(nodes, resource) >= size for resource, size in request.items())
