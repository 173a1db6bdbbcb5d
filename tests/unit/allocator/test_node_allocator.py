"""Decide, hold, release, restore."""

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import Admitted, Reason, Rejected
from podnuma.allocator.node_allocator import NodeAllocator, StaleDecisionError
from podnuma.allocator.rules import Rules

from tests.unit.allocator.shapes import GI, admitted, cpus, g, machine, pod, refused, s, settings


def node(policy="single-numa-node", scope="pod", **told):
    return NodeAllocator.empty(settings(policy, scope, **told), machine("DS12"))


DB = pod((4, "4Gi"), g(2, "2Gi"), s(), uid="db")


def test_deciding_changes_nothing():
    here = node()
    first, second = here.decide(DB), here.decide(DB)
    assert isinstance(first, Admitted)
    assert first == second
    assert here.default_set == machine("DS12").all_cpus
    assert here.free_memory(0, "memory") == 8 * GI
    assert dict(here.grants) == {}


def test_a_decision_is_stale_once_the_node_changed():
    here = node()
    decision = here.decide(DB)
    admitted(here, pod((2, "1Gi"), s(), uid="other"))
    assert isinstance(decision, Admitted)
    with pytest.raises(StaleDecisionError, match="pod lab/db was decided at generation 0, the node is at 1"):
        here.hold(decision)


def test_a_held_pod_is_not_decided_anew():
    here = node("restricted")
    grant = admitted(here, DB).grant
    again = here.decide(pod((1, "1Gi"), s(), uid="db"))
    assert isinstance(again, Admitted)
    assert again.grant is grant
    generation = here.generation
    here.hold(again)
    assert here.generation == generation


def test_releasing_undoes_holding():
    here = node()
    admitted(here, DB)
    assert here.default_set == cpus("0-1,3,5-7,9,11")
    assert here.free_memory(0, "memory") == 4 * GI
    assert here.release("db")
    assert here.default_set == machine("DS12").all_cpus
    assert here.free_memory(0, "memory") == 8 * GI
    assert not here.release("db")


def test_a_restart_decides_nothing_again():
    for policy in ("single-numa-node", "restricted", "best-effort"):
        before = node(policy)
        for uid in ("a", "b"):
            admitted(before, pod((4, "3Gi"), g(2, "2Gi"), s(), uid=uid))
        after, problems = NodeAllocator.restore(before.settings, before.topology, before.grants.values())
        assert problems == []
        assert after.grants == before.grants
        assert after.default_set == before.default_set
        assert [after.memory_rows(one) for one in (0, 1)] == [before.memory_rows(one) for one in (0, 1)]


def test_new_cpus_join_the_shared_pool_at_the_next_start():
    before = NodeAllocator.empty(settings(reserved="0", nodes=1), machine("SS8"))
    grant = admitted(before, pod((2, "1Gi"), s())).grant
    larger = machine("U16D")
    after, problems = NodeAllocator.restore(settings(reserved="0", nodes=1), larger, [grant])
    assert problems == []
    assert after.default_set == larger.all_cpus & ~grant.exclusive_cpus


def test_reserved_cpus_are_shared_unless_reserved_strictly():
    assert node().shared_pool == cpus("0-11")
    strict = node(options="strict-cpu-reservation")
    assert strict.shared_pool == cpus("1-11")
    assert strict.reserved_cpus == cpus("0")


def test_the_shared_pool_is_never_empty():
    """Not even where a pod holds all CPUs since before they were reserved strictly."""
    lenient = node("none")
    grant = admitted(lenient, pod(None, g(11, "1Gi"))).grant
    here, problems = NodeAllocator.restore(
        settings("none", "pod", options="strict-cpu-reservation"), machine("DS12"), [grant]
    )
    assert problems == []
    assert here.default_set == 0
    assert here.shared_pool == cpus("0")


def test_a_pod_that_would_leave_nothing_but_reserved_cpus_is_refused():
    here = node("none", options="strict-cpu-reservation")
    answer = here.decide(pod(None, g(11, "1Gi")))
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.EMPTY_NODE_SHARED_POOL
    assert "take all 11 CPUs that are left" in answer.message
    admitted(here, pod(None, g(10, "1Gi")))
    assert here.shared_pool.bit_count() == 1
    admitted(here, pod(None, s(), uid="shared"))
    assert isinstance(node("none").decide(pod(None, g(11, "1Gi"))), Admitted), "they are shared there"


def test_without_static_policy_everything_is_shared():
    here = node(cpu="none")
    admitted(here, DB)
    assert here.shared_pool == cpus("0-11")
    assert here.reserved_cpus == 0
    assert here.free_memory(0, "memory") == 4 * GI


def test_without_static_memory_nothing_is_charged():
    here = node(memory="None")
    grant = admitted(here, DB).grant
    assert grant.charged == ()
    assert [container.memory_nodes for container in grant.containers] == [None, None]


def test_groups_and_assignments_can_be_read():
    here = node("best-effort")
    admitted(here, pod((2, "12Gi"), s()))
    assert [here.memory_group(one) for one in (0, 1)] == [0b11, 0b11]
    assert [here.memory_assignments(one) for one in (0, 1)] == [1, 1]


def test_assignments_are_counted_from_what_is_held():
    here = node()
    admitted(here, DB)
    admitted(here, pod(None, g(1, "1Gi"), g("500m", "1Gi"), uid="plain"))
    assert here.assignment_counts() == {
        ("cpu", AssignmentType.POD_EXCLUSIVE): 1,
        ("cpu", AssignmentType.POD_SHARED): 1,
        ("cpu", AssignmentType.NODE_EXCLUSIVE): 1,
        ("cpu", AssignmentType.NODE_SHARED): 1,
        ("memory", AssignmentType.POD_EXCLUSIVE): 1,
        ("memory", AssignmentType.POD_SHARED): 1,
        ("memory", AssignmentType.NODE_EXCLUSIVE): 2,
    }


def test_equal_nodes_can_share_their_rules():
    rules = Rules(settings(), machine("DS12"))
    one, other = NodeAllocator(rules), NodeAllocator(rules)
    admitted(one, DB)
    assert other.default_set == machine("DS12").all_cpus
    assert one.rules is other.rules


def test_a_full_node_refuses_and_stays_usable():
    here = node()
    admitted(here, pod((5, "1Gi"), s(), uid="a"))
    admitted(here, pod((6, "1Gi"), s(), uid="b"))
    assert isinstance(refused(here, DB), Rejected)
    here.release("a")
    assert cpuset.render(admitted(here, DB).grant.exclusive_cpus) == "2,4,8,10"


def test_without_pod_level_managers_budgets_hold_nothing():
    from dataclasses import replace

    here = NodeAllocator.empty(replace(settings(), pod_level_managers=False), machine("DS12"))
    assert not admitted(here, DB).grant.holds_anything
    assert admitted(here, pod(None, g(2, "1Gi"))).grant.holds_anything
