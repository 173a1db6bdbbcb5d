"""The CPUs of a budget: who keeps which, who gets what another gives up, and what goes back to the node."""

from dataclasses import replace

import pytest
from podnuma.allocator.manager_settings import IsolatedCpuPolicy
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.resize.helpers import budget, node, refused, resized
from tests.unit.allocator.shapes import INIT, SIDECAR, admitted, cpus, g, machine, pod, s, sets, settings

CASES = {
    "slice and budget grow": ((3, 2), (4, 3), "1,7 / 2", "1,7-8 / 2"),
    "the budget grows, the pool gets it": ((3, 2), (4, 2), "1,7 / 2", "1,7 / 2,8"),
    "the slice grows into the pool": ((4, 2), (4, 3), "1,7 / 2,8", "1-2,7 / 8"),
    "the slice shrinks, the pool grows": ((4, 3), (4, 1), "1-2,7 / 8", "2 / 1,7-8"),
    "slice and budget shrink, the pool stays": ((4, 3), (3, 2), "1-2,7 / 8", "1,7 / 8"),
    "the budget shrinks, the slice stays": ((4, 2), (3, 2), "1,7 / 2,8", "1,7 / 2"),
    "exclusive becomes shared": ((4, 2), (4, 0), "1,7 / 2,8", "1-2,7-8 / 1-2,7-8"),
    "shared becomes exclusive": ((4, 0), (4, 2), "1-2,7-8 / 1-2,7-8", "1,7 / 2,8"),
    "a whole budget becomes a fraction": ((4, 2), ("3500m", 2), "1,7 / 2,8", "DEF / DEF"),
    "nothing but the memory changes": ((3, 2, "2Gi"), (3, 2, "3Gi"), "1,7 / 2", "1,7 / 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_budget_keeps_what_it_keeps_cpu_by_cpu(case):
    before, after, held, then = CASES[case]
    where = node()
    assert sets(admitted(where, budget(*before))) == held
    assert sets(resized(where, budget(*after))) == then


def test_only_whole_cores_are_given_back_where_only_whole_cores_are_given():
    where = node(options="full-pcpus-only")
    admitted(where, budget(4, 3))
    assert "cores" in refused(where, budget(3, 2)).message or "SMT" in refused(where, budget(3, 2)).message
    kept = resized(where, budget(2, 1)).grant.cpus
    assert where.topology.whole_cores(kept) == kept


def test_sidecars_have_slices_that_grow_and_init_containers_run_on_what_they_leave():
    where = node()
    before = pod((4, "3Gi"), g(1, kind=SIDECAR), g(2, kind=INIT), s(kind=INIT), g(1), s())
    assert sets(admitted(where, before)) == "1 / 2,8 / 2,7-8 / 7 / 2,8"
    after = pod((4, "3Gi"), g(2, kind=SIDECAR), g(2, kind=INIT), s(kind=INIT), g(1), s())
    # The second CPU of the sidecar comes from the pool, so the init container has to leave it.
    assert sets(resized(where, after)) == "1-2 / 7-8 / 7-8 / 7 / 8"
    assert sets(resized(where, before)) == "1 / 7-8 / 2,7-8 / 7 / 2,8"


def test_containers_that_ask_for_more_than_the_budget_are_refused():
    where = node()
    admitted(where, pod((3, "2Gi"), g(2), g(1)))
    answer = refused(where, pod((3, "2Gi"), g(4), g(1)))
    assert "requested=5, available=3" in answer.message
    assert not answer.feasible


def test_the_pool_never_grows_by_isolated_cpus():
    exclusive = replace(settings(memory="None"), isolated_cpu_policy=IsolatedCpuPolicy.EXCLUSIVE)
    where = NodeAllocator.empty(exclusive, replace(machine("DS12"), isolated=cpus("2,8,10")))
    first = admitted(where, budget(2, 1)).grant
    grown = resized(where, budget(4, 2)).grant
    assert first.cpus & ~grown.cpus == 0
    assert grown.containers[1].cpus & cpus("2,8,10") == 0
    assert refused(where, budget(4, 1)).message == "needs 1 more CPU on NUMA node 0, where 0 are free"
