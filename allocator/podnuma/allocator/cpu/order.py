"""In which order sockets, NUMA nodes, cores and caches are used up.

The sort rule on every level: fewest free CPUs first, then lowest id; elements without a free
CPU are left out. So what is already broken into is used up before anything whole is broken.

Two hierarchies: on machines with at least as many sockets as NUMA nodes (with CPUs), nodes
contain sockets ("NUMA first"); on all others sockets contain nodes. A list is a snapshot: it
belongs to the free set it was made from. In the kubelet: cpumanager/cpu_assignment.go, `numaFirst` and
`socketsFirst`.
"""

from collections.abc import Sequence

from podnuma.allocator.topology import Element, Topology

Sorted = list[tuple[int, int, int]]  # (free CPUs, id, mask of the whole element)


def by_free(elements: Sequence[Element], free: int) -> Sorted:
    """Apply the sort rule to elements of one level."""
    found = []
    for name, mask in elements:
        left = (mask & free).bit_count()
        if left:
            found.append((left, name, mask))
    found.sort()
    return found


class Order:
    """The levels of one machine, to be sorted by any free set. Shared by all nodes of its kind."""

    __slots__ = (
        "all_cpus",
        "cores",
        "cores_by_size_in",
        "cores_in",
        "cpu_count",
        "node_masks",
        "nodes",
        "nodes_in_socket",
        "numa_first",
        "per_core",
        "per_uncore",
        "smallest_node",
        "smallest_socket",
        "socket_by_node",
        "socket_ids",
        "sockets_in_node",
        "uncores_in_node",
    )

    def __init__(self, topology: Topology) -> None:
        self.all_cpus = int(topology.all_cpus)
        self.cpu_count = len(topology.cpus)
        self.numa_first = topology.numa_first
        self.per_core = topology.per_core
        self.per_uncore = topology.per_uncore
        self.cores = topology.cores
        self.nodes = topology.numa
        self.node_masks = topology.node_masks
        self.socket_by_node = topology.socket_by_node
        self.socket_ids = topology.sockets
        self.smallest_node = min(mask.bit_count() for _, mask in topology.numa)
        self.smallest_socket = min(mask.bit_count() for _, mask in topology.sockets)
        self.sockets_in_node = topology.within("node", "socket")
        self.nodes_in_socket = topology.within("socket", "node")
        self.uncores_in_node = topology.within("node", "uncore")
        self.cores_in = topology.within("socket" if self.numa_first else "node", "core")
        self.cores_by_size_in = {
            outer: tuple((size, mask) for size, _, mask in by_free(cores, self.all_cpus))
            for outer, cores in self.cores_in.items()
        }

    @staticmethod
    def of(topology: Topology) -> "Order":
        """Return the machine's one Order."""
        known = topology.derived.get(Order)
        if not isinstance(known, Order):
            known = topology.derived[Order] = Order(topology)
        return known

    def numa_nodes(self, free: int) -> Sorted:
        """NUMA nodes in order of use."""
        if self.numa_first:
            return by_free(self.nodes, free)
        return [
            node
            for _, socket, _ in by_free(self.socket_ids, free)
            for node in by_free(self.nodes_in_socket[socket], free)
        ]

    def sockets(self, free: int) -> Sorted:
        """Sockets in order of use."""
        if not self.numa_first:
            return by_free(self.socket_ids, free)
        return [
            socket
            for _, node, _ in by_free(self.nodes, free)
            for socket in by_free(self.sockets_in_node[node], free)
        ]

    def around_cores(self, free: int) -> Sorted:
        """Return the elements whose cores are used up one after the other: sockets, or NUMA nodes."""
        return self.sockets(free) if self.numa_first else self.numa_nodes(free)

    def uncores(self, free: int) -> Sorted:
        """Uncore caches in order of use; one that spans NUMA nodes appears once per node."""
        return [
            uncore
            for _, node, _ in self.numa_nodes(free)
            for uncore in by_free(self.uncores_in_node[node], free)
        ]
