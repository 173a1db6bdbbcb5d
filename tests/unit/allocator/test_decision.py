"""Grants as data."""

import pytest
from podnuma.allocator.decision import MemoryBlock, PodGrant
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet

from tests.unit.allocator.shapes import GI, INIT, admitted, cpus, g, machine, pod, s, settings


def grant(wanted, policy="single-numa-node", scope="pod") -> PodGrant:
    return admitted(NodeAllocator.empty(settings(policy, scope), machine("DS12")), wanted).grant


def test_a_bubble_takes_itself_from_the_node():
    found = grant(pod((4, "4Gi"), g(1, "1Gi"), s()))
    assert found.exclusive_cpus == cpus("2,4,8,10")
    assert found.charged == (MemoryBlock("memory", NodeSet(1), 4 * GI),)
    assert found.memory_nodes == NodeSet(1)
    assert found.holds_anything


def test_separate_containers_take_the_union_of_their_sets():
    found = grant(pod(None, g(2, "2Gi", INIT), g(4, "1Gi")))
    assert found.exclusive_cpus == cpus("2,4,8,10")
    assert [block.size for block in found.charged] == [GI, GI]


def test_a_pod_in_the_shared_pool_takes_nothing():
    found = grant(pod(None, s()))
    assert found.exclusive_cpus == 0
    assert not found.holds_anything
    assert found.memory_nodes == 0


def test_containers_are_found_by_name():
    found = grant(pod(None, g(1), s()))
    assert found.container("c1").cpus is None
    with pytest.raises(KeyError):
        found.container("c2")
