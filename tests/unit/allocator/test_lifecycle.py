"""What changes in a grant while its pod lives; specification, sections 3.6, 4.9, 6.5."""

import pytest
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.shapes import (
    GI,
    INIT,
    SIDECAR,
    admitted,
    cpus,
    g,
    machine,
    memory,
    pod,
    s,
    settings,
)


def held(wanted):
    node = NodeAllocator.empty(settings(), machine("DS12"))
    return node, admitted(node, wanted).grant


def test_a_started_app_ends_the_memory_records_of_inits_and_their_leftover_returns():
    node, _ = held(pod(None, g(1, "4Gi", INIT), g(1, "1Gi", SIDECAR), g(1, "1Gi")))
    assert node.memory_rows(0)["memory"].reserved == 4 * GI
    node.container_started("u1", "c2")
    assert node.memory_rows(0)["memory"].reserved == 2 * GI
    assert node.memory_assignments(0) == 2
    found = node.grants["u1"]
    assert [container.memory_nodes for container in found.containers] == [None, 1, 1]
    assert found.containers[0].memory_assignment is AssignmentType.NODE_SHARED
    assert found.containers[0].cpus == cpus("6")


def test_a_started_init_ends_only_those_before_it():
    node, _ = held(pod(None, g(1, "1Gi", INIT), g(1, "2Gi", INIT), g(1, "1Gi")))
    node.container_started("u1", "c1")
    assert [container.memory_nodes for container in node.grants["u1"].containers] == [None, 1, 1]


def test_an_ephemeral_container_ends_all_inits():
    node, _ = held(pod(None, g(1, "1Gi", INIT), g(1, "1Gi")))
    node.container_started("u1", "debugger")
    assert node.grants["u1"].containers[0].memory == ()


def test_in_a_bubble_only_the_record_goes():
    node, before = held(pod((4, "4Gi"), g(1, "1Gi", INIT), g(1, "1Gi"), s()))
    generation = node.generation
    node.container_started("u1", "c1")
    found = node.grants["u1"]
    assert found.containers[0].memory_nodes is None
    assert (found.memory, found.cpus) == (before.memory, before.cpus)
    assert node.memory_rows(0)["memory"].reserved == 4 * GI
    assert node.generation == generation + 1


def test_starting_again_changes_nothing():
    node, _ = held(pod((4, "4Gi"), g(1, "1Gi"), s()))
    generation = node.generation
    node.container_started("u1", "c0")
    node.container_started("somebody else", "c0")
    assert node.generation == generation


def test_a_removed_container_gives_back_what_no_sibling_holds():
    node, _ = held(pod(None, g(4, "1Gi", INIT), g(2, "1Gi")))
    assert node.default_set == cpus("0-1,3,5-7,9,11")
    node.remove_container("u1", "c0")
    assert node.grants["u1"].exclusive_cpus == cpus("2,8")
    assert node.default_set == cpus("0-1,3-7,9-11")


def test_a_bubble_goes_with_its_last_container():
    node, grant = held(pod((4, "4Gi"), g(2, "2Gi"), s()))
    assert grant.cpus is not None
    node.remove_container("u1", "c0")
    assert node.default_set & grant.cpus == 0
    assert node.grants["u1"].container("c0").cpus is None
    node.remove_container("u1", "c1")
    assert node.default_set == machine("DS12").all_cpus
    assert node.memory_rows(0)["memory"].reserved == 0
    assert dict(node.grants) == {}


def test_a_container_a_held_pod_lacks_is_an_error():
    node, _ = held(pod((4, "4Gi"), s()))
    with pytest.raises(KeyError):
        node.remove_container("u1", "nobody")
    node.remove_container("not held", "nobody")


def test_memory_of_a_decision_is_written_before_anything_ends():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    assert memory(admitted(node, pod(None, g(1, "4Gi", INIT), g(1, "1Gi")))) == "0 3072 / 0 1024"
