"""CPU hints; numbers are those of the specification, section 11.6."""

import pytest
from podnuma.allocator import nodeset
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.manager_settings import CpuOptions
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import cpus, from_cores, machine, node_sets, nodes

HINTS = [
    ("H12", "2-11", "", 2, False, "0P 1P 0-1"),
    ("H12", "2-11", "", 5, False, "1P 0-1"),
    ("H12", "2-11", "", 7, False, "0-1P"),
    ("H12", "2-11", "", 11, False, ""),
    ("H12", "0,3", "", 2, False, "0-1"),
    ("H12", "2-11", "0,6", 2, False, "0P 0-1"),
    ("MN80", "2-3,11", "", 2, False, "0P 0-1 0,2 0,3 0-2 0-1,3 0,2-3 0-3"),
    ("MN80", "2-3,11", "", 2, True, "0P 0-1P 0,2 0,3 0-2 0-1,3 0,2-3 0-3"),
    ("MN80", "0-28,40-57", "", 41, True, "0-2P 0-3P"),
]


def listed(provider, topology):
    masks = node_sets([node.id for node in topology.nodes])
    return " ".join(
        nodeset.render(mask) + ("P" if provider.prefers(mask) else "")
        for mask in masks
        if provider.holds(mask)
    )


@pytest.mark.parametrize(("name", "free", "reusable", "count", "by_socket", "expected"), HINTS)
def test_sets_that_can_serve_and_those_as_small_as_on_an_empty_machine(
    name, free, reusable, count, by_socket, expected
):
    topology = machine(name)
    provider = CpuHints(topology, CpuOptions(align_by_socket=by_socket), cpus(free), cpus(reusable), count)
    assert listed(provider, topology) == expected


@pytest.mark.parametrize(("name", "free", "reusable", "count", "by_socket", "expected"), HINTS)
def test_narrowest_is_the_size_of_the_smallest_set_in_the_list(
    name, free, reusable, count, by_socket, expected
):
    provider = CpuHints(
        machine(name), CpuOptions(align_by_socket=by_socket), cpus(free), cpus(reusable), count
    )
    sizes = [nodes(text.rstrip("P")).bit_count() for text in expected.split()]
    assert provider.narrowest() == min(sizes, default=0)


def test_cpus_to_be_used_again_tie_the_list_to_their_nodes():
    provider = CpuHints(machine("H12"), CpuOptions(), cpus("9-11"), cpus("0,1"), 4)
    assert listed(provider, machine("H12")) == "0-1"


def test_nodes_without_cpus_are_in_no_cpu_list():
    topology = from_cores(
        [((0,), 0, 0, None), ((1,), 1, 1, None)], [NumaNode(node, 2**30) for node in range(3)]
    )
    provider = CpuHints(topology, CpuOptions(), cpus("0-1"), 0, 1)
    assert listed(provider, topology) == "0P 1P 0-1"
