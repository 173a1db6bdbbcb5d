"""Which NUMA node sets can give a number of CPUs.

The hint list of the kubelet is not written out. It is a predicate: a node set is in it when
the free CPUs on it suffice, and it holds every CPU that is to be used again. So the list is
closed upwards: with a set, every larger set of CPU nodes is in it too.

A set is preferred when it has as few nodes as the count would need on an empty machine,
reserved and busy CPUs counted in; with align-by-socket also when it touches as few sockets as
that number of nodes needs. In the kubelet: cpumanager/policy_static.go, `generateCPUTopologyHints`.
"""

from bisect import bisect_left
from collections.abc import Sequence

from podnuma.allocator import nodeset
from podnuma.allocator.manager_settings import CpuOptions
from podnuma.allocator.numa_candidates import CandidateDemand
from podnuma.allocator.topology import Topology


class CpuHints:
    """A request for `count` CPUs, out of `available` or, on all their nodes, `reusable` ones."""

    __slots__ = ("_available", "_must", "_per_socket", "_topology", "_wanted", "least")

    def __init__(
        self, topology: Topology, options: CpuOptions, available: int, reusable: int, count: int
    ) -> None:
        self._topology = topology
        self._available = available
        self._must = int(topology.nodes_of(reusable)) if reusable else 0
        self._wanted = count - reusable.bit_count()
        self._per_socket = len(topology.numa) // len(topology.sockets) if options.align_by_socket else None
        sums = topology.cpu_count_sums
        self.least = min(bisect_left(sums, count) + 1, len(sums))

    @property
    def sizes(self) -> Sequence[int]:
        """How many nodes preferred sets can have; any number when it is sockets that count."""
        return (self.least,) if self._per_socket is None else range(1, len(self._topology.numa) + 1)

    @property
    def universe(self) -> int:
        """The nodes that sets of the list are made of."""
        return self._topology.cpu_nodes

    def holds(self, nodes: int) -> bool:
        """Say whether a node set is in the list."""
        topology = self._topology
        return (
            (topology.cpus_on(nodes) & self._available).bit_count() >= self._wanted
            and not self._must & ~nodes
            and not nodes & ~topology.cpu_nodes
        )

    def prefers(self, nodes: int) -> bool:
        """Say whether a node set in the list is preferred."""
        if nodes.bit_count() == self.least:
            return True
        if not self._per_socket or nodes & ~self._topology.cpu_nodes:
            return False
        sockets = {self._topology.socket_by_node[node] for node in nodeset.ids(nodes)}
        return len(sockets) == -(-self.least // self._per_socket)

    def offers(self, _size: int) -> tuple[CandidateDemand, ...]:
        """Return what sets of the list can be made of; nothing where all sets are looked at anyway."""
        topology = self._topology
        if not topology.wide:
            return ()
        free = {node: (mask & self._available).bit_count() for node, mask in topology.numa}
        return (CandidateDemand(topology.cpu_nodes, ((free, self._wanted),)),)

    def narrowest(self) -> int:
        """Return the number of nodes of the smallest set in the list, 0 when the list is empty."""
        if not self.holds(self.universe):
            return 0
        have, size = 0, 0
        rest = []
        for node, mask in self._topology.numa:
            free = (mask & self._available).bit_count()
            if self._must >> node & 1:
                have, size = have + free, size + 1
            else:
                rest.append(free)
        rest.sort()
        while have < self._wanted or size == 0:
            have, size = have + rest.pop(), size + 1
        return size
