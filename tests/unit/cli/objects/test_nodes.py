"""API objects become pictures; what cannot be read is named, the rest is drawn."""

from typing import Any

import pytest
from podnuma.allocator import cpuset
from podnuma.cli.commands.map import map_of, mapped_node
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import nodes
from podnuma.cli.render.node_map import Hold

from tests.unit.cli.builders import (
    allocation_object,
    block,
    container,
    database,
    grant,
    topology_object,
    training,
)

EPYC = "epyc7401-2s-8numa-16l3"


def node_a(**status: Any) -> dict[str, Any]:
    found = topology_object(EPYC, reserved="0,48")
    found["status"].update(status)
    return found


def test_hardware_of_a_real_machine_is_read_whole():
    machine = mapped_node(nodes.read_topology(node_a()))
    assert len(machine.topology.cpus) == 96
    assert [len(machine.topology.sockets), len(machine.topology.cores), len(machine.topology.uncores)] == [
        2,
        48,
        16,
    ]
    assert machine.topology.nodes[0].memory == 34243170304
    assert cpuset.render(machine.reserved) == "0,48"


def test_reserved_cpus_of_the_operator_win_over_the_spec():
    told = {"reservedCPUs": "0-1,48-49", "exclusiveCPUs": "", "sharedPool": "0-95", "pods": 0, "rejected": 0}
    node = nodes.read_topology(node_a(allocation=told))
    assert cpuset.render(mapped_node(node).reserved) == "0-1,48-49"


def test_memory_of_containers_counts_where_the_pod_has_no_budget():
    huge = block(64 * 2**20, "0-1", "hugepages-2Mi")
    pod = allocation_object(grant("a/b", "", container("c", "node_exclusive", "1", memory=(huge,))))
    drawn = map_of(node_a(), [pod])
    assert [share.block for share in drawn.zones[1].memory] == [huge]


def test_pods_of_other_nodes_and_rejected_and_released_ones_are_left_out():
    alone = container("c", "node_exclusive", "9")
    others = [
        allocation_object(grant("a/elsewhere", "", alone), node="node-b"),
        allocation_object(grant("a/rejected", ""), phase="Rejected", reason="TopologyAffinityError"),
        allocation_object(grant("a/released", "", alone), phase="Released"),
        allocation_object(grant("a/before", "", alone), phase="Uninstalled"),
    ]
    ours = [allocation_object(database()), allocation_object(training())]
    drawn = map_of(node_a(), others + ours)
    assert drawn.pods == ("ml/training", "shop/database")
    assert cpuset.render(drawn.held(Hold.EXCLUSIVE)) == "1-3,6-8,49-51"
    assert drawn.remarks == ()


def test_an_allocation_that_cannot_be_read_is_noted_and_the_rest_drawn():
    edited = allocation_object(training())
    edited["spec"]["cpus"] = "6-x"
    drawn = map_of(node_a(), [edited, allocation_object(database())])
    assert drawn.pods == ("shop/database",)
    assert len(drawn.remarks) == 1
    assert drawn.remarks[0].startswith('not drawn: PodAllocation ml/training, spec.cpus "6-x": ')


def test_an_allocation_that_was_edited_is_drawn_as_its_agent_acts_on_it():
    edited = allocation_object(training())
    edited["status"]["acceptedSpec"] = {**edited["spec"]}
    edited["spec"]["containers"] = []
    drawn = map_of(node_a(), [edited])
    assert cpuset.render(drawn.held(Hold.EXCLUSIVE)) == "6-8"
    assert drawn.remarks[0].startswith("drawn as its agent acts on it: PodAllocation ml/training, spec.")


def test_a_node_without_hardware_says_where_to_look():
    with pytest.raises(Failure) as failure:
        nodes.hardware_of(nodes.read_topology({"metadata": {"name": "w1"}, "spec": {}}))
    assert failure.value.code is Exit.NOT_FOUND
    assert failure.value.lines[0].startswith("NodeTopology w1: status.hardware is empty; ")
    assert failure.value.lines[0].endswith(": kubectl -n podnuma-system get pods -o wide")


def test_every_problem_of_a_topology_is_one_line_with_its_path():
    with pytest.raises(Failure) as failure:
        nodes.read_topology(
            {"metadata": {"name": "w1"}, "spec": {"cpuManagerPolicy": "x", "reservedSystemCPUs": "9-"}}
        )
    assert failure.value.code is Exit.INPUT
    assert sorted(line.split(":")[0] for line in failure.value.lines) == [
        'NodeTopology w1, spec.cpuManagerPolicy "x"',
        'NodeTopology w1, spec.reservedSystemCPUs "9-"',
    ]
