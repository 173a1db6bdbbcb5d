"""The machine: which CPUs are threads of which core, in which socket, NUMA node and L3 cache.

A topology never changes; everything a decision asks of it is worked out once, as masks. One
object can serve any number of nodes that have the same hardware.

Always true: only online CPUs are listed; `offline` are others that the machine has, switched off. A core is
named by the lowest CPU id among its threads, whatever numbers the input used; CPUs of equal (socket, node,
core) are its threads.
The number of a cache is a label, up to 64 bits wide. CPUs without an uncore cache are in none:
where a decision goes cache by cache they count, socket by socket, as groups of their own. NUMA
nodes without CPUs (memory only) and without memory are both fine; ids may have gaps. Column i of
`distances` belongs to the i-th listed node. NUMA nodes in `unused` are listed, so that it is known what is
near them, and are in no set of nodes that is chosen. CPUs and memory `outside` are there, and the cgroup of
all pods lacks them: pods can have what `within_kubepods` has. In the kubelet: cpumanager/topology.

What the kernel does not tell is not guessed: CPUs in `unknown_siblings` stand here as cores of
one thread, and `check` refuses to give any CPU exclusively on such a machine. A negative socket
number means that the firmware does not tell the package.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, combinations
from types import MappingProxyType

from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.hardware import Cpu, NumaNode, TopologyError, check_facts, in_id_order
from podnuma.allocator.nodeset import NodeSet

__all__ = ["Cpu", "Element", "NumaNode", "Topology", "TopologyError"]

Element = tuple[int, int]  # (id, mask of the CPUs in it)

_ONE_KIND: Mapping[str, CpuSet] = MappingProxyType({})

# Above the number of any cache: the groups of CPUs without one, in the order of their sockets.
_WITHOUT_CACHE = 1 << 65

# Machines with more NUMA nodes are wide: 12 have 924 sets of 6.
WIDE = 12

# Node sets whose CPUs and members are remembered.
MAX_KNOWN = 4_096


@dataclass(frozen=True)
class Topology:
    """A machine. Make it with `build`. `isolated`, `unknown_siblings` and `outside` are subsets of its CPUs.

    `kinds` are names of kinds of cores with their CPUs, the fastest first; none where all cores are alike.
    """

    cpus: tuple[Cpu, ...]
    nodes: tuple[NumaNode, ...]
    isolated: CpuSet = cpuset.EMPTY
    unknown_siblings: CpuSet = cpuset.EMPTY
    kinds: tuple[tuple[str, CpuSet], ...] = ()
    unused: NodeSet = nodeset.EMPTY
    outside: CpuSet = cpuset.EMPTY
    outside_memory: NodeSet = nodeset.EMPTY
    offline: CpuSet = cpuset.EMPTY

    @staticmethod
    def build(
        cpus: Iterable[Cpu],
        nodes: Iterable[NumaNode],
        isolated: CpuSet = cpuset.EMPTY,
        unknown_siblings: CpuSet = cpuset.EMPTY,
        kinds: Mapping[str, CpuSet] = _ONE_KIND,
        offline: CpuSet = cpuset.EMPTY,
    ) -> "Topology":
        """Return the machine with these CPUs and nodes; of the other sets what is online counts.

        Raises TopologyError for no CPUs, doubled ids, CPUs on unlisted nodes, ids out of range
        and negative sizes.
        """
        listed = tuple(nodes)
        ordered = tuple(sorted(cpus, key=lambda cpu: cpu.id))
        check_facts(ordered, listed)
        lowest: dict[tuple[int, int, int], int] = {}
        for cpu in ordered:
            if not unknown_siblings >> cpu.id & 1:
                lowest.setdefault((cpu.socket, cpu.node, cpu.core), cpu.id)
        renamed = tuple(
            Cpu(
                cpu.id,
                cpu.id if unknown_siblings >> cpu.id & 1 else lowest[cpu.socket, cpu.node, cpu.core],
                cpu.socket,
                cpu.node,
                cpu.uncore,
            )
            for cpu in ordered
        )
        online = cpuset.of(cpu.id for cpu in ordered)
        return Topology(
            renamed,
            in_id_order(listed),
            CpuSet(isolated & online),
            CpuSet(unknown_siblings & online),
            tuple((name, CpuSet(members & online)) for name, members in kinds.items() if members & online),
            offline=CpuSet(offline & ~online),
        )

    def outside_kubepods(self, cpus: int, memory: int) -> "Topology":
        """Return this machine with CPUs, and NUMA nodes whose memory, the cgroup of all pods lacks."""
        with_memory = nodeset.of(node.id for node in self.nodes if node.memory)
        outside, lacking = CpuSet(cpus & self.all_cpus), NodeSet(memory & with_memory)
        if (outside, lacking) == (self.outside, self.outside_memory):
            return self
        return replace(self, outside=outside, outside_memory=lacking)

    def within_kubepods(self) -> "Topology":
        """Return this machine as if what is outside the cgroup of all pods were not there."""
        left = self.without(self.outside) if self.outside != self.all_cpus else self
        if not self.outside_memory:
            return left
        nodes = tuple(
            replace(node, memory=0, hugepages={}) if self.outside_memory >> node.id & 1 else node
            for node in left.nodes
        )
        return replace(left, nodes=nodes)

    def without(self, cpus: int) -> "Topology":
        """Return this machine as if these CPUs were offline. Raises TopologyError if none would be left."""
        if not cpus & self.all_cpus:
            return self
        left = [cpu for cpu in self.cpus if not cpus >> cpu.id & 1]
        return Topology.build(
            left, self.nodes, self.isolated, self.unknown_siblings, dict(self.kinds), self.offline
        )

    @cached_property
    def all_cpus(self) -> CpuSet:
        """Every online CPU."""
        return cpuset.of(cpu.id for cpu in self.cpus)

    def without_nodes(self, unused: NodeSet) -> "Topology":
        """Return this machine with these NUMA nodes unused."""
        return replace(self, unused=unused) if unused else self

    @cached_property
    def memory_only_nodes(self) -> NodeSet:
        """The NUMA nodes that have no CPUs."""
        return NodeSet(self.listed_nodes & ~self.cpu_nodes)

    @cached_property
    def listed_nodes(self) -> NodeSet:
        """Every NUMA node that the machine has."""
        return nodeset.of(node.id for node in self.nodes)

    @cached_property
    def all_nodes(self) -> NodeSet:
        """Every NUMA node that is used, with or without CPUs."""
        return NodeSet(self.listed_nodes & ~self.unused)

    @cached_property
    def cpu_nodes(self) -> NodeSet:
        """The NUMA nodes that have CPUs."""
        return nodeset.of(cpu.node for cpu in self.cpus)

    @cached_property
    def numa(self) -> tuple[Element, ...]:
        """NUMA nodes that have CPUs, ascending."""
        return self._elements("node")

    @cached_property
    def cpu_count_sums(self) -> tuple[int, ...]:
        """CPUs of the largest NUMA node, of the two largest together, and so on."""
        return tuple(accumulate(sorted((mask.bit_count() for _, mask in self.numa), reverse=True)))

    @cached_property
    def sockets(self) -> tuple[Element, ...]:
        """Sockets, ascending."""
        return self._elements("socket")

    @cached_property
    def cores(self) -> tuple[Element, ...]:
        """Cores, ascending by their lowest CPU."""
        return self._elements("core")

    @cached_property
    def caches(self) -> tuple[Element, ...]:
        """Uncore (L3) caches, ascending; CPUs in none of them have no such cache."""
        numbers = {cpu.uncore for cpu in self.cpus}
        return tuple((name, mask) for name, mask in self.uncores if name in numbers)

    @cached_property
    def uncores(self) -> tuple[Element, ...]:
        """Groups that a decision goes by: the caches, then the CPUs of each socket that have none."""
        return self._elements("uncore")

    @cached_property
    def numa_first(self) -> bool:
        """Whether a NUMA node is the widest level: at least as many sockets as nodes with CPUs."""
        return len(self.sockets) >= len(self.numa)

    @cached_property
    def per_core(self) -> int:
        """CPUs per core, the machine's average rounded down."""
        return len(self.cpus) // len(self.cores)

    @cached_property
    def equal_cores(self) -> bool:
        """Whether all cores have the same number of CPUs."""
        return len({mask.bit_count() for _, mask in self.cores}) == 1

    @cached_property
    def per_uncore(self) -> int:
        """CPUs per uncore group, the machine's average rounded down."""
        return len(self.cpus) // len(self.uncores)

    @cached_property
    def node_masks(self) -> dict[int, int]:
        """CPUs by NUMA node id; a memory-only node has 0."""
        return {node.id: 0 for node in self.nodes} | dict(self.numa)

    @cached_property
    def node_by_cpu(self) -> dict[int, int]:
        """NUMA node id by CPU id."""
        return {cpu.id: cpu.node for cpu in self.cpus}

    @cached_property
    def socket_by_node(self) -> dict[int, int]:
        """Socket of the lowest CPU of each NUMA node that has CPUs."""
        found: dict[int, int] = {}
        for cpu in self.cpus:
            found.setdefault(cpu.node, cpu.socket)
        return found

    def cpus_of_node(self, node: int) -> CpuSet:
        """Return the CPUs of one NUMA node; the empty set for a memory-only or unknown one."""
        return CpuSet(self.node_masks.get(node, 0))

    def node_of_cpu(self, cpu: int) -> int:
        """Return the NUMA node of a CPU. Raises KeyError for a CPU that is not online."""
        return self.node_by_cpu[cpu]

    def cpus_on(self, nodes: int) -> int:
        """Return the CPUs of a set of NUMA nodes."""
        known = self._cpus_on.get(nodes)
        if known is None:
            known = 0
            for node in nodeset.ids(nodes):
                known |= self.node_masks.get(node, 0)
            if len(self._cpus_on) < MAX_KNOWN:
                self._cpus_on[nodes] = known
        return known

    def members(self, nodes: int) -> tuple[int, ...]:
        """Return the ids in a node set, ascending."""
        known = self._members.get(nodes)
        if known is None:
            known = tuple(nodeset.ids(nodes))
            if len(self._members) < MAX_KNOWN:
                self._members[nodes] = known
        return known

    def nodes_of(self, cpus: int) -> NodeSet:
        """Return the NUMA nodes that have at least one of these CPUs."""
        nodes = 0
        for node, mask in self.numa:
            if mask & cpus:
                nodes |= 1 << node
        return NodeSet(nodes)

    def sockets_on(self, nodes: int) -> int:
        """Return the CPUs of all sockets that have a CPU on one of these NUMA nodes."""
        cpus = self.cpus_on(nodes)
        widened = 0
        for _, mask in self.sockets:
            if mask & cpus:
                widened |= mask
        return widened

    def whole_cores(self, cpus: int) -> CpuSet:
        """Return these CPUs and every sibling thread of theirs."""
        widened = 0
        for _, mask in self.cores:
            if mask & cpus:
                widened |= mask
        return CpuSet(widened)

    def within(self, outer: str, inner: str) -> dict[int, tuple[Element, ...]]:
        """Return, for each element of level `outer`, the elements of level `inner` that meet it.

        Levels are "node", "socket", "core", "uncore". An inner element's mask is that of the
        whole element, also where it reaches beyond the outer one.
        """
        key = (outer, inner)
        if key not in self._within:
            members: dict[int, set[int]] = {}
            for cpu in self.cpus:
                members.setdefault(_group(cpu, outer), set()).add(_group(cpu, inner))
            masks = dict(self._elements(inner))
            self._within[key] = {
                name: tuple((one, masks[one]) for one in sorted(found)) for name, found in members.items()
            }
        return self._within[key]

    @cached_property
    def wide(self) -> bool:
        """Whether there are too many NUMA nodes to look at all sets of them."""
        return self.all_nodes.bit_count() > WIDE

    def node_sets(self, size: int, *, closest: bool) -> tuple[NodeSet, ...]:
        """Return all sets of `size` NUMA nodes, best first: lowest integer, or smallest average distance.

        Only for machines that are not wide.
        """
        key = (size, closest)
        if key not in self._node_sets:
            found = [
                NodeSet(sum(chosen))
                for chosen in combinations([1 << node for node in nodeset.ids(self.all_nodes)], size)
            ]
            if closest:
                found.sort(key=lambda nodes: (self.average_distance(nodes), nodes))
            else:
                found.sort()
            self._node_sets[key] = tuple(found)
        return self._node_sets[key]

    def average_distance(self, nodes: int) -> float:
        """Return the mean distance over all ordered pairs of the set, each node with itself included."""
        places = [place for place, node in enumerate(self.nodes) if nodes >> node.id & 1]
        total = sum(self.nodes[one].distances[other] for one in places for other in places)
        return total / len(places) ** 2

    @cached_property
    def derived(self) -> dict[type, object]:
        """What other modules work out once per machine, by type."""
        return {}

    @cached_property
    def _cpus_on(self) -> dict[int, int]:
        return {}

    @cached_property
    def _members(self) -> dict[int, tuple[int, ...]]:
        return {}

    @cached_property
    def _within(self) -> dict[tuple[str, str], dict[int, tuple[Element, ...]]]:
        return {}

    @cached_property
    def _node_sets(self) -> dict[tuple[int, bool], tuple[NodeSet, ...]]:
        return {}

    def _elements(self, level: str) -> tuple[Element, ...]:
        masks: dict[int, int] = {}
        for cpu in self.cpus:
            name = _group(cpu, level)
            masks[name] = masks.get(name, 0) | 1 << cpu.id
        return tuple(sorted(masks.items()))


def _group(cpu: Cpu, level: str) -> int:
    """Return which element of a level a CPU is in."""
    name: int | None = getattr(cpu, level)
    return _WITHOUT_CACHE + cpu.socket if name is None else name
