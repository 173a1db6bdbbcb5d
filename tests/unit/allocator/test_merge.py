"""The merge equals the full product of the hint lists, fold by fold; specification, sections 5.2 to 5.4."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.device_hints import DeviceHints
from podnuma.allocator.manager_settings import CpuOptions, ManagerSettings, TopologyManagerPolicy
from podnuma.allocator.memory.hints import MemoryHints
from podnuma.allocator.memory.memory_map import MemoryCapacity, NumaMemoryMap
from podnuma.allocator.merge import Merger
from podnuma.allocator.request import Device, DeviceRequest
from podnuma.allocator.topology import NumaNode
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator.shapes import from_cores, node_sets, unhurried

BEST_EFFORT = TopologyManagerPolicy.BEST_EFFORT
RESTRICTED = TopologyManagerPolicy.RESTRICTED
SINGLE = TopologyManagerPolicy.SINGLE_NUMA_NODE

DISTANCES = [(10, 11, 12, 12), (11, 10, 12, 12), (12, 12, 10, 11), (12, 12, 11, 10)]


class Listed:
    """A hint list written out, with the methods of both kinds of provider."""

    def __init__(self, every, hints, resources=1):
        self._hints = hints
        self.universe = every
        self.resources = resources
        self.sizes = tuple(sorted({mask.bit_count() for mask, preferred in hints.items() if preferred}))

    def holds(self, mask):
        return mask in self._hints

    def prefers(self, mask):
        return self._hints.get(mask, False)

    def narrowest(self):
        return min((mask.bit_count() for mask in self._hints), default=0)

    def sets(self):
        return iter(sorted(self._hints, key=lambda mask: (mask.bit_count(), mask)))


class Product:
    """The merge as the specification says it: one hint of each list, in every combination."""

    def __init__(self, topology, policy, lists, *, closest):
        self.topology = topology
        self.policy = policy
        self.every = topology.all_nodes
        self.closest = closest and policy is not SINGLE
        self.lists = lists
        if policy is SINGLE:
            self.lists = [[hint for hint in one if hint[1] and _single(hint[0])] for one in lists]
        self.narrowest = max(
            (min((mask.bit_count() for mask, _ in one if mask), default=0) for one in self.lists), default=0
        )

    def merged(self):
        current = None
        for taken in product(*self.lists):
            mask = self.every
            for one, _ in taken:
                mask &= self.every if one is None else one
            named = {one for one, _ in taken if one is not None}
            if mask:
                candidate = mask, all(flag for _, flag in taken) and len(named) <= 1
                current = candidate if current is None else self.better(current, candidate)
        mask, preferred = current or (self.every, False)
        if self.policy is not BEST_EFFORT and not preferred:
            return None
        if self.policy is SINGLE and mask == self.every:
            return TopologyHint(None, preferred)
        return TopologyHint(nodeset.NodeSet(mask), preferred)

    def better(self, kept, other):
        if kept[1] != other[1]:
            return kept if kept[1] else other
        have, new = kept[0].bit_count(), other[0].bit_count()
        if kept[1] or have > self.narrowest or have == new:
            return self.fitter(kept, other)
        if have == self.narrowest or new > self.narrowest:
            return kept
        return other if new > have else kept

    def fitter(self, kept, other):
        if kept[0].bit_count() != other[0].bit_count():
            return min(kept, other, key=lambda hint: hint[0].bit_count())
        if self.closest:
            return min(kept, other, key=lambda hint: (self.topology.average_distance(hint[0]), hint[0]))
        return min(kept, other)


def _single(mask):
    return mask is None or mask.bit_count() == 1


def machine(cpu_counts, memories, distances=None):
    places = iter(range(sum(cpu_counts)))
    cores = [
        ((next(places),), node // 2, node, None)
        for node, count in enumerate(cpu_counts)
        for _ in range(count)
    ]
    return from_cores(
        cores,
        [
            NumaNode(node, memory, pages, distances[node] if distances else ())
            for node, (memory, pages) in enumerate(memories)
        ],
    )


@st.composite
def nodes(draw):
    """A machine of up to 5 NUMA nodes with some CPUs busy, some memory charged, some nodes grouped."""
    count = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count).filter(any))
    memories = [
        (draw(st.integers(4, 12)), {"hugepages-2Mi": draw(st.integers(0, 4))} if draw(st.booleans()) else {})
        for _ in range(count)
    ]
    distances = [
        tuple(10 if one == other else draw(st.sampled_from([11, 12, 20])) for other in range(count))
        for one in range(count)
    ]
    topology = machine(sizes, memories, distances)
    tables = NumaMemoryMap(MemoryCapacity(ManagerSettings(), topology))
    for _ in range(draw(st.integers(0, 3))):
        group = draw(st.integers(1, topology.all_nodes))
        if all(tables.groups[node] in (1 << node, group) for node in nodeset.ids(group)) and (
            tables.usable_group(group)
        ):
            tables.charge(group, "memory", min(draw(st.integers(0, 6)), tables.free_on(group, "memory")))
    busy = draw(st.integers(0, topology.all_cpus))
    return topology, tables, topology.all_cpus & ~busy


@st.composite
def wishes(draw):
    """Up to two device requests: where the devices are, which of them are free, how many are wanted."""
    found = []
    for number in range(draw(st.integers(0, 2))):
        attached = draw(st.lists(st.integers(1, 31), min_size=1, max_size=5))
        every = tuple(Device(str(place), nodeset.NodeSet(mask)) for place, mask in enumerate(attached))
        free = tuple(device for device in every if draw(st.booleans()))
        found.append(DeviceRequest(f"example.com/{number}", draw(st.integers(1, 3)), free, every))
    return found


@unhurried(300)
@given(
    node=nodes(),
    policy=st.sampled_from([BEST_EFFORT, RESTRICTED, SINGLE]),
    closest=st.booleans(),
    cpus=st.tuples(st.integers(0, 12), st.integers(0, 2**12), st.booleans(), st.booleans()),
    memory=st.dictionaries(st.sampled_from(["memory", "hugepages-2Mi"]), st.integers(0, 20), max_size=2),
    devices=wishes(),
)
def test_any_wishes_merge_as_the_product_of_their_lists_does(node, policy, closest, cpus, memory, devices):
    topology, tables, free = node
    count, reusable, by_socket, impossible = cpus
    masks = list(node_sets([one.id for one in topology.nodes]))
    lists: list[list[tuple[int | None, bool]]] = [[(None, not impossible)]]
    cpu_wish = memory_wish = None
    if count:
        again = reusable & topology.all_cpus & ~free
        again &= again - 1  # fewer CPUs than are busy, so that they do not decide everything
        cpu_wish = CpuHints(topology, CpuOptions(align_by_socket=by_socket), free, again, count)
        lists.append([(m, cpu_wish.prefers(m)) for m in masks if cpu_wish.holds(m)] or [(None, False)])
    if memory:
        memory_wish = MemoryHints(tables, memory, {})
        found: list[tuple[int | None, bool]] = [
            (m, memory_wish.prefers(m)) for m in masks if memory_wish.holds(m)
        ]
        lists += [found or [(None, True)] for _ in memory]
    device_wishes = tuple(DeviceHints(topology, request) for request in devices)
    for one in device_wishes:
        lists.append([(m, one.prefers(m)) for m in masks if one.holds(m)] or [(None, False)])
    merged = Merger(topology, policy, closest=closest).merge(
        cpu_wish, memory_wish, impossible=impossible, devices=device_wishes
    )
    assert merged == Product(topology, policy, lists, closest=closest).merged()


def listed(topology, texts):
    return Listed(topology.all_nodes, {int(nodeset.parse(text)): False for text in texts.split()})


NOT_PREFERRED = [
    ("0-3 0-1", "0-1", False, "0-1"),
    ("0-3 0-1", "0,3", False, "0,3"),
    ("0-3 0-1", "1-2", False, "1-2"),
    ("0-3 0-1", "2-3", False, "2-3"),
    ("0-3 0-1", "1-2 2-3", False, "1-2"),
    ("0-3 0-1", "1-2 2-3", True, "2-3"),
    ("0-3 0-1", "1-3 1-2 1,3 2-3", False, "1-2"),
    ("0-3 0-1", "1-3 1-2 1,3 2-3", True, "2-3"),
]


@pytest.mark.parametrize(("one", "other", "closest", "expected"), NOT_PREFERRED)
def test_among_second_best_the_size_of_the_widest_minimum_wins(one, other, closest, expected):
    topology = machine([1] * 4, [(1, {})] * 4, DISTANCES)
    merged = Merger(topology, BEST_EFFORT, closest=closest).merge(
        listed(topology, one), listed(topology, other), impossible=False
    )
    assert merged == TopologyHint(nodeset.parse(expected), preferred=False)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (BEST_EFFORT, TopologyHint(nodeset.of([0, 1]), preferred=True)),
        (RESTRICTED, TopologyHint(nodeset.of([0, 1]), preferred=True)),
        (SINGLE, TopologyHint(None, preferred=True)),
        (TopologyManagerPolicy.NONE, TopologyHint(None, preferred=False)),
    ],
)
def test_nobody_wishing_anything_is_fine_everywhere(policy, expected):
    topology = machine([1, 1], [(1, {})] * 2)
    assert Merger(topology, policy, closest=False).merge(None, None, impossible=False) == expected


def test_with_equal_distances_the_lower_nodes_win():
    topology = machine(
        [1] * 4, [(1, {})] * 4, [tuple(10 if a == b else 12 for b in range(4)) for a in range(4)]
    )
    merged = Merger(topology, RESTRICTED, closest=True).merge(
        CpuHints(topology, CpuOptions(), 0b1101, 0, 2), None, impossible=False
    )
    assert merged == TopologyHint(nodeset.parse("0,2"), preferred=True)


def test_two_memory_resources_can_meet_in_a_set_that_neither_list_has():
    # {4} alone can serve, but {0,4} and {0,1} do too, and what they have in common is lower.
    topology = machine([1] * 5, [(4, {})] * 4 + [(5, {})])
    provider = MemoryHints(
        NumaMemoryMap(MemoryCapacity(ManagerSettings(), topology)), {"memory": 5, "hugepages-2Mi": 0}, {}
    )
    merged = Merger(topology, BEST_EFFORT, closest=False).merge(None, provider, impossible=True)
    assert not provider.holds(1)
    assert merged == TopologyHint(nodeset.of([0]), preferred=False)


def half_used():
    """64 NUMA nodes of one CPU and 10 bytes; every other node is full."""
    topology = machine([1] * 64, [(10, {})] * 64)
    tables = NumaMemoryMap(MemoryCapacity(ManagerSettings(), topology))
    for node in range(0, 64, 2):
        tables.charge(1 << node, "memory", 10)
    return topology, tables


def test_64_nodes_are_searched_from_what_is_left():
    topology, tables = half_used()
    provider = CpuHints(topology, CpuOptions(), topology.all_cpus, 0, 30)
    merged = Merger(topology, RESTRICTED, closest=False).merge(
        provider, MemoryHints(tables, {"memory": 300}, {}), impossible=False
    )
    assert merged == TopologyHint(nodeset.of(range(1, 61, 2)), preferred=True)


def test_64_nodes_that_cannot_serve_end_in_an_answer():
    topology, tables = half_used()
    provider = CpuHints(topology, CpuOptions(), topology.all_cpus & ~0b1010, 0, 40)
    merged = Merger(topology, BEST_EFFORT, closest=False).merge(
        provider, MemoryHints(tables, {"memory": 300}, {}), impossible=False
    )
    assert merged is not None
    assert not merged.preferred
