"""Each CPU of a picture has one holder, and the right one."""

import pytest
from podnuma.allocator import cpuset
from podnuma.cli import picture
from podnuma.cli.picture import Hold, Holder


def machine(reserved: str = "0,4") -> picture.Machine:
    """Four cores with two threads each, two NUMA nodes in two sockets; siblings n, n+4."""
    return picture.Machine(
        name="small",
        places=tuple(
            picture.Place(cpu, core=cpu % 4, socket=cpu % 4 // 2, zone=cpu % 4 // 2, cache=cpu % 4 // 2)
            for cpu in range(8)
        ),
        memory={0: picture.ZoneMemory(2**30), 1: picture.ZoneMemory(2**30), 2: picture.ZoneMemory(2**40)},
        reserved=cpuset.parse(reserved),
    )


def hold(pod: str, cpus: str, users: tuple[str, ...] = (), **exclusive: str) -> picture.PodHold:
    slices = {name: cpuset.parse(listed) for name, listed in exclusive.items()}
    return picture.PodHold(pod, cpuset.parse(cpus), slices, users)


def test_every_online_cpu_has_exactly_one_holder():
    painted = picture.paint(machine(), [hold("a/db", "1,5", ("log",), db="1")])
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
    painted = picture.paint(machine(""), [hold("a/db", "0-3", ("log", "metrics"), db="0", cache="1")])
    assert painted.holders[2] == Holder(Hold.POD_SHARED, "a/db", ("log", "metrics"))
    assert cpuset.render(painted.held(Hold.POD_SHARED)) == "2-3"


def test_a_cpu_of_two_pods_is_contested_and_names_both():
    painted = picture.paint(machine(""), [hold("b/two", "3", two="3"), hold("a/one", "2-3", one="2-3")])
    assert painted.holders[3] == Holder(Hold.CONTESTED, "a/one and b/two", ("one", "two"))
    assert painted.holders[2].hold is Hold.EXCLUSIVE


def test_two_slices_of_one_pod_on_one_cpu_are_contested_too():
    painted = picture.paint(machine(""), [hold("a/db", "2-3", one="2-3", two="3")])
    assert painted.holders[3] == Holder(Hold.CONTESTED, "a/db", ("one", "two"))


def test_zones_list_shares_in_a_fixed_order_and_keep_memory_without_cpus():
    painted = picture.paint(machine(), [hold("a/db", "1", db="1")])
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
    block = picture.MemoryHold("a/db", "memory", 2**29, (0, 1))
    pod = picture.PodHold("a/db", cpuset.parse("1"), {}, (), (block,))
    painted = picture.paint(machine(), [pod])
    assert [zone.memory for zone in painted.zones] == [(block,), (block,), ()]


@pytest.mark.parametrize("pods", [["b/two", "a/one"], ["a/one", "b/two"]])
def test_pods_are_in_the_order_of_their_names(pods):
    painted = picture.paint(machine(), [hold(pod, "") for pod in pods])
    assert painted.pods == ("a/one", "b/two")
