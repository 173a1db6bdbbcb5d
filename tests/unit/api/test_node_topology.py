"""Each writer of a NodeTopology renders its part, and together they are the whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import AssignmentType, cpuset
from podnuma.allocator.memory.others import PagesInUse
from podnuma.api.conditions import Condition, Status
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.hardware import Hardware
from podnuma.api.node_allocation import NodeAllocation, NodeFree, cut_list, render_assignments
from podnuma.api.node_topology import (
    AgentReport,
    ProfileReference,
    read_node_topology,
    render_agent_status,
    render_node_topology,
    render_operator_status,
)

from tests.unit.api.objects import MACHINES, machine, names, node_settings

READY = Condition("Ready", Status.TRUE, "Ready", "", 3, "2026-05-01T12:00:00Z")
AGENT_READY = Condition("AgentReady", Status.TRUE, "Connected", "", 3, "2026-05-01T12:00:00Z")
AGENT = AgentReport("0.1.0", "NRI", "containerd 2.4.2", "Fail", "systemd", "b0", "2026-05-01T12:00:00Z")
ALLOCATION = NodeAllocation(
    reserved=cpuset.of([0, 8]),
    exclusive=cpuset.of([1, 2, 9, 10]),
    shared_pool=cpuset.of([0, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15]),
    pods=2,
    rejected=1,
    nodes=(
        NodeFree(0, cpuset.of([3, 11]), {"memory": 120_000_000_000, "hugepages-2Mi": 2**30}),
        NodeFree(1, cpuset.of([4, 5, 6, 7, 12, 13, 14, 15]), {"memory": 0}, {"memory": 2**35}),
    ),
    assignments={("cpu", AssignmentType.POD_EXCLUSIVE): 1, ("memory", AssignmentType.POD_SHARED): 2},
)


def stored(**status) -> dict[str, Any]:
    return {"metadata": {"name": "w1"}, "spec": {}, "status": status}


@given(names, node_settings(), st.none() | st.builds(ProfileReference, names, st.integers(0, 2**62)))
def test_settings_are_read_as_they_were_rendered(name, node, profile):
    topology = read_node_topology(render_node_topology(name, node, profile))
    assert (topology.name, topology.node, topology.profile) == (name, node, profile)


def test_a_topology_is_owned_by_its_node():
    owner = {"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "u"}
    body = render_node_topology("w1", read_node_topology(stored()).node, None, [owner])
    assert body["metadata"] == {"name": "w1", "ownerReferences": [owner]}
    assert body["kind"] == "NodeTopology"
    assert "profile" not in body["spec"]


def test_a_topology_that_no_agent_has_reported_has_no_hardware():
    topology = read_node_topology(stored())
    assert (topology.hardware, topology.agent, topology.allocation) == (None, None, None)
    assert topology.profile is None
    assert read_node_topology({**stored(), "spec": {"profile": {"name": "-"}}}).profile is None


def test_the_agents_part_is_read_as_it_was_rendered():
    hardware = Hardware(machine(MACHINES[0]))
    pages = (PagesInUse(0, "hugepages-2Mi", 3 << 21), PagesInUse(1, "hugepages-1Gi", 1 << 30, "u-1"))
    topology = read_node_topology(stored(**render_agent_status(hardware, AGENT, [AGENT_READY], pages)))
    assert topology.hardware == hardware
    assert topology.pages_in_use == pages
    assert topology.agent == AGENT
    assert topology.conditions == (AGENT_READY,)


def test_pages_in_use_that_cannot_be_read_cost_nothing_else():
    hardware = Hardware(machine(MACHINES[0]))
    status = render_agent_status(hardware, AGENT, [AGENT_READY], [PagesInUse(0, "hugepages-2Mi", 1 << 21)])
    status["hugepagesInUse"][0]["size"] = "many"
    topology = read_node_topology(stored(**status))
    assert (topology.pages_in_use, topology.hardware, topology.agent) == ((), hardware, AGENT)
    assert [error.path for error in topology.unreadable] == ["status.hugepagesInUse[0].size"]


def test_the_operators_part_is_read_as_it_was_rendered():
    topology = read_node_topology(stored(**render_operator_status(ALLOCATION, 7, [READY])))
    assert topology.allocation == ALLOCATION
    assert topology.observed_generation == 7
    assert topology.conditions == (READY,)


def test_the_writers_share_no_field_but_their_lists_of_conditions():
    agent = render_agent_status(Hardware(machine(MACHINES[0])), AGENT, [AGENT_READY])
    operator = render_operator_status(ALLOCATION, 7, [READY])
    assert agent.keys() & operator.keys() == {"summary", "conditions"}
    assert agent["summary"].keys() & operator["summary"].keys() == set()


def test_the_columns_speak_for_people():
    (path,) = [path for path in MACHINES if "epyc7401" in path.stem]
    agent = render_agent_status(Hardware(machine(path)), AGENT, [])
    assert agent["summary"] == {"agent": "NRI", "cpus": "96", "numa": "8"}
    assert render_operator_status(ALLOCATION, 7, [])["summary"] == {
        "exclusive": "4/14",
        "shared": "0,3-8,11-15",
        "pods": "2",
        "freeMemory": "0:111.7Gi,1:0",
    }


def test_no_column_is_empty_when_nothing_is_known():
    assert render_agent_status(None, AgentReport(), [])["summary"] == {"agent": "-"}
    assert "summary" not in render_operator_status(None, 7, [])
    nothing = NodeAllocation(cpuset.EMPTY, cpuset.EMPTY, cpuset.EMPTY, 0, 0)
    assert render_operator_status(nothing, 7, [])["summary"] == {
        "exclusive": "0/0",
        "shared": "-",
        "pods": "0",
        "freeMemory": "-",
    }


def test_a_long_column_is_cut_between_its_parts():
    assert cut_list(["0:1Gi", "1:2Gi"], 20) == "0:1Gi,1:2Gi"
    assert cut_list(["0:1Gi"] * 5, 20) == "0:1Gi,0:1Gi,..."
    assert cut_list(["x" * 50], 20) == "..."
    assert cut_list([], 20) == ""


def test_counts_show_every_type():
    assert render_assignments({("cpu", AssignmentType.POD_SHARED): 2}) == {
        "cpu": {"node_exclusive": 0, "pod_exclusive": 0, "pod_shared": 2, "node_shared": 0},
        "memory": {"node_exclusive": 0, "pod_exclusive": 0, "pod_shared": 0, "node_shared": 0},
    }


def test_everything_wrong_with_a_topology_is_named_at_once():
    with pytest.raises(InvalidObjectError) as caught:
        read_node_topology(
            {
                "metadata": {"name": "w1"},
                "spec": {"cpuManagerPolicy": "dynamic"},
                "status": {"hardware": {}, "allocation": {"sharedPool": "x"}},
            }
        )
    assert [problem.path for problem in caught.value.errors] == ["spec.cpuManagerPolicy"]


def test_hardware_that_cannot_be_read_counts_as_not_reported_and_says_why():
    stored = {"metadata": {"name": "w1"}, "spec": {}, "status": {"hardware": {"numaNodes": 7}}}
    found = read_node_topology(stored)
    assert found.hardware is None
    assert found.hardware_problem is not None
    assert "status.hardware.numaNodes 7: must be a list" in found.hardware_problem
    assert read_node_topology({"metadata": {"name": "w1"}, "spec": {}}).hardware_problem is None


def test_a_part_of_the_status_that_cannot_be_read_costs_that_part_only():
    stored = {
        "metadata": {"name": "w1"},
        "spec": {},
        "status": {
            "agent": {"version": 7, "runtime": "containerd"},
            "allocation": {
                "reservedCPUs": "",
                "exclusiveCPUs": "",
                "sharedPool": "0-3",
                "pods": 0,
                "rejected": 0,
                "numaNodes": [{"id": 0, "freeCPUs": "0-3", "freeMemory": {"memory": "-4Gi"}}],
            },
            "conditions": [
                {"type": "AgentReady", "status": "True", "reason": "Ready"},
                {"type": "New", "status": "Odd"},
            ],
        },
    }
    found = read_node_topology(stored)
    assert (found.agent, found.allocation) == (None, None)
    assert [condition.type for condition in found.conditions][:1] == ["AgentReady"]
    paths = [error.path for error in found.unreadable]
    assert paths[:2] == ["status.agent.version", "status.allocation.numaNodes[0].freeMemory[memory]"]
    assert any(path.startswith("status.conditions[1]") for path in paths)


@pytest.mark.parametrize("name", ["reservedCPUs", "exclusiveCPUs", "sharedPool", "pods", "rejected"])
def test_what_somebody_removed_of_the_allocation_is_not_taken_for_nothing(name):
    told = {"reservedCPUs": "", "exclusiveCPUs": "", "sharedPool": "0-3", "pods": 0, "rejected": 0}
    topology = {"metadata": {"name": "w1"}, "spec": {}, "status": {"allocation": told}}
    assert read_node_topology(topology).allocation is not None
    del told[name]
    found = read_node_topology(topology)
    assert found.allocation is None
    assert [error.path for error in found.unreadable] == [f"status.allocation.{name}"]


def test_what_is_held_beyond_what_there_is_stands_in_a_field_of_its_own():
    free = NodeFree.of(0, cpuset.EMPTY, {"memory": -(2**32), "hugepages-2Mi": 2**21})
    assert (free.memory, free.overcommitted) == ({"memory": 0, "hugepages-2Mi": 2**21}, {"memory": 2**32})
    allocation = NodeAllocation(cpuset.EMPTY, cpuset.EMPTY, cpuset.of([1]), 1, 0, (free,))
    status = render_operator_status(allocation, 7, [])
    assert status["allocation"]["numaNodes"] == [
        {
            "id": 0,
            "freeCPUs": "",
            "freeMemory": {"memory": "0", "hugepages-2Mi": "2Mi"},
            "overcommittedMemory": {"memory": "4Gi"},
        }
    ]
    read = read_node_topology({"metadata": {"name": "w1"}, "spec": {}, "status": status})
    assert (read.allocation, read.unreadable) == (allocation, ())
