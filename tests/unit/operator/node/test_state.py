"""What was decided on one node: durable first, one owner per CPU, and longer than the settings."""

from dataclasses import replace
from typing import Any

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.rules import Rules
from podnuma.api.node_profile import read_node_profile
from podnuma.api.pod_allocation import Decision
from podnuma.operator.cache import decode
from podnuma.operator.node.state import NodeState
from podnuma.operator.write.decision import PodDecision

from tests.unit.operator.rig import machine, pod, profile


def rules(**spec):
    return Rules(read_node_profile(profile(**spec)).node.managers, machine())


def request(name="db", cpus=4, uid=None):
    value = pod(name, cpus)
    value["metadata"]["uid"] = uid or f"u-{name}"
    found = decode.decode_pod(value)
    assert found is not None
    assert found.request is not None
    return found.key, found.request


def admit(state, name="db", cpus=4):
    key, asked = request(name, cpus)
    answer = state.decide(state.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    state.hold(decided, answer)
    return decided


@pytest.fixture
def state():
    found = NodeState("n1")
    found.use_rules(rules())
    return found


def cpus(decided):
    return cpuset.render(decided.grant.exclusive_cpus)


def test_an_answer_changes_nothing(state):
    _, asked = request()
    revision = state.revision
    assert state.decide(state.allocator, asked) == state.decide(state.allocator, asked)
    assert state.revision == revision
    assert state.exclusive_cpus == 0


def test_what_was_entered_is_held_until_it_is_released(state):
    first = admit(state, "a")
    second = admit(state, "b")
    assert (cpus(first), cpus(second)) == ("1-2,9-10", "4-5,12-13")
    state.release(first.uid)
    assert cpus(admit(state, "c")) == "1-2,9-10"


def test_a_decision_of_an_earlier_life_is_taken_over_as_it_is(state):
    decided = admit(state)
    later = NodeState("n1")
    later.use_rules(rules())
    assert later.adopt(decided) is None
    assert later.exclusive_cpus == decided.grant.exclusive_cpus
    _, asked = request()
    assert later.allocator is not None
    answer = later.decide(later.allocator, asked)
    assert isinstance(answer, Admitted)
    assert answer.grant == decided.grant


def test_a_grant_that_meets_another_one_is_not_taken_over(state):
    decided = admit(state, "a")
    thief = replace(decided, key=request("b")[0], grant=replace(decided.grant, uid="u-b", name="b"))
    problem = state.adopt(thief)
    assert problem == "CPUs 1-2,9-10 belong to default/a"
    assert set(state.decisions) == {"u-a"}


def test_new_settings_keep_every_grant_and_say_which_pods_are_outdated(state):
    decided = admit(state)
    state.use_rules(rules(reservedSystemCPUs="0-1,8-9"))
    assert state.exclusive_cpus == decided.grant.exclusive_cpus
    assert set(state.outdated) == {decided.uid}


def test_a_node_without_settings_still_knows_who_holds_what(state):
    decided = admit(state)
    state.use_rules(None)
    assert state.allocator is None
    assert state.exclusive_cpus == decided.grant.exclusive_cpus
    assert state.adopt(replace(decided, grant=replace(decided.grant, uid="other"))) is not None
    state.use_rules(rules())
    allocator: Any = state.allocator
    assert decided.uid in allocator.grants


def test_the_same_rules_build_nothing_anew(state):
    allocator = state.allocator
    state.use_rules(allocator.rules)
    assert state.allocator is allocator


def test_the_revision_changes_whenever_a_refused_pod_may_fit(state):
    _, asked = request("big", 9)
    assert isinstance(state.decide(state.allocator, asked), Rejected)
    revisions = [state.revision]
    decided = admit(state)
    revisions.append(state.revision)
    state.release(decided.uid)
    revisions.append(state.revision)
    state.use_rules(rules(topologyManagerPolicy="best-effort"))
    revisions.append(state.revision)
    assert len(set(revisions)) == len(revisions)


def test_cpus_of_a_grant_that_the_allocator_cannot_hold_are_not_given_again(state):
    decided = admit(state, "a", 6)
    # The allocator lost its grant (as when it names NUMA nodes that are gone); the state has not.
    state.allocator.release(decided.uid)
    _, asked = request("b", 6)
    answer = state.decide(state.allocator, asked)
    assert isinstance(answer, Rejected)
    assert "still held" in answer.message


def test_what_is_remembered_goes_with_the_pods_they_are_about(state):
    decided = admit(state, "a")
    for uid in ("u-a", "u-gone", "u-here"):
        state.pods[uid].idle = "r1"
    state.forget_absent({"u-here"})
    assert set(state.pods) == {"u-a", "u-here"}
    assert state.pods["u-here"].idle == "r1"
    state.release(decided.uid)
    assert set(state.pods) == {"u-here"}


def test_a_decision_that_took_long_to_write_is_held_all_the_same(state):
    key, asked = request("slow")
    answer = state.decide(state.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    # Meanwhile another pod came and went: the answer is of an earlier generation.
    others = rules(topologyManagerPolicy="best-effort")
    state.use_rules(others)
    assert state.still_fits(decided)
    state.hold(decided, replace(answer, generation=77))
    assert state.exclusive_cpus == decided.grant.exclusive_cpus
    assert decided.uid in state.allocator.grants


def test_a_decision_from_a_while_ago_has_no_room_where_others_moved_in(state):
    key, asked = request("slow")
    answer = state.decide(state.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    admit(state, "quick")
    assert not state.still_fits(decided)
