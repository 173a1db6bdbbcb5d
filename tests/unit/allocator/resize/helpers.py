"""A node of two NUMA nodes, pods with a budget, and resizes that are held."""

from podnuma.allocator.decision import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.resize.decide import ResizeRefused

from tests.unit.allocator.shapes import g, machine, pod, s, settings
from tests.unit.allocator.test_properties import check_books


def node(policy="single-numa-node", scope="pod", name="H12", **more):
    """A node; H12 has cores n,n+6, CPUs 0-2,6-8 on NUMA node 0 and 3-5,9-11 on 1; 0 and 6 are reserved."""
    more = {"reserved": "0,6"} | more
    return NodeAllocator.empty(settings(policy, scope, **more), machine(name))


def resized(where, wanted):
    """Resize, demand that it is granted, and hold it."""
    answer = where.resize(wanted)
    assert isinstance(answer, Admitted), answer
    where.hold(answer)
    check_books(where)
    return answer


def refused(where, wanted):
    answer = where.resize(wanted)
    assert isinstance(answer, ResizeRefused), answer
    return answer


def budget(count, own, memory="2Gi"):
    """A budget with one exclusive container (0: it shares) and one that shares."""
    first = g(own) if own else g("500m")
    return pod((count, memory), first, s())
