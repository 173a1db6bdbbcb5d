"""Where devices that are not chosen yet can be: as few NUMA nodes as the free ones allow, each taken once."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.device_hints import pod_devices
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.placement.device_wishes import AskedDevices, device_wishes, devices_left
from podnuma.allocator.placement.packing import Packing

from tests.unit.allocator.placement.helpers import emptied, fleet, rules
from tests.unit.allocator.shapes import admitted, g, machine, pod, s, unhurried

GPU, NIC = "gpu.example.com", "nic.example.com"
DN8 = machine("DN8")
DATABASE = pod((3, "1Gi"), g(2, "1Gi"), s())
MAIN = frozenset({DATABASE.containers[0].name})


def asked(count=1, resource=GPU, containers=MAIN):
    return AskedDevices(resource, count, containers)


def at(**counts):
    """Return free devices by NUMA node: `gpu=(1, 2)` is one at node 0 and two at node 1; the last at none."""
    names = {"gpu": GPU, "nic": NIC}
    return {
        names[name]: {NodeSet(1 << node): count for node, count in enumerate(own) if count}
        for name, own in counts.items()
    }


def places(wishes):
    return {tuple(nodeset.render(nodes) for _, nodes in wish.taken): set(wish.nodes) for wish in wishes}


def test_each_numa_node_that_has_enough_is_a_wish_and_equal_nodes_share_it():
    free = {"n1": (DN8, at(gpu=(1, 1))), "n2": (DN8, at(gpu=(0, 2))), "n3": (DN8, at(gpu=(1, 1)))}
    assert places(device_wishes(DATABASE, [asked()], free)) == {
        ("0",): {"n1", "n3"},
        ("1",): {"n1", "n2", "n3"},
    }


def test_devices_are_on_two_numa_nodes_only_where_no_single_one_has_enough():
    free = {"n1": (DN8, at(gpu=(1, 1))), "n2": (DN8, at(gpu=(1, 2))), "n3": (DN8, at(gpu=(1, 0)))}
    assert places(device_wishes(DATABASE, [asked(2)], free)) == {("0", "1"): {"n1"}, ("1", "1"): {"n2"}}


def test_what_is_asked_of_two_drivers_is_wanted_at_the_same_numa_node():
    free = {"n1": (DN8, at(gpu=(1, 1), nic=(0, 1))), "n2": (DN8, at(gpu=(1, 0), nic=(0, 1)))}
    wishes = device_wishes(DATABASE, [asked(), asked(resource=NIC)], free)
    assert places(wishes) == {("1", "1"): {"n1"}, ("0", "1"): {"n2"}}


def test_devices_of_two_requests_are_different_ones_and_a_shared_one_counts_once():
    side = DATABASE.containers[1].name
    free = {"n1": (DN8, at(gpu=(2, 0)))}
    (wish,) = device_wishes(DATABASE, [asked(), asked(containers=MAIN | {side})], free)
    assert [request.count for request in pod_devices(wish.pod)] == [2]
    assert [len(one.devices[0].available) for one in wish.pod.containers[:2]] == [2, 1]
    assert device_wishes(DATABASE, [asked(), asked(2)], free) == ()


def test_a_device_without_a_numa_node_is_as_good_anywhere():
    free = {"n1": (DN8, {GPU: {nodeset.EMPTY: 1, NodeSet(1 << 7): 1}})}
    assert places(device_wishes(DATABASE, [asked(2)], free)) == {("", ""): {"n1"}}


def test_without_devices_there_is_no_wish():
    assert device_wishes(DATABASE, [], {"n1": (DN8, at(gpu=(1,)))}) == ()
    assert device_wishes(DATABASE, [asked()], {"n1": (DN8, {})}) == ()


counts = st.tuples(*[st.integers(0, 3)] * 2)
frees = st.builds(lambda gpu, nic: at(gpu=gpu, nic=nic), counts, counts)
wanted = st.lists(st.builds(asked, st.integers(1, 3), st.sampled_from([GPU, NIC])), min_size=1, max_size=3)


@unhurried(200)
@given(free=frees, ask=wanted)
def test_a_wish_takes_only_what_is_free_as_often_as_asked_on_as_few_numa_nodes_as_there_are(free, ask):
    needed: Counter[str] = Counter()
    for one in ask:
        needed[one.resource] += one.count
    wishes = device_wishes(DATABASE, ask, {"n1": (DN8, free)})
    enough = all(sum(free.get(resource, {}).values()) >= count for resource, count in needed.items())
    assert bool(wishes) == enough
    fewest = next(
        (
            size
            for size in (1, 2)
            for chosen in combinations((1, 2), size)
            if all(
                sum(number for nodes, number in free.get(resource, {}).items() if nodes in chosen) >= count
                for resource, count in needed.items()
            )
        ),
        0,
    )
    for wish in wishes:
        taken = Counter(wish.taken)
        assert Counter(resource for resource, _ in wish.taken) == needed
        assert all(number <= free[resource][nodes] for (resource, nodes), number in taken.items())
        assert len({nodes for _, nodes in wish.taken}) <= fewest
        left = devices_left(free, wish.taken)
        assert sum(map(sum_of, left.values())) == sum(map(sum_of, free.values())) - len(wish.taken)
        assert all(number > 0 for own in left.values() for number in own.values())


def sum_of(own):
    return sum(own.values())


def test_what_is_taken_elsewhere_than_expected_is_taken_all_the_same():
    assert devices_left(at(gpu=(0, 2)), [(GPU, NodeSet(1)), (NIC, NodeSet(1))]) == at(gpu=(0, 1))
    assert devices_left(at(gpu=(1, 0)), [(GPU, NodeSet(1)), (GPU, NodeSet(1))]) == {GPU: {}}


@pytest.mark.parametrize("packing", Packing)
def test_the_nearest_node_is_the_one_whose_free_cpus_are_at_its_free_devices(packing):
    nodes = {name: emptied() for name in ("a", "b")}
    admitted(nodes["a"], pod((3, "1Gi"), s(), uid="first"))
    found = fleet(nodes)
    small = pod((2, "1Gi"), s(), uid="new")
    ask = [asked(containers=frozenset({small.containers[0].name}))]
    full = nodes["a"].rules.topology.nodes_of(nodes["a"].grants["first"].exclusive_cpus)
    other = NodeSet(3 & ~full)
    free = {"a": (DN8, {GPU: {full: 1}}), "b": (DN8, {GPU: {other: 1}})}
    best = found.nearest(device_wishes(small, ask, free), packing)
    assert best is not None
    assert (best[0].candidate.node, best[1].taken) == ("b", ((GPU, other),))
    assert found.nearest(device_wishes(small, ask, free), packing, lambda name: name == "a") is None
    assert found.nearest((), packing) is None


def test_nodes_without_the_devices_are_not_judged():
    nodes = {name: emptied() for name in ("a", "b", "c")}
    for name, cpus in (("a", 2), ("b", 3)):
        admitted(nodes[name], pod((cpus, "1Gi"), s(), uid="first"))
    found = fleet(nodes)
    small = pod((2, "1Gi"), s(), uid="new")
    ask = [asked(containers=frozenset({small.containers[0].name}))]
    wishes = device_wishes(small, ask, {"b": (DN8, at(gpu=(1, 1))), "gone": (DN8, at(gpu=(1, 1)))})
    best = found.nearest(wishes, Packing.COMPACT)
    assert best is not None
    assert best[0].candidate.node == "b"
    assert found.remembered == len(wishes)


def test_of_equal_nodes_one_that_has_the_devices_is_taken():
    shared = rules()
    found = fleet({name: NodeAllocator(shared) for name in ("a", "b", "c")})
    small = pod((2, "1Gi"), s(), uid="new")
    ask = [asked(containers=frozenset({small.containers[0].name}))]
    best = found.nearest(device_wishes(small, ask, {"b": (DN8, at(gpu=(0, 1)))}), Packing.COMPACT)
    assert best is not None
    assert best[0].candidate.node == "b"


def test_a_numa_node_of_a_device_counts_where_the_pod_has_no_cpus_there():
    """Without a memory manager the CPUs alone say where the pod is."""
    apart = emptied(policy="best-effort", memory="None", reserved_memory=[])
    admitted(apart, pod((3, "1Gi"), s(), uid="first"))
    full = apart.rules.topology.nodes_of(apart.grants["first"].exclusive_cpus)
    small = pod((2, "1Gi"), s(), uid="new")
    ask = [asked(containers=frozenset({small.containers[0].name}))]
    found = fleet({"a": apart})
    numbers = []
    for place in (NodeSet(3 & ~full), full):
        (wish,) = device_wishes(small, ask, {"a": (DN8, {GPU: {place: 1}})})
        best = found.best(wish.pod, Packing.COMPACT)
        assert best is not None
        numbers.append(best.candidate.effect.numa_nodes)
    assert numbers == [1, 2]
