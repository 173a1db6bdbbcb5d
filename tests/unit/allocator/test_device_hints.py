"""Hints for devices are the device manager's; chosen devices draw CPUs and memory near."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import device_hints, nodeset
from podnuma.allocator.decision import Admitted, GrantedDevice, Reason
from podnuma.allocator.device_hints import DeviceHints, DeviceLocality, locality
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import ContainerKind, ContainerRequest, Device, DeviceRequest, PodRequest
from podnuma.allocator.topology import NumaNode
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator import shapes
from tests.unit.allocator.shapes import admitted, from_cores, g, node_sets, refused, sets, settings, unhurried

GPU = "example.com/gpu"


def device(name, *nodes):
    return Device(name, nodeset.of(nodes))


def machine(count, without_cpus=(), distances=()):
    cores = [((node,), node, node, None) for node in range(count) if node not in without_cpus]
    return from_cores(
        cores,
        [NumaNode(node, 8, {}, distances[node] if distances else ()) for node in range(count)],
    )


attachments = st.lists(st.integers(0, 15), min_size=1, max_size=6)


@unhurried(200)
@given(attached=attachments, free=st.integers(0, 63), count=st.integers(1, 4))
def test_the_list_is_the_one_of_the_device_manager(attached, free, count):
    """Written down as the device manager says it: every mask of nodes that have such devices is counted."""
    every = tuple(Device(str(place), nodeset.NodeSet(mask)) for place, mask in enumerate(attached))
    available = tuple(one for place, one in enumerate(every) if free >> place & 1)
    members = [node for node in range(4) if any(mask >> node & 1 for mask in attached)]
    masks = list(node_sets(members or range(4)))

    def on(devices, mask):
        return sum(1 for one in devices if one.nodes & mask)

    least = min(
        (mask.bit_count() for mask in masks if on(every, mask) >= count), default=len(members or range(4))
    )
    expected = {mask: mask.bit_count() == least for mask in masks if on(available, mask) >= count}
    hints = DeviceHints(machine(4), DeviceRequest(GPU, count, available, every))
    found = {mask: hints.prefers(mask) for mask in node_sets(range(4)) if hints.holds(mask)}
    assert found == expected
    assert hints.narrowest() == min((mask.bit_count() for mask in expected), default=0)
    for start in masks:
        assert set(hints.around(start)) == {mask for mask in expected if mask & start == start}


def test_chosen_devices_without_a_numa_node_do_not_count():
    hints = DeviceHints(machine(2), DeviceRequest.chosen(GPU, (device("a", 1), device("b"))))
    assert [mask for mask in (1, 2, 3) if hints.holds(mask)] == [2]
    pod = ContainerRequest("c", devices=(DeviceRequest.chosen(GPU, (device("b"),)),))
    assert device_hints.container_hints(machine(2), pod) == ()


def test_a_numa_node_without_cpus_stands_for_the_nearest_with_cpus():
    distances = [(10, 20, 40, 80), (20, 10, 80, 40), (40, 80, 10, 80), (80, 40, 80, 10)]
    topology = machine(4, without_cpus=(2, 3), distances=distances)
    assert device_hints.near_cpus(topology, nodeset.of([3])) == 1 << 1
    assert device_hints.near_cpus(topology, nodeset.of([0, 3])) == 1 << 0 | 1 << 3
    assert device_hints.near_cpus(machine(4, without_cpus=(2, 3)), nodeset.of([3])) == 0


def test_a_numa_node_that_the_machine_lacks_is_no_wish():
    assert device_hints.near_cpus(machine(2), nodeset.of([7])) == 0


def test_a_chosen_device_that_containers_share_counts_once():
    shared = DeviceRequest.chosen(GPU, (device("a", 0),))
    more = DeviceRequest.chosen(GPU, (device("a", 0), device("b", 1)))
    pod = PodRequest(
        "u",
        "default",
        "p",
        (ContainerRequest("x", devices=(shared,)), ContainerRequest("y", devices=(more,))),
    )
    (together,) = device_hints.pod_devices(pod)
    assert (together.count, [one.name for one in together.available]) == (2, ["a", "b"])


def test_devices_still_to_choose_are_counted_at_the_peak_of_the_pod():
    free = tuple(device(name, 0) for name in "abcd")
    two = DeviceRequest(GPU, 2, free, free)
    pod = PodRequest(
        "u",
        "default",
        "p",
        (
            ContainerRequest("init", ContainerKind.INIT, devices=(two,)),
            ContainerRequest("app", devices=(DeviceRequest(GPU, 1, free, free),)),
        ),
    )
    (together,) = device_hints.pod_devices(pod)
    assert together.count == 2


def pod_with(devices, *, budget, cpus=4):
    own = g(cpus, "1Gi", name="main")
    wishes = (DeviceRequest.chosen(GPU, devices),) if devices else ()
    return shapes.pod(budget, replace(own, devices=wishes))


BOTH_SCOPES = pytest.mark.parametrize(("scope", "budget"), [("pod", (4, "2Gi")), ("container", None)])


@BOTH_SCOPES
@pytest.mark.parametrize("policy", ["best-effort", "restricted", "single-numa-node"])
@pytest.mark.parametrize(("node", "cpus"), [(0, "2,4,8,10"), (1, "1,3,7,9")])
def test_cpus_and_memory_come_from_the_numa_node_of_the_device(policy, scope, budget, node, cpus):
    allocator = NodeAllocator.empty(settings(policy, scope), shapes.machine("DS12"))
    decision = admitted(allocator, pod_with((device("a", node),), budget=budget))
    assert sets(decision) == cpus
    assert decision.grant.memory_nodes == 1 << node


@BOTH_SCOPES
def test_devices_on_two_numa_nodes_are_refused_by_single_numa_node(scope, budget):
    allocator = NodeAllocator.empty(settings("single-numa-node", scope), shapes.machine("DS12"))
    two = (device("a", 0), device("b", 1))
    assert refused(allocator, pod_with(two, budget=budget)).reason is Reason.TOPOLOGY_AFFINITY


def test_best_effort_takes_what_is_free_at_the_device_first():
    allocator = NodeAllocator.empty(settings("best-effort", "pod"), shapes.machine("DS12"))
    admitted(allocator, shapes.pod((4, "1Gi"), shapes.s(), uid="before"))
    decision = admitted(allocator, pod_with((device("a", 0),), budget=(4, "2Gi")))
    assert sets(decision) == "1,3,6-7"
    assert decision.hints["main"] == TopologyHint(nodeset.of([0]), preferred=False)


def test_policy_none_looks_at_no_device():
    allocator = NodeAllocator.empty(settings("none", "container"), shapes.machine("DS12"))
    near = admitted(allocator, pod_with((device("a", 1),), budget=None))
    allocator = NodeAllocator.empty(settings("none", "container"), shapes.machine("DS12"))
    without = admitted(allocator, pod_with((), budget=None))
    assert (sets(near), near.grant.memory_nodes) == (sets(without), without.grant.memory_nodes)


def test_a_grant_names_the_devices_that_drew_it_and_draws_the_pod_there_again():
    allocator = NodeAllocator.empty(settings("single-numa-node", "pod"), shapes.machine("DS12"))
    wanted = pod_with((device("a", 1), device("b")), budget=(4, "2Gi"))
    grant = admitted(allocator, wanted).grant
    assert grant.devices == (
        GrantedDevice(GPU, "a", nodeset.of([1])),
        GrantedDevice(GPU, "b", nodeset.EMPTY),
    )
    bare = pod_with((), budget=(4, "2Gi"))
    assert device_hints.with_granted_devices(bare, grant) == wanted
    resized = allocator.resize(bare)
    assert isinstance(resized, Admitted)
    assert resized.grant == grant


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([[0]], DeviceLocality.ALL),
        ([[0], [1]], DeviceLocality.SOME),
        ([[1]], DeviceLocality.NONE),
        ([[0, 1]], DeviceLocality.ALL),
        ([[]], None),
        ([], None),
    ],
)
def test_a_device_is_local_where_the_pod_has_cpus_of_its_own(places, expected):
    allocator = NodeAllocator.empty(settings("none", "container"), shapes.machine("DS12"))
    wanted = pod_with(tuple(device(str(n), *at) for n, at in enumerate(places)), budget=None, cpus=2)
    grant = admitted(allocator, wanted).grant
    assert allocator.topology.nodes_of(grant.exclusive_cpus) == 1
    assert locality(allocator.topology, grant) is expected
