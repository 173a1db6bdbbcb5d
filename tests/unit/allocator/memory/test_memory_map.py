"""Tables per NUMA node; specification, sections 4.1, 4.6, 4.9."""

from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.manager_settings import ManagerSettings, MemoryManagerPolicy, ReservedMemory
from podnuma.allocator.memory.memory_map import MemoryCapacity, MemoryTable, NumaMemoryMap
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import GI, MI, from_cores, unhurried


def tables(*memories, reserved=(), pages=()):
    """Tables of NUMA nodes with one CPU and these bytes each."""
    topology = from_cores(
        [((node,), node, node, None) for node in range(len(memories))],
        [NumaNode(node, memory, pages[node] if pages else {}) for node, memory in enumerate(memories)],
    )
    told = ManagerSettings(memory_manager_policy=MemoryManagerPolicy.STATIC, reserved_memory=tuple(reserved))
    return NumaMemoryMap(MemoryCapacity(told, topology))


def test_huge_pages_and_reservations_are_no_allocatable_memory():
    found = tables(
        3 * GI, reserved=[ReservedMemory(0, {"memory": 512 * MI})], pages=[{"hugepages-1Gi": GI}]
    ).rows(0)
    assert found == {
        "memory": MemoryTable(3 * GI, 512 * MI, 1536 * MI, 0, 1536 * MI),
        "hugepages-1Gi": MemoryTable(GI, 0, GI, 0, GI),
    }


def test_of_two_reservations_for_one_node_the_later_counts():
    twice = [ReservedMemory(0, {"memory": GI}), ReservedMemory(0, {"memory": 2 * GI})]
    assert tables(8 * GI, reserved=twice).rows(0)["memory"].system_reserved == 2 * GI


def test_several_nodes_are_filled_lowest_first_and_become_a_group():
    found = tables(1536, 1536, 1536)
    found.charge(0b011, "memory", 2048)
    assert [found.rows(node)["memory"].reserved for node in range(3)] == [1536, 512, 0]
    assert found.groups == {0: 0b011, 1: 0b011, 2: 0b100}
    assert found.assignments == {0: 1, 1: 1, 2: 0}


def test_a_group_ends_with_its_last_assignment():
    found = tables(1536, 1536)
    found.charge(0b11, "memory", 1024)
    found.charge(0b11, "memory", 512)
    found.give_back(0b11, "memory", 1024)
    assert found.groups == {0: 0b11, 1: 0b11}
    found.give_back(0b11, "memory", 512)
    assert found.groups == {0: 0b01, 1: 0b10}
    assert [found.rows(node)["memory"].reserved for node in range(2)] == [0, 0]


def test_a_resource_a_node_lacks_is_charged_where_it_is():
    found = tables(GI, GI, pages=[{}, {"hugepages-2Mi": 64 * MI}])
    found.charge(0b11, "hugepages-2Mi", 4 * MI)
    assert found.free_on(0b11, "hugepages-2Mi") == 60 * MI
    assert found.free_on(0b01, "hugepages-2Mi") == 0
    assert found.assignments == {0: 1, 1: 1}


def test_what_does_not_fit_any_more_is_not_forgotten():
    found = tables(1000, 1000)
    found.charge(0b11, "memory", 2500)
    assert [found.rows(node)["memory"].free for node in range(2)] == [0, -500]
    assert found.most("memory") == 0
    found.give_back(0b11, "memory", 2500)
    assert [found.rows(node)["memory"].free for node in range(2)] == [1000, 1000]


def test_a_copy_lives_its_own_life():
    found = tables(1000)
    twin = found.copy()
    twin.charge(0b1, "memory", 10)
    assert (found.free_on(1, "memory"), twin.free_on(1, "memory")) == (1000, 990)
    assert (found.assignments[0], twin.assignments[0]) == (0, 1)


def test_nodes_that_do_not_exist_are_passed_over():
    found = tables(1000)
    found.charge(0b101, "memory", 10)
    found.give_back(0b101, "memory", 10)
    assert found.rows(0)["memory"].free == 1000


@unhurried()
@given(
    charges=st.lists(st.tuples(st.integers(1, 15), st.integers(0, 4000)), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_giving_everything_back_in_any_order_leaves_nothing_charged(charges, order):
    found = tables(1000, 1000, 1000, 1000)
    for group, size in charges:
        found.charge(group, "memory", size)
    total = sum(found.rows(node)["memory"].reserved for node in range(4))
    assert total == sum(size for _, size in charges)
    order.shuffle(charges)
    # What a block gave back may lie on other nodes of its group, so only sums are the same
    # where groups overlap, which no decision makes happen.
    if all(one == other or not one & other for one, _ in charges for other, _ in charges):
        for group, size in charges:
            found.give_back(group, "memory", size)
        assert [found.rows(node)["memory"].reserved for node in range(4)] == [0, 0, 0, 0]
    assert all(nodeset.render(group) for group in found.groups.values())
