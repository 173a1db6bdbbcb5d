"""Huge pages that are in use without a grant: counted once, never forgotten, nobody's own obstacle."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.decision import Admitted, MemoryBlock
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.memory.others import PagesInUse, others_pages, uncovered
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import GI, admitted, from_cores, g, memory, pod, refused, settings, unhurried

PAGES = "hugepages-1Gi"


def machine(*gib):
    """NUMA nodes of four CPUs with these amounts of 1Gi pages."""
    every = range(len(gib))
    return from_cores(
        [((cpu,), cpu // 4, cpu // 4, None) for cpu in range(4 * len(gib))],
        [
            NumaNode(node, 64 * GI, {PAGES: size * GI}, tuple(10 if node == at else 20 for at in every))
            for node, size in enumerate(gib)
        ],
    )


def empty(*gib, policy="single-numa-node", reserved_pages=0):
    told = settings(policy, "container", nodes=len(gib))
    reserved = tuple(
        replace(each, limits={**each.limits, PAGES: reserved_pages * GI}) for each in told.reserved_memory
    )
    return NodeAllocator.empty(replace(told, reserved_memory=reserved), machine(*gib))


def wants(gib, uid="u1"):
    return pod(None, g(1, "1Gi", pages={"1Gi": f"{gib}Gi"}), uid=uid)


def in_use(at, gib, uid=""):
    return PagesInUse(at, PAGES, gib * GI, uid)


def told(node, *pages, but=""):
    node.others_have(others_pages(pages, node.grants, node.topology, but))
    return node


def test_a_pod_goes_where_others_left_pages():
    assert memory(admitted(told(empty(8, 8), in_use(0, 6)), wants(4))) == "1 1024+4096"


def test_a_pod_whose_pages_are_gone_everywhere_is_refused():
    node = told(empty(8, 8), in_use(0, 6), in_use(1, 5))
    assert refused(node, wants(4)).message == refused(empty(3, 3), wants(4)).message
    assert isinstance(empty(8, 8).decide(wants(4)), Admitted)


def test_pages_reserved_for_the_system_are_those_that_others_take_first():
    node = empty(8, 8, reserved_pages=4)
    assert told(node, in_use(0, 3)).free_memory(0, PAGES) == 4 * GI
    assert told(node, in_use(0, 5)).free_memory(0, PAGES) == 3 * GI


def test_what_a_grant_covers_is_not_counted_again():
    node = empty(8, 8)
    admitted(node, wants(4))
    told(node, in_use(0, 3, "u1"))
    assert node.free_memory(0, PAGES) == 4 * GI


def test_pages_beyond_the_grant_or_on_another_node_are_gone_for_others():
    node = empty(8, 8)
    admitted(node, wants(4))
    told(node, in_use(0, 5, "u1"), in_use(1, 2, "u1"))
    assert [node.free_memory(at, PAGES) for at in (0, 1)] == [3 * GI, 6 * GI]


def test_a_pod_is_not_in_its_own_way():
    node = empty(8, 8)
    assert memory(admitted(told(node, in_use(0, 8, "u1"), in_use(1, 8), but="u1"), wants(8))) == "0 1024+8192"


def test_what_pods_hold_and_others_took_is_below_zero_and_nobody_is_outdated():
    node = empty(8)
    grant = admitted(node, wants(6)).grant
    told(node, in_use(0, 4))
    assert node.free_memory(0, PAGES) == -2 * GI
    assert node.adopt(grant) == []
    assert node.memory_rows(0)[PAGES].reserved == 6 * GI


def test_a_pod_keeps_its_pages_in_a_resize_that_needs_no_more_of_them():
    node = empty(8)
    admitted(node, wants(6))
    told(node, in_use(0, 4))
    more_cpus = pod(None, g(2, "1Gi", pages={"1Gi": "6Gi"}))
    assert isinstance(node.resize(more_cpus), Admitted)
    assert not isinstance(node.resize(wants(7)), Admitted)


def test_a_decision_that_was_made_before_others_took_pages_can_be_held():
    node = empty(8)
    decision = node.decide(wants(4))
    told(node, in_use(0, 2))
    node.hold(decision)
    assert node.free_memory(0, PAGES) == 2 * GI


def test_an_answer_names_what_is_in_use_without_a_grant():
    node = told(empty(8, 8), in_use(0, 6), in_use(1, 5))
    found = explain(node, wants(4))
    assert brief(node, wants(4), found) == (
        "container c0 needs 4Gi hugepages-1Gi on one NUMA node; the largest has 3Gi free, "
        "5Gi hugepages-1Gi are in use without a grant. Fits with: c0 hugepages-1Gi 3Gi"
    )
    assert any("6Gi on NUMA node 0, 5Gi on NUMA node 1 in use" in one for one in found.remarks), found.remarks


PLACES = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from([PAGES, "hugepages-2Mi"])), st.integers(1, 9)
)
BLOCKS = st.lists(
    st.builds(
        MemoryBlock,
        st.sampled_from([PAGES, "hugepages-2Mi"]),
        st.integers(1, 15).map(nodeset.NodeSet),
        st.integers(0, 9),
    ),
    max_size=4,
)


@unhurried()
@given(PLACES, BLOCKS)
def test_no_page_is_counted_twice_and_none_is_forgotten(pages, blocks):
    left = uncovered(pages, blocks, machine(1, 1, 1, 1))
    for resource in (PAGES, "hugepages-2Mi"):
        used = sum(size for (_, name), size in pages.items() if name == resource)
        rest = sum(size for (_, name), size in left.items() if name == resource)
        held = sum(block.size for block in blocks if block.resource == resource)
        assert used - held <= rest <= used
        covered = {at for block in blocks if block.resource == resource for at in nodeset.ids(block.nodes)}
        for (at, name), size in pages.items():
            if name == resource and at not in covered:
                assert left[at, name] == size


@pytest.mark.parametrize("reported", [[], [PagesInUse(7, PAGES, GI)], [PagesInUse(0, "hugepages-64Ki", GI)]])
def test_pages_that_the_machine_does_not_have_change_nothing(reported):
    node = told(empty(8), *reported)
    assert not node.tables.taken
    assert node.free_memory(0, PAGES) == 8 * GI
