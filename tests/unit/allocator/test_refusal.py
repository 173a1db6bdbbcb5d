"""Reasons and texts of refusals; specification, section 1.7."""

import pytest
from podnuma.allocator import refusal
from podnuma.allocator.decision import Reason


def test_reasons_are_spelled_as_in_pod_status():
    assert [str(reason) for reason in Reason] == [
        "TopologyAffinityError",
        "SMTAlignmentError",
        "EmptyPodSharedPoolError",
        "UnexpectedAdmissionError",
        "EmptyNodeSharedPoolError",
    ]


@pytest.mark.parametrize(
    ("pod_level", "pod_scope", "text"),
    [
        (False, True, "Resources cannot be allocated with Topology locality"),
        (False, False, "Resources cannot be allocated with Topology locality"),
        (
            True,
            True,
            "Pod Scope pod with pod-level resources failed admission under pod-scope topology manager",
        ),
        (
            True,
            False,
            "Pod Scope pod with pod-level resources failed admission with a container-level topology manager",
        ),
    ],
)
def test_missing_locality_has_three_texts(pod_level, pod_scope, text):
    found = refusal.no_locality(pod_level=pod_level, pod_scope=pod_scope)
    assert (found.reason, found.message) == (Reason.TOPOLOGY_AFFINITY, text)


def test_allocation_errors_are_unexpected():
    assert (
        refusal.memory("failed").message
        == "Allocate failed due to [memorymanager] failed, which is unexpected"
    )
    assert refusal.memory("failed").reason is Reason.UNEXPECTED_ADMISSION
