"""An explanation says which device decided what, and what would have been taken without it."""

from dataclasses import replace

from podnuma.allocator import nodeset
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.explain.remarks import MergeSide
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import Device, DeviceRequest
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator.shapes import admitted, g, machine, pod, s, settings

GPU = "example.com/gpu"


def wanting(*places, budget=(4, "2Gi"), uid="u1"):
    devices = tuple(Device(f"gpu-{number}", nodeset.of([node])) for number, node in enumerate(places))
    own = replace(g(2, "1Gi", name="main"), devices=(DeviceRequest.chosen(GPU, devices),))
    return pod(budget, own, s(name="more"), uid=uid)


def test_the_devices_are_one_side_of_the_merge():
    found = explain(NodeAllocator.empty(settings(), machine("DS12")), wanting(1))
    assert found.steps[0].sides[2] == MergeSide(
        GPU,
        f"{GPU} gpu-0 (NUMA node 1)",
        f"1 {GPU}",
        1,
        (TopologyHint(nodeset.of([1]), preferred=True),),
    )
    assert "without its devices the pod would have CPUs 2,4,8,10 on NUMA node 0" in found.remarks


def test_devices_on_two_nodes_are_the_cause_of_a_refusal():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    wanted = wanting(0, 1)
    found = explain(node, wanted)
    assert brief(node, wanted, found) == (
        f"pod: {GPU} gpu-0 (NUMA node 0), gpu-1 (NUMA node 1) need 2 NUMA nodes, single-numa-node allows one"
    )
    assert "without its devices the pod would fit" in found.remarks


def test_a_device_whose_numa_node_is_full_is_named_with_what_is_free():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    admitted(node, pod((4, "2Gi"), s(), uid="first"))
    wanted = wanting(0)
    assert brief(node, wanted, explain(node, wanted)).startswith(
        f"pod: {GPU} gpu-0 (NUMA node 0) would be served best on NUMA node 0, 4 cpu on NUMA node 1"
    )
