"""Sentences about decisions; what they say is tested with whole explanations."""

from podnuma.allocator.eligibility import empty_cpu_pool, exclusive_requests
from podnuma.allocator.explain.remarks import AdmissionPath, remarks
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.shapes import g, machine, pod, s, settings


def test_an_ordinary_admission_needs_no_words():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    assert (
        list(remarks(node, exclusive_requests(pod((4, "4Gi"), g(2, "2Gi"), s())), AdmissionPath.BUBBLE, ()))
        == []
    )


def test_an_empty_pool_is_said_in_the_kubelets_words():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    wanted = exclusive_requests(pod((2, "4Gi"), g(2, "2Gi"), s()))
    assert list(remarks(node, wanted, AdmissionPath.BUBBLE, ())) == [empty_cpu_pool(wanted)]
