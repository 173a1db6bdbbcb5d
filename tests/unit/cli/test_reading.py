"""API objects become pictures, leniently."""

import pytest
from podnuma.allocator import cpuset
from podnuma.cli import reading
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.picture import Hold

from tests.unit.cli.objects import allocation_object, container, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def test_hardware_of_a_real_machine_is_read_whole():
    machine = reading.machine_of(topology_object(EPYC, reserved="0,48"))
    assert len(machine.places) == 96
    assert {place.socket for place in machine.places} == {0, 1}
    assert {place.zone for place in machine.places} == set(range(8))
    assert len({place.cache for place in machine.places}) == 16
    assert len({place.core for place in machine.places}) == 48
    assert machine.memory[0].capacity == 34243170304
    assert cpuset.render(machine.reserved) == "0,48"


def test_reserved_cpus_of_the_operator_win_over_the_spec():
    topology = topology_object(EPYC, reserved="0,48")
    topology["status"]["allocation"] = {"reservedCPUs": "0-1,48-49"}
    assert cpuset.render(reading.machine_of(topology).reserved) == "0-1,48-49"


def test_init_containers_hold_nothing_in_a_picture(database):
    held = reading.pod_of(database)
    assert {name: cpuset.render(cpus) for name, cpus in held.exclusive.items()} == {"database": "1-3,49-51"}
    assert held.pool_users == ("backup", "metrics")
    assert [(block.resource, block.size, block.zones) for block in held.memory] == [
        ("memory", 16 * 2**30, (0,))
    ]


def test_memory_of_containers_counts_where_the_pod_has_no_budget():
    block = {"resource": "hugepages-2Mi", "size": "64Mi", "nodes": "0-1"}
    allocation = allocation_object("a/b", "", {**container("c", None), "memory": [block]})
    assert [(b.resource, b.size, b.zones) for b in reading.pod_of(allocation).memory] == [
        ("hugepages-2Mi", 64 * 2**20, (0, 1))
    ]


def test_pods_of_other_nodes_and_rejected_and_released_ones_are_left_out(database, training):
    elsewhere = allocation_object("a/elsewhere", "9", container("c", "node_exclusive", "9"), node="node-b")
    rejected = allocation_object(
        "a/rejected", "", decision={"admitted": False, "reason": "TopologyAffinityError"}
    )
    released = allocation_object("a/released", "10", container("c", "node_exclusive", "10"))
    released["status"]["phase"] = "Released"
    picture = reading.picture_of(
        topology_object(EPYC, reserved="0,48"), [database, elsewhere, rejected, released, training]
    )
    assert picture.pods == ("ml/training", "shop/database")
    assert cpuset.render(picture.held(Hold.EXCLUSIVE)) == "1-3,6-8,49-51"


def test_a_node_without_hardware_says_where_to_look():
    with pytest.raises(Failure) as failure:
        reading.machine_of({"metadata": {"name": "w1"}, "spec": {}})
    assert failure.value.code is Exit.NOT_FOUND
    assert failure.value.lines[0].startswith("NodeTopology w1: status.hardware is empty; ")
    assert failure.value.lines[0].endswith(": kubectl -n podnuma-system get pods -o wide")
