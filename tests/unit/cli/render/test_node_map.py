"""Each CPU of a map has one holder, and the right one."""

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.cli.render import node_map
from podnuma.cli.render.node_map import Hold, Holder

from tests.unit.cli.builders import block, container, grant


def mapped_node(reserved: str = "0,4") -> node_map.MappedNode:
    """Four cores of two threads (n, n+4) in two NUMA nodes and sockets; a third node has memory only."""
    cpus = [Cpu(cpu, cpu % 4, cpu % 4 // 2, cpu % 4 // 2, cpu % 4 // 2) for cpu in range(8)]
    nodes = [NumaNode(0, 2**30), NumaNode(1, 2**30), NumaNode(2, 2**40)]
    return node_map.MappedNode("small", Topology.build(cpus, nodes), cpuset.parse(reserved))


def exclusive(name: str, cpus: str):
    return container(name, "pod_exclusive", cpus)


def pooled(name: str, cpus: str):
    return container(name, "pod_shared", cpus)


def test_every_online_cpu_has_exactly_one_holder():
    drawn = node_map.draw_up(mapped_node(), [grant("a/db", "1,5", exclusive("db", "1"), pooled("log", "5"))])
    assert {cpu: holder.hold for cpu, holder in drawn.holders.items()} == {
        0: Hold.RESERVED,
        1: Hold.EXCLUSIVE,
        2: Hold.NODE_SHARED,
        3: Hold.NODE_SHARED,
        4: Hold.RESERVED,
        5: Hold.POD_SHARED,
        6: Hold.NODE_SHARED,
        7: Hold.NODE_SHARED,
    }


def test_pool_is_what_exclusive_slices_leave():
    held = grant("a/db", "0-3", exclusive("db", "0"), exclusive("cache", "1"), pooled("log", "2-3"))
    drawn = node_map.draw_up(mapped_node(""), [held])
    assert drawn.holders[2] == Holder(Hold.POD_SHARED, "a/db", ("log",))
    assert cpuset.render(drawn.held(Hold.POD_SHARED)) == "2-3"


def test_init_containers_are_not_drawn():
    init = container("migrate", "pod_exclusive", "0-3", kind="init")
    drawn = node_map.draw_up(
        mapped_node(""), [grant("a/db", "0-3", init, exclusive("db", "0-2"), pooled("log", "3"))]
    )
    assert cpuset.render(drawn.held(Hold.EXCLUSIVE)) == "0-2"
    assert drawn.held(Hold.CONTESTED) == 0


def test_a_cpu_of_two_pods_is_contested_and_names_both():
    pods = [grant("b/two", "3", exclusive("two", "3")), grant("a/one", "2-3", exclusive("one", "2-3"))]
    drawn = node_map.draw_up(mapped_node(""), pods)
    assert drawn.holders[3] == Holder(Hold.CONTESTED, "a/one and b/two", ("one", "two"))
    assert drawn.holders[2].hold is Hold.EXCLUSIVE


def test_two_slices_of_one_pod_on_one_cpu_are_contested_too():
    drawn = node_map.draw_up(
        mapped_node(""), [grant("a/db", "2-3", exclusive("one", "2-3"), exclusive("two", "3"))]
    )
    assert drawn.holders[3] == Holder(Hold.CONTESTED, "a/db", ("one", "two"))


def test_zones_list_shares_in_a_fixed_order_and_keep_memory_without_cpus():
    drawn = node_map.draw_up(mapped_node(), [grant("a/db", "1", exclusive("db", "1"))])
    first, second, third = drawn.zones
    assert [(share.holder.hold, cpuset.render(share.cpus)) for share in first.shares] == [
        (Hold.RESERVED, "0,4"),
        (Hold.EXCLUSIVE, "1"),
        (Hold.NODE_SHARED, "5"),
    ]
    assert [(share.holder.hold, cpuset.render(share.cpus)) for share in second.shares] == [
        (Hold.NODE_SHARED, "2-3,6-7")
    ]
    assert (third.id, third.sockets, third.caches, third.shares) == (2, (), (), ())


def test_threads_of_a_core_are_together_and_cores_of_a_cache():
    drawn = node_map.draw_up(mapped_node(), [])
    assert [cache.cores for cache in drawn.zones[1].caches] == [((2, 6), (3, 7))]
    assert drawn.zones[1].caches[0].threads == 2
    assert (drawn.sockets, drawn.cores) == ((0, 1), 4)


def test_memory_over_two_zones_is_listed_in_both():
    held = block(2**29, "0-1")
    drawn = node_map.draw_up(mapped_node(), [grant("a/db", "1", memory=(held,))])
    assert [[share.block for share in zone.memory] for zone in drawn.zones] == [[held], [held], []]


@pytest.mark.parametrize("pods", [["b/two", "a/one"], ["a/one", "b/two"]])
def test_pods_are_in_the_order_of_their_names(pods):
    drawn = node_map.draw_up(mapped_node(), [grant(pod, "") for pod in pods])
    assert drawn.pods == ("a/one", "b/two")
