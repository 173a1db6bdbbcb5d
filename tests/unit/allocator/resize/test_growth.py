"""Where more CPUs come from, by topology policy."""

from podnuma.allocator.decision import Admitted

from tests.unit.allocator.resize.helpers import budget, node, refused, resized
from tests.unit.allocator.shapes import admitted, g, pod, s
from tests.unit.allocator.test_properties import state


def test_growth_stays_on_the_numa_nodes_of_the_pod_or_waits():
    where = node()
    admitted(where, budget(3, 2))
    admitted(where, pod((1, "1Gi"), g(1), uid="u2"))
    before = state(where)
    answer = refused(where, budget(4, 3))
    assert answer.feasible
    assert answer.message == "needs 1 more CPU on NUMA node 0, where 0 are free"
    assert state(where) == before
    where.release("u2")
    resized(where, budget(4, 3))


def test_best_effort_may_span_and_restricted_where_an_admission_would():
    for policy, fits in (("best-effort", True), ("restricted", False), ("none", True)):
        where = node(policy, memory="None", reserved_memory=())
        admitted(where, pod((3, "2Gi"), g(2), s()))
        admitted(where, pod((1, "1Gi"), g(1), uid="u2"))
        assert isinstance(where.resize(pod((4, "2Gi"), g(3), s())), Admitted) is fits
    where = node("restricted", memory="None", reserved_memory=())
    first = admitted(where, pod((3, "2Gi"), g(2), s()))
    then = resized(where, pod((8, "2Gi"), g(7), s()))
    assert first.grant.cpus & ~then.grant.cpus == 0
    assert then.grant.cpus.bit_count() == 8
