"""A NodeResourceTopology has a zone per NUMA node, with what pods can still get exclusively."""

import pytest
from podnuma.allocator.cpuset import EMPTY, CpuSet
from podnuma.allocator.decision import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.rules import Rules
from podnuma.api.node_resource_topology import is_ours, render_node_resource_topology

from tests.unit.allocator.shapes import admitted, machine, pod, s, settings


def node(**changes) -> NodeAllocator:
    return NodeAllocator(Rules(settings(**changes), machine("DN8")))


def test_a_zone_says_what_there_is_what_can_be_given_and_what_is_left():
    allocator = node(reserved="0")
    admitted(allocator, pod((2, "2Gi"), s()))
    found = render_node_resource_topology("n1", "u-1", allocator, EMPTY)
    assert found["apiVersion"] == "topology.node.k8s.io/v1alpha2"
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u-1"}
    ]
    assert found["zones"][0] == {
        "name": "node-0",
        "type": "Node",
        "costs": [{"name": "node-0", "value": 10}, {"name": "node-1", "value": 21}],
        "resources": [
            {"name": "cpu", "capacity": "4", "allocatable": "3", "available": "1"},
            {"name": "memory", "capacity": "9Gi", "allocatable": "8Gi", "available": "6Gi"},
        ],
    }
    assert found["attributes"] == [
        {"name": "topologyManagerPolicy", "value": "single-numa-node"},
        {"name": "topologyManagerScope", "value": "pod"},
    ]


def test_cpus_of_pods_from_before_other_settings_are_not_available():
    found = render_node_resource_topology("n1", "u", node(reserved="0"), CpuSet(0b0110))
    assert [zone["resources"][0]["available"] for zone in found["zones"]] == ["1", "4"]


@pytest.mark.parametrize(
    ("policy", "left"), [("best-effort", ["0", "4Gi"]), ("single-numa-node", ["0", "0"])]
)
def test_memory_of_a_group_is_no_room_for_a_pod_of_one_numa_node(policy, left):
    """kai-scheduler/KAI-Scheduler#2013: the pod that made the group is from before a profile changed."""
    before = node(policy="best-effort")
    admitted(before, pod((2, "12Gi"), s()))
    now, _ = NodeAllocator.restore(settings(policy), machine("DN8"), before.grants.values())
    found = render_node_resource_topology("n1", "u", now, EMPTY)
    assert [zone["resources"][1]["available"] for zone in found["zones"]] == left
    wanted = pod((1, "1Gi"), s(), uid="next")
    assert isinstance(now.decide(wanted), Admitted) is (policy == "best-effort")


def test_only_objects_with_our_label_are_ours():
    assert is_ours(render_node_resource_topology("n1", "u", node(), EMPTY))
    for other in ({}, {"metadata": None}, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "nfd"}}}):
        assert not is_ours(other)
