import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.desired.acceptance import GrantAcceptance, NodeCpus, accept_grants
from podnuma.allocator import cpuset
from podnuma.allocator.manager_settings import CpuManagerPolicy, ManagerSettings
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.pod_allocation import Decision, render_pod_allocation

CPUS = NodeCpus(cpuset.parse("0-15"), cpuset.parse("0-15"), cpuset.parse("0,8"))


def nowhere(_grant):
    """Say that no container runs on the CPUs of a grant."""
    return False


@pytest.fixture
def grant(words):
    return lambda uid, cpus: words.pod(uid, words.container("c", cpus), cpus=cpus)


def test_an_overlapping_grant_is_refused_in_favour_of_the_applied_one(grant):
    accepted = accept_grants([grant("a", "1-2"), grant("b", "2-3")], {"b": cpuset.parse("2-3")}, CPUS)
    assert set(accepted.grants) == {"b"}
    assert accepted.refused == {
        "a": "spec.cpus '1-2': CPUs 2 are already held by pod default/b; delete one of the two pods"
    }
    assert accepted.pool == cpuset.parse("0-1,4-15")


def test_an_applied_grant_that_was_edited_has_no_older_right(grant):
    accepted = accept_grants([grant("a", "1-2"), grant("b", "2-3")], {"b": cpuset.parse("4")}, CPUS)
    assert set(accepted.grants) == {"a"}


def test_cpus_that_the_node_does_not_have_are_refused_by_name(grant):
    accepted = accept_grants([grant("a", "15-17")], {}, CPUS)
    assert accepted.refused["a"] == ("spec.cpus '15-17': this node has no CPU 16-17; delete the pod")


def test_offline_cpus_are_cpus_of_the_node(grant):
    cpus = NodeCpus(cpuset.parse("0-15"), cpuset.parse("0-7"), cpuset.EMPTY)
    assert set(accept_grants([grant("a", "9")], {}, cpus).grants) == {"a"}


def test_the_shared_pool_is_never_emptied(grant):
    whole = grant("a", "0-15")
    accepted = accept_grants([whole], {}, CPUS)
    assert accepted.grants == {}
    assert "would leave no CPU for the node shared pool" in accepted.refused["a"]
    assert accepted.pool == cpuset.parse("0-15")


def test_the_reserved_cpus_are_the_last_resort_of_the_pool(grant):
    strict = NodeCpus(cpuset.parse("0-15"), cpuset.parse("1-7,9-15"), cpuset.parse("0,8"))
    accepted = accept_grants([grant("a", "1-7,9-15")], {}, strict)
    assert set(accepted.grants) == {"a"}
    assert accepted.pool == cpuset.parse("0,8")


def test_agent_and_operator_work_out_the_same_pool(grant, words):
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC, reserved_system_cpus=cpuset.parse("0,8")
    )
    grants = [grant("a", "1,9"), grant("b", "4-5,12")]
    empty = NodeAllocator.empty(settings, words.machine().topology)
    cpus = NodeCpus(cpuset.parse("0-15"), empty.default_set, empty.reserved_cpus)
    node, problems = NodeAllocator.restore(settings, words.machine().topology, grants)
    assert not problems
    assert accept_grants(grants, {}, cpus).pool == node.shared_pool


def test_after_a_restart_the_applied_one_still_has_the_older_right(bench, words):
    bench.desired.take_allocations(Listed(()))
    for uid, phase in (("a", "Pending"), ("b", "Applied")):
        item = render_pod_allocation(
            words.pod(uid, words.container("c", "1,9"), cpus="1,9"), "node", Decision(admitted=True)
        )
        item["metadata"] |= {"uid": f"pa-{uid}"}
        item["status"] = {"phase": phase}
        bench.desired.take_allocations(Changed(WatchEventType.ADDED, item))
    acceptance = GrantAcceptance()
    for _ in range(2):
        accepted = acceptance.update(bench.desired, bench.machine, nowhere)
        assert set(accepted.grants) == {"b"}
        assert set(accepted.refused) == {"a"}


def test_the_older_right_ends_with_the_allocation(bench, words):
    acceptance = GrantAcceptance()
    first = words.pod("z", words.container("c", "1,9"), cpus="1,9")
    bench.grant(first)
    acceptance.update(bench.desired, bench.machine, nowhere)
    bench.grant(words.pod("a", words.container("c", "9"), cpus="9"))
    assert set(acceptance.update(bench.desired, bench.machine, nowhere).grants) == {"z"}
    bench.release(first)
    assert set(acceptance.update(bench.desired, bench.machine, nowhere).grants) == {"a"}


def test_settings_that_fit_no_machine_take_nothing_away(bench, words):
    bench.grant(words.pod("a", words.container("c", "1,9"), cpus="1,9"))
    bench.settings("0,96")
    accepted = GrantAcceptance().update(bench.desired, bench.machine, nowhere)
    assert set(accepted.grants) == {"a"}
    assert accepted.pool == cpuset.parse("0,2-8,10-15")


def test_without_settings_all_other_cpus_are_shared(bench, words):
    bench.grant(words.pod("a", words.container("c", "1,9"), cpus="1,9"))
    assert GrantAcceptance().update(bench.desired, bench.machine, nowhere).pool == cpuset.parse("0,2-8,10-15")


def test_of_two_that_overlap_the_one_that_runs_there_stays_whatever_else_is_known(grant):
    both = [grant("a", "1-2"), grant("b", "2-3")]
    accepted = accept_grants(both, {"a": cpuset.parse("1-2")}, CPUS, running={"b"})
    assert set(accepted.grants) == {"b"}


def test_who_is_refused_keeps_what_was_in_force_before(grant):
    earlier, later = grant("b", "3-4"), grant("b", "2-4")
    accepted = accept_grants(
        [grant("a", "1-2"), later], {"a": cpuset.parse("1-2")}, CPUS, last={"b": earlier}
    )
    assert accepted.grants["b"] == earlier
    assert "CPUs 2 are already held by pod default/a" in accepted.refused["b"]
    assert accepted.pool == cpuset.parse("0,5-15")


def test_what_was_in_force_before_is_not_kept_where_others_are_by_now(grant):
    accepted = accept_grants(
        [grant("a", "1-2"), grant("b", "2-4")],
        {"a": cpuset.parse("1-2")},
        CPUS,
        running={"a"},
        last={"b": grant("b", "1,3")},
    )
    assert set(accepted.grants) == {"a"}


def test_the_kernel_is_asked_about_those_that_overlap_only(bench, words):
    asked = []

    def runs(grant):
        asked.append(grant.uid)
        return False

    for uid, cpus in (("a", "1,9"), ("b", "2,10"), ("c", "2,11")):
        bench.grant(words.pod(uid, words.container("c", cpus), cpus=cpus))
    GrantAcceptance().update(bench.desired, bench.machine, runs)
    assert asked == ["b", "c"]
