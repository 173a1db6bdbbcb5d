"""What every NUMA node has, per memory resource, and how much of it is charged.

`MemoryCapacity` is what does not change: totals, reservations, what can be allocated. `NumaMemoryMap` is the
rest: free amounts, how many assignments a node carries, and its *group*. Nodes are used either
alone or in a group: a block over several nodes makes them one group, and until the last
assignment is gone none of them serves anything but that very group.

Always true, for every resource: free + reserved + others = allocatable, on each node; a block over
several nodes is charged to the lowest node first. When a grant is adopted that no longer fits
(its nodes have less memory now), the rest is charged to its last node, whose free amount is
then below zero: nothing is forgotten. A resource that a node lacks counts as 0 there.

Kept apart is what others `took` (`memory.others`): pages that are gone although nobody was charged with
them. They are missing from what is left for a new pod, as far as they are more than what is reserved
for the system, and from nothing else: charging and giving back never look at them.
In the kubelet: memorymanager/state (`NUMANodeMap`), and `getDefaultMachineState`, `updateMachineState` and
`releaseMemory` of memorymanager/policy_static.go.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain
from types import MappingProxyType

from podnuma.allocator.manager_settings import ManagerSettings, MemoryManagerPolicy
from podnuma.allocator.memory.others import NONE, OthersPages
from podnuma.allocator.request import MEMORY
from podnuma.allocator.topology import Topology

NOTHING: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MemoryAmounts:
    """One memory resource of one NUMA node, in bytes."""

    total: int
    system_reserved: int
    allocatable: int


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """One memory resource of one NUMA node, in bytes, with what is charged and what `others` took."""

    total: int
    system_reserved: int
    allocatable: int
    reserved: int
    free: int
    others: int = 0


class MemoryCapacity:
    """The unchanging side: amounts by NUMA node and resource. One object serves equal nodes."""

    __slots__ = ("_sums", "cpu_nodes", "nodes", "topology")

    nodes: dict[int, Mapping[str, MemoryAmounts]]

    def __init__(self, settings: ManagerSettings, topology: Topology) -> None:
        kept: dict[int, dict[str, int]] = {}
        if settings.memory_manager_policy is MemoryManagerPolicy.STATIC:
            # Where one node is listed twice for a resource, the later amount counts.
            for entry in settings.reserved_memory:
                kept.setdefault(entry.node, {}).update(entry.limits)
        self.topology = topology
        self.cpu_nodes = topology.cpu_nodes
        self.nodes = {}
        for node in (one for one in topology.nodes if topology.all_nodes >> one.id & 1):
            reserved = kept.get(node.id, {})
            memory = reserved.get(MEMORY, 0)
            # Memory that the cgroup of all pods lacks is neither usable nor missing, reserved or not.
            usable = node.memory - memory - sum(node.hugepages.values()) if node.memory else 0
            self.nodes[node.id] = {MEMORY: MemoryAmounts(node.memory, memory, usable)} | {
                resource: MemoryAmounts(total, reserved.get(resource, 0), total - reserved.get(resource, 0))
                for resource, total in node.hugepages.items()
            }
        self._sums: dict[tuple[str, bool], list[int]] = {}

    def allocatable(self, nodes: int, resource: str) -> int:
        """Return what a node set could give if nothing were charged."""
        amounts = (self.nodes[node].get(resource) for node in self.topology.members(nodes))
        return sum(amount.allocatable for amount in amounts if amount is not None)

    def by_node(self, resource: str) -> dict[int, int]:
        """Return what each NUMA node could give of a resource if nothing were charged."""
        return {
            node: amounts[resource].allocatable for node, amounts in self.nodes.items() if resource in amounts
        }

    def sums(self, resource: str, *, with_cpus: bool) -> list[int]:
        """Return allocatable of the largest node, of the two largest, ...; all nodes, or those with CPUs."""
        key = (resource, with_cpus)
        if key not in self._sums:
            members = self.topology.members(self.cpu_nodes if with_cpus else self.topology.all_nodes)
            found = sorted((self.allocatable(1 << node, resource) for node in members), reverse=True)
            self._sums[key] = list(accumulate(found))
        return self._sums[key]


class NumaMemoryMap:
    """The changing side: `free[resource][node]` bytes, `assignments[node]`, `groups[node]` as a node set.

    `taken[resource][node]`: bytes that others took beyond what is reserved for them.
    """

    __slots__ = ("assignments", "free", "groups", "layout", "taken")

    def __init__(self, layout: MemoryCapacity) -> None:
        self.layout = layout
        self.assignments = dict.fromkeys(layout.nodes, 0)
        self.groups = {node: 1 << node for node in layout.nodes}
        self.free: dict[str, dict[int, int]] = {}
        for node, amounts in layout.nodes.items():
            for resource, amount in amounts.items():
                self.free.setdefault(resource, {})[node] = amount.allocatable
        self.taken = NONE

    def copy(self) -> "NumaMemoryMap":
        """Return tables that can be changed without changing these."""
        twin = NumaMemoryMap.__new__(NumaMemoryMap)
        twin.layout = self.layout
        twin.assignments = self.assignments.copy()
        twin.groups = self.groups.copy()
        twin.free = {resource: left.copy() for resource, left in self.free.items()}
        twin.taken = self.taken
        return twin

    def state(self) -> Hashable:
        """Return all that changes here, as one value."""
        taken = self.taken and tuple((name, *sizes.items()) for name, sizes in self.taken.items())
        return (
            *self.assignments.values(),
            *self.groups.values(),
            *chain.from_iterable([left.values() for left in self.free.values()]),
            taken or (),
        )

    def others_have(self, pages: OthersPages) -> None:
        """Take note of the pages that others have in use; those reserved for the system are theirs anyway."""
        self.taken = {
            resource: beyond
            for resource, by_node in sorted(pages.items())
            if (beyond := self._beyond_reserved(resource, by_node))
        }

    def _beyond_reserved(self, resource: str, by_node: Mapping[int, int]) -> dict[int, int]:
        found = {}
        for node, size in sorted(by_node.items()):
            amount = self.layout.nodes.get(node, {}).get(resource)
            if amount is not None and size > amount.system_reserved:
                found[node] = min(size, amount.total) - amount.system_reserved
        return found

    def left(self, resource: str) -> Mapping[int, int]:
        """Return what each NUMA node has left of a resource for a new pod."""
        free, taken = self.free.get(resource, NOTHING), self.taken.get(resource)
        if not taken:
            return free
        return {node: size - taken.get(node, 0) for node, size in free.items()}

    def free_on(self, nodes: int, resource: str) -> int:
        """Return the bytes of a resource that a node set has left for a new pod."""
        left = self.left(resource) if self.taken else self.free.get(resource, NOTHING)
        return sum([left.get(node, 0) for node in self.layout.topology.members(nodes)])

    def uncharged_on(self, nodes: int, resource: str) -> int:
        """Return the bytes of a resource on a node set that no grant is charged with, whoever uses them."""
        free = self.free.get(resource, NOTHING)
        return sum([free.get(node, 0) for node in self.layout.topology.members(nodes)])

    def most(self, resource: str) -> int:
        """Return an upper bound of what any node set has left."""
        return sum([max(left, 0) for left in self.left(resource).values()])

    def usable_group(self, nodes: int) -> bool:
        """Say whether no node of a set of several is tied to anything but this very set."""
        assignments, groups = self.assignments, self.groups
        for node in self.layout.topology.members(nodes):
            if assignments[node] and groups[node] != nodes:
                return False
        return True

    def charge(self, nodes: int, resource: str, size: int) -> None:
        """Charge `size` bytes to a node set, lowest node first; the nodes become one group."""
        left = self.free.get(resource, {})
        last = None
        for node in self.layout.topology.members(nodes & self.layout.topology.all_nodes):
            self.assignments[node] += 1
            self.groups[node] = nodes
            if node in left:
                last = node
                taken = min(max(left[node], 0), size)
                left[node] -= taken
                size -= taken
        if size and last is not None:
            left[last] -= size

    def give_back(self, nodes: int, resource: str, size: int) -> None:
        """Undo a charge of `size` bytes, lowest node first; a node without assignments leaves its group."""
        left = self.free.get(resource, {})
        for node in self.layout.topology.members(nodes & self.layout.topology.all_nodes):
            self.assignments[node] -= 1
            if self.assignments[node] == 0:
                self.groups[node] = 1 << node
            if node in left:
                given = min(self.layout.nodes[node][resource].allocatable - left[node], size)
                left[node] += given
                size -= given

    def rows(self, node: int) -> dict[str, MemoryTable]:
        """Return one node's table, by resource; nothing for a node that is not used."""
        found = {}
        for resource, amount in self.layout.nodes.get(node, {}).items():
            free, others = self.free[resource][node], self.taken.get(resource, NOTHING).get(node, 0)
            found[resource] = MemoryTable(
                amount.total,
                amount.system_reserved,
                amount.allocatable,
                amount.allocatable - free,
                free - others,
                others,
            )
        return found
