"""Merge the hints of CPUs, memory and devices into one NUMA node set.

The kubelet takes one hint from each list, in every combination, intersects them, and keeps the
best intersection. Here the combinations are never formed; the same result is found by asking
node sets, best first, whether any combination has them as its intersection.

Why that is the same. Which of two candidates is kept depends on the two alone, and the
comparison is a ranking: preferred before not preferred; among preferred ones the narrower
set; among the others, with b the size of the widest of the lists' narrowest sets, first sets of
b nodes, then the largest smaller ones, then the smallest larger ones; at equal sizes the lower
integer, or with prefer-closest the smaller average distance. So the result is the first
reachable set in that ranking:

* preferred and reachable: the very set is in every list and preferred in each of them;
* otherwise reachable: it is the intersection of one set of each list. Of the CPU list the
  largest set that still leaves the intersection right is the one to try, because that list is
  closed upwards; of the memory list, which is the same for all its resources, the smallest. The
  lists of devices are closed upwards, too, but each only among the nodes that have such devices.

Always true: without any hints every policy admits; a request that cannot be served makes
every result not preferred. In the kubelet: topologymanager/policy.go, `HintMerger`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain, islice
from operator import and_
from typing import NamedTuple, Protocol

from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.device_hints import DeviceHints
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.memory.hints import MemoryHints
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.numa_candidates import CandidateDemand, candidates
from podnuma.allocator.topology import Topology
from podnuma.allocator.topology_hint import NO_HINT, TopologyHint

SINGLE = TopologyManagerPolicy.SINGLE_NUMA_NODE

# Candidates (and sets of a memory list) looked at when nothing is preferred. Up to 12 NUMA nodes
# that is all of them; beyond, giving up means "all nodes, not preferred".
MAX_CANDIDATES = 5_000


class HintProvider(Protocol):
    """One hint list, as a predicate over node sets."""

    least: int
    """How many nodes the request would need on an empty machine."""

    @property
    def sizes(self) -> Sequence[int]:
        """The node counts that preferred sets can have, ascending."""

    def holds(self, nodes: int) -> bool:
        """Say whether a set is in the list."""

    def prefers(self, nodes: int) -> bool:
        """Say whether a set in the list is preferred."""

    def offers(self, size: int) -> tuple[CandidateDemand, ...]:
        """Return what sets of a size can be made of, on wide machines."""


class ProvidedHints(NamedTuple):
    """What is merged. A side is None without preference; `impossible`: something cannot be served at all."""

    cpu: CpuHints | None
    memory: MemoryHints | None
    impossible: bool
    devices: tuple[DeviceHints, ...] = ()


NO_DEVICES: tuple[DeviceHints, ...] = ()


class Merger:
    """The merge of one node: its topology policy, and whether distances decide between equals."""

    __slots__ = ("_closest", "_policy", "_topology")

    def __init__(self, topology: Topology, policy: TopologyManagerPolicy, *, closest: bool) -> None:
        self._topology = topology
        self._policy = policy
        self._closest = closest and policy is not SINGLE

    def merge(
        self,
        cpu: CpuHints | None,
        memory: MemoryHints | None,
        *,
        impossible: bool,
        devices: tuple[DeviceHints, ...] = NO_DEVICES,
    ) -> TopologyHint | None:
        """Return the merged hint, None when the policy refuses.

        A side is None when that side has no preference; `impossible` says that some resource
        cannot be served at all.
        """
        if self._policy is TopologyManagerPolicy.NONE:
            return NO_HINT
        if cpu is not None and not cpu.holds(cpu.universe):
            cpu, impossible = None, True
        if devices:
            served = tuple([one for one in devices if one.holds(one.universe)])
            devices, impossible = served, impossible or len(served) < len(devices)
        if impossible:
            return self._second_best(cpu, memory, devices)
        providers: list[HintProvider] = [provider for provider in (cpu, memory) if provider is not None]
        providers += devices
        best = self._preferred(providers)
        if best is None and memory is not None and memory.narrowest() == 0:
            # A memory list without any set says nothing, unlike an empty CPU list.
            providers.remove(memory)
            memory = None
            best = self._preferred(providers)
        if best is None:
            return self._second_best(cpu, memory, devices)
        if self._policy is SINGLE and best == self._topology.all_nodes:
            return TopologyHint(None, preferred=True)
        return TopologyHint(best, preferred=True)

    def _preferred(self, providers: list[HintProvider]) -> NodeSet | None:
        if not providers:
            return self._topology.all_nodes
        wide = self._topology.wide
        for size in self._sizes(providers):
            offers = [offer for provider in providers for offer in provider.offers(size)] if wide else []
            for nodes in candidates(self._topology, size, offers, closest=self._closest):
                for provider in providers:
                    if not (provider.prefers(nodes) and provider.holds(nodes)):
                        break
                else:
                    return nodes
        return None

    def _sizes(self, providers: list[HintProvider]) -> Iterator[int]:
        first, *others = providers
        for size in first.sizes:
            if size > 1 and self._policy is SINGLE:
                continue
            if all(size in provider.sizes for provider in others):
                yield size

    def _second_best(
        self, cpu: CpuHints | None, memory: MemoryHints | None, devices: tuple[DeviceHints, ...]
    ) -> TopologyHint | None:
        if self._policy is not TopologyManagerPolicy.BEST_EFFORT:
            return None
        if memory is not None and memory.narrowest() == 0:
            memory = None
        return TopologyHint(self._ranked(cpu, memory, devices), preferred=False)

    def _ranked(
        self, cpu: CpuHints | None, memory: MemoryHints | None, devices: tuple[DeviceHints, ...]
    ) -> NodeSet:
        every = self._topology.all_nodes
        providers = [provider for provider in (cpu, memory, *devices) if provider is not None]
        if not providers:
            return every
        start = max(provider.narrowest() for provider in providers)
        reach = _Reach(cpu, memory, devices)
        sizes = chain((start,), range(start - 1, 0, -1), range(start + 1, every.bit_count() + 1))
        ranked = chain.from_iterable(self._looked_at(size, providers) for size in sizes)
        return next((nodes for nodes in islice(ranked, MAX_CANDIDATES) if reach.holds(nodes)), every)

    def _looked_at(self, size: int, providers: Sequence[HintProvider]) -> Iterable[NodeSet]:
        if not self._topology.wide:
            return self._topology.node_sets(size, closest=self._closest)
        each = (candidates(self._topology, size, provider.offers(size)) for provider in providers)
        return sorted(set(chain.from_iterable(each)), key=self._rank)

    def _rank(self, nodes: NodeSet) -> tuple[float, NodeSet]:
        return (self._topology.average_distance(nodes) if self._closest else 0.0), nodes


class _Reach:
    """Which node sets are the intersection of one set of each list."""

    __slots__ = ("_closed", "_cpu", "_devices", "_memory", "_sets")

    def __init__(
        self, cpu: CpuHints | None, memory: MemoryHints | None, devices: tuple[DeviceHints, ...]
    ) -> None:
        self._cpu = cpu
        self._devices = devices
        self._closed: list[CpuHints | DeviceHints] = [*devices] if cpu is None else [*devices, cpu]
        self._memory = memory
        self._sets: list[NodeSet] | None = None

    def holds(self, nodes: NodeSet) -> bool:
        """Say whether `nodes` can be reached."""
        closed, memory = self._closed, self._memory
        if any(nodes & ~one.universe for one in closed):
            return False
        if memory is None:
            return any(one.holds(nodes) for one in closed) or self._left(nodes, -1, self._devices)
        if memory.holds(nodes):
            return True
        around = [other for other in self._memory_sets(memory) if other & nodes == nodes]
        if not around:
            return False
        if any(one.holds(nodes) for one in closed):
            return True
        return self._common(around, memory.resources, lambda other: self._left(nodes, other, self._devices))

    def _left(self, nodes: int, within: int, devices: Sequence[DeviceHints]) -> bool:
        """Say whether sets of the lists of devices and CPUs cut `within` down to exactly `nodes`."""
        cpu = self._cpu
        if not devices:
            return within == nodes if cpu is None else cpu.holds(nodes | cpu.universe & ~within)
        first, *others = devices
        if cpu is None and not others:
            return first.holds(nodes | first.universe & ~within)
        return any(
            self._left(nodes, within & one, others) for one in islice(first.around(nodes), MAX_CANDIDATES)
        )

    @staticmethod
    def _common(around: list[NodeSet], resources: int, enough: Callable[[int], bool]) -> bool:
        """Say whether an intersection of at most one set per resource is small enough."""
        if not enough(reduce(and_, around)):
            return False
        found: set[int] = set(around)
        for _ in range(resources):
            if any(enough(other) for other in found):
                return True
            found = {one & other for one in found for other in around} - found
        return False

    def _memory_sets(self, memory: MemoryHints) -> list[NodeSet]:
        if self._sets is None:
            self._sets = list(islice(memory.sets(), MAX_CANDIDATES))
        return self._sets
