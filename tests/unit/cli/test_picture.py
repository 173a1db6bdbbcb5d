"""Each CPU of a picture has one holder, and the right one."""

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.cli import picture
from podnuma.cli.picture import Hold, Holder

from tests.unit.cli.objects import block, container, grant


def machine(reserved: str = "0,4") -> picture.Machine:
    """Four cores of two threads (n, n+4) in two NUMA nodes and sockets; a third node has memory only."""
    cpus = [Cpu(cpu, cpu % 4, cpu % 4 // 2, cpu % 4 // 2, cpu % 4 // 2) for cpu in range(8)]
    nodes = [NumaNode(0, 2**30), NumaNode(1, 2**30), NumaNode(2, 2**40)]
    return picture.Machine("small", Topology.build(cpus, nodes), cpuset.parse(reserved))


def exclusive(name: str, cpus: str):
    return container(name, "pod_exclusive", cpus)


def pooled(name: str, cpus: str):
    return container(name, "pod_shared", cpus)


def test_every_online_cpu_has_exactly_one_holder():
    painted = picture.paint(machine(), [grant("a/db", "1,5", exclusive("db", "1"), pooled("log", "5"))])
    assert {cpu: holder.hold for cpu, holder in painted.holders.items()} == {
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
    painted = picture.paint(machine(""), [held])
    assert painted.holders[2] == Holder(Hold.POD_SHARED, "a/db", ("log",))
    assert cpuset.render(painted.held(Hold.POD_SHARED)) == "2-3"


def test_init_containers_are_not_drawn():
    init = container("migrate", "pod_exclusive", "0-3", kind="init")
    painted = picture.paint(
        machine(""), [grant("a/db", "0-3", init, exclusive("db", "0-2"), pooled("log", "3"))]
    )
    assert cpuset.render(painted.held(Hold.EXCLUSIVE)) == "0-2"
    assert painted.held(Hold.CONTESTED) == 0


def test_a_cpu_of_two_pods_is_contested_and_names_both():
    pods = [grant("b/two", "3", exclusive("two", "3")), grant("a/one", "2-3", exclusive("one", "2-3"))]
    painted = picture.paint(machine(""), pods)
    assert painted.holders[3] == Holder(Hold.CONTESTED, "a/one and b/two", ("one", "two"))
    assert painted.holders[2].hold is Hold.EXCLUSIVE


def test_two_slices_of_one_pod_on_one_cpu_are_contested_too():
    painted = picture.paint(
        machine(""), [grant("a/db", "2-3", exclusive("one", "2-3"), exclusive("two", "3"))]
    )
    assert painted.holders[3] == Holder(Hold.CONTESTED, "a/db", ("one", "two"))


def test_zones_list_shares_in_a_fixed_order_and_keep_memory_without_cpus():
    painted = picture.paint(machine(), [grant("a/db", "1", exclusive("db", "1"))])
    first, second, third = painted.zones
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
    painted = picture.paint(machine(), [])
    assert [cache.cores for cache in painted.zones[1].caches] == [((2, 6), (3, 7))]
    assert painted.zones[1].caches[0].threads == 2
    assert (painted.sockets, painted.cores) == ((0, 1), 4)


def test_memory_over_two_zones_is_listed_in_both():
    held = block(2**29, "0-1")
    painted = picture.paint(machine(), [grant("a/db", "1", memory=(held,))])
    assert [[share.block for share in zone.memory] for zone in painted.zones] == [[held], [held], []]


@pytest.mark.parametrize("pods", [["b/two", "a/one"], ["a/one", "b/two"]])
def test_pods_are_in_the_order_of_their_names(pods):
    painted = picture.paint(machine(), [grant(pod, "") for pod in pods])
    assert painted.pods == ("a/one", "b/two")
