"""What the three counters count; specification, section 8.1."""

import pytest
from podnuma.allocator.counts import AssignmentType, Counts, tally
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.shapes import INIT, SIDECAR, admitted, g, machine, pod, refused, s, settings

G1 = g(1, "1Gi")
INIT1, SIDE1 = g(1, "1Gi", INIT), g(1, "1Gi", SIDECAR)


@pytest.mark.parametrize(
    ("budget", "containers", "allocations", "exclusive", "shared"),
    [
        (2, (G1,), 1, 1, 0),
        (1, (s(),), 1, 0, 1),
        (3, (G1, G1, s()), 3, 2, 1),
        (2, (INIT1, INIT1, G1, G1), 4, 4, 0),
        (3, (s(INIT), SIDE1, s(INIT), G1, s()), 5, 2, 3),
        (3, (s(INIT), s(SIDECAR), s(INIT), G1, s()), 5, 1, 4),
    ],
)
def test_a_bubble_counts_its_containers(budget, containers, allocations, exclusive, shared):
    counts = admitted(
        NodeAllocator.empty(settings(), machine("DS12")), pod((budget, f"{budget}Gi"), *containers)
    ).counts
    for resource in ("cpu", "memory"):
        assert counts.allocations[resource, "pod"] == allocations
        assert counts.assignments.get((resource, "pod_exclusive"), 0) == exclusive
        assert counts.assignments.get((resource, "pod_shared"), 0) == shared
    assert counts.errors == {}


def test_an_empty_pool_is_one_error():
    node = NodeAllocator.empty(settings("best-effort"), machine("DS12"))
    assert refused(node, pod((2, "4Gi"), G1, G1, s())).counts == Counts(errors={("cpu", "pod"): 1})


def test_a_refused_merge_counts_nothing():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    assert refused(node, pod((9, "4Gi"), s())).counts == Counts()


def test_containers_served_before_the_failing_one_count():
    node = NodeAllocator.empty(settings("none"), machine("DS12"))
    counts = refused(node, pod(None, g(8, "1Gi"), g(8, "1Gi"))).counts
    assert counts.allocations == {("cpu", "node"): 1, ("memory", "node"): 1}
    assert counts.errors == {("cpu", "node"): 1}


def test_memory_from_the_node_counts_every_resource():
    kind = AssignmentType.NODE_EXCLUSIVE
    assert tally([("memory", kind, 2), ("cpu", kind, 1)]) == Counts(
        {("memory", "node"): 2, ("cpu", "node"): 1},
        {},
        {("memory", "node_exclusive"): 1, ("cpu", "node_exclusive"): 1},
    )


def test_what_runs_in_the_node_shared_pool_is_not_counted():
    counts = admitted(NodeAllocator.empty(settings(), machine("DS12")), pod(None, s())).counts
    assert counts == Counts()
