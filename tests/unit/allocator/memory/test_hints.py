"""Memory hints; specification, section 4.4."""

from podnuma.allocator import nodeset
from podnuma.allocator.manager_settings import ManagerSettings
from podnuma.allocator.memory.hints import MemoryHints
from podnuma.allocator.memory.memory_map import MemoryCapacity, NumaMemoryMap
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import from_cores, node_sets


def tables(*sizes, pages=(), without_cpus=()):
    return NumaMemoryMap(
        MemoryCapacity(
            ManagerSettings(),
            from_cores(
                [((node,), 0, node, None) for node in range(len(sizes)) if node not in without_cpus],
                [
                    NumaNode(node, size, {"hugepages-2Mi": pages[node]} if pages and pages[node] else {})
                    for node, size in enumerate(sizes)
                ],
            ),
        )
    )


def listed(found, **request):
    sizes = {name.replace("pages", "hugepages-2Mi"): size for name, size in request.items()}
    provider = MemoryHints(found, sizes, {})
    masks = node_sets(found.layout.nodes)
    return " ".join(
        nodeset.render(mask) + ("P" if provider.prefers(mask) else "")
        for mask in masks
        if provider.holds(mask)
    )


def test_as_few_nodes_as_an_unused_machine_needs_are_preferred():
    assert listed(tables(10, 10), memory=8) == "0P 1P 0-1"
    assert listed(tables(10, 10), memory=12) == "0-1P"
    assert listed(tables(10, 10), memory=21) == ""


def test_the_fewest_nodes_count_what_is_charged_as_there():
    found = tables(10, 10, 10)
    for node in range(3):
        found.charge(1 << node, "memory", 5)
    assert listed(found, memory=8) == ""
    assert listed(found, memory=5) == "0P 1P 2P"


def test_members_of_a_group_serve_only_as_the_group():
    found = tables(10, 10, 10)
    found.charge(0b011, "memory", 4)
    assert listed(found, memory=5) == "2P 0-1"


def test_a_node_used_alone_joins_no_group():
    found = tables(10, 10, 10)
    found.charge(0b001, "memory", 1)
    assert listed(found, memory=5) == "0P 1P 2P 1-2"


def test_all_resources_must_fit_the_same_set():
    assert listed(tables(30, 30, pages=(2, 8)), memory=10, pages=6) == "1P 0-1"
    assert listed(tables(30, 30, pages=(4, 4)), memory=10, pages=6) == "0-1P"


def test_pages_a_node_does_not_know_do_not_fit_there():
    assert listed(tables(30, 30, pages=(0, 8)), memory=10, pages=6) == "1P 0-1"
    assert listed(tables(30, 30), memory=10, pages=6) == ""


def test_memory_of_ended_init_containers_counts_on_its_own_node_set():
    found = tables(10, 10)
    found.charge(0b01, "memory", 9)
    provider = MemoryHints(found, {"memory": 10}, {(0b01, "memory"): 9})
    assert [mask for mask in (0b01, 0b10, 0b11) if provider.holds(mask)] == [0b01, 0b10]


def test_large_nodes_without_cpus_do_not_make_others_second_best():
    # Two nodes with CPUs are needed; one of the others would do.
    assert listed(tables(10, 10, 100, without_cpus=(2,)), memory=15) == "2P 0-1P 0,2 1-2 0-2"


def test_nodes_without_cpus_alone_count_as_ever():
    assert listed(tables(10, 10, without_cpus=(1,)), memory=8) == "0P 1P 0-1"


def test_the_best_set_is_preferred_then_narrow():
    found = tables(10, 10, 10)
    found.charge(0b011, "memory", 4)
    provider = MemoryHints(found, {"memory": 6}, {})
    assert provider.best() == (0b100, True)
    assert provider.best(around=0b001) == (0b011, False)
    assert provider.best(around=0b101) is None
    assert provider.narrowest() == 1


def test_an_empty_list_has_no_narrowest_set():
    assert MemoryHints(tables(10, 10), {"memory": 30}, {}).narrowest() == 0
    assert list(MemoryHints(tables(10, 10), {"memory": 30}, {}).sets()) == []


def test_fourteen_nodes_find_the_set_that_only_the_last_make():
    found = tables(*([4] * 12), 10, 10)
    for node in range(12):
        found.charge(1 << node, "memory", 1)
    provider = MemoryHints(found, {"memory": 20}, {})
    assert provider.best() == (0b11 << 12, True)
