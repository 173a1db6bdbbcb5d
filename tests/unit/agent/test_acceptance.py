from podnuma.agent.acceptance import Acceptance
from podnuma.agent.watch import Changed, Kind, Listed
from podnuma.allocator import cpuset
from podnuma.api.pod_allocation import Decision, render_pod_allocation


def test_after_a_restart_the_applied_one_still_has_the_older_right(bench, words):
    bench.desired.take_allocations(Listed(()))
    for uid, phase in (("a", "Pending"), ("b", "Applied")):
        item = render_pod_allocation(
            words.pod(uid, words.container("c", "1,9"), cpus="1,9"), "node", Decision(admitted=True)
        )
        item["metadata"] |= {"uid": f"pa-{uid}"}
        item["status"] = {"phase": phase}
        bench.desired.take_allocations(Changed(Kind.ADDED, item))
    acceptance = Acceptance()
    for _ in range(2):
        accepted = acceptance.accept(bench.desired, bench.machine)
        assert set(accepted.grants) == {"b"}
        assert set(accepted.refused) == {"a"}


def test_the_older_right_ends_with_the_allocation(bench, words):
    acceptance = Acceptance()
    first = words.pod("z", words.container("c", "1,9"), cpus="1,9")
    bench.grant(first)
    acceptance.accept(bench.desired, bench.machine)
    bench.grant(words.pod("a", words.container("c", "9"), cpus="9"))
    assert set(acceptance.accept(bench.desired, bench.machine).grants) == {"z"}
    bench.release(first)
    assert set(acceptance.accept(bench.desired, bench.machine).grants) == {"a"}


def test_settings_that_fit_no_machine_take_nothing_away(bench, words):
    bench.grant(words.pod("a", words.container("c", "1,9"), cpus="1,9"))
    bench.settings("0,96")
    accepted = Acceptance().accept(bench.desired, bench.machine)
    assert set(accepted.grants) == {"a"}
    assert accepted.pool == cpuset.parse("0,2-8,10-15")


def test_without_settings_all_other_cpus_are_shared(bench, words):
    bench.grant(words.pod("a", words.container("c", "1,9"), cpus="1,9"))
    assert Acceptance().accept(bench.desired, bench.machine).pool == cpuset.parse("0,2-8,10-15")
