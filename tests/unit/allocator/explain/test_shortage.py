from podnuma.allocator.explain.shortage import describe_shortage
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.shapes import admitted, g, machine, pod, settings


def test_what_is_asked_stands_beside_what_every_numa_node_has_free():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    before = describe_shortage(node, pod((9, "4Gi"), g(9, "4Gi")))
    assert before == (
        "asks for 9 CPUs and 4Gi memory; free on NUMA node 0: 5 CPUs, 8Gi memory; "
        "on NUMA node 1: 6 CPUs, 8Gi memory"
    )
    admitted(node, pod((2, "4Gi"), g(2, "4Gi")))
    after = describe_shortage(node, pod(None, g(1, "1Gi"), g(2, "1Gi"), uid="b"))
    assert after.startswith("asks for 3 CPUs and 2Gi memory; free on NUMA node 0: ")
    assert after != before
