"""What was decided on one node: durable first, one owner per CPU, and beyond the settings."""

from dataclasses import replace
from typing import Any

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.rules import Rules
from podnuma.api.node_profile import read_node_profile
from podnuma.api.pod_allocation import Decision
from podnuma.operator.cache import decode
from podnuma.operator.node.state import Book
from podnuma.operator.write.allocation_store import PodDecision

from tests.unit.operator.rig import machine, pod, profile


def rules(**spec):
    return Rules(read_node_profile(profile(**spec)).node.settings, machine())


def request(name="db", cpus=4, uid=None):
    value = pod(name, cpus)
    value["metadata"]["uid"] = uid or f"u-{name}"
    found = decode.decode_pod(value)
    assert found is not None
    assert found.request is not None
    return found.key, found.request


def admit(book, name="db", cpus=4):
    key, asked = request(name, cpus)
    answer = book.answer(book.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    book.enter(decided, answer)
    return decided


@pytest.fixture
def book():
    found = Book()
    found.equip(rules())
    return found


def cpus(decided):
    return cpuset.render(decided.grant.exclusive_cpus)


def test_an_answer_changes_nothing(book):
    _, asked = request()
    age = book.age
    assert book.answer(book.allocator, asked) == book.answer(book.allocator, asked)
    assert book.age == age
    assert book.held_cpus == 0


def test_what_was_entered_is_held_until_it_is_released(book):
    first = admit(book, "a")
    second = admit(book, "b")
    assert (cpus(first), cpus(second)) == ("1-2,9-10", "4-5,12-13")
    book.release(first.uid)
    assert cpus(admit(book, "c")) == "1-2,9-10"


def test_a_decision_of_an_earlier_life_is_taken_over_as_it_is(book):
    decided = admit(book)
    later = Book()
    later.equip(rules())
    assert later.adopt(decided) is None
    assert later.held_cpus == decided.grant.exclusive_cpus
    _, asked = request()
    assert later.allocator is not None
    answer = later.answer(later.allocator, asked)
    assert isinstance(answer, Admitted)
    assert answer.grant == decided.grant


def test_a_grant_that_meets_another_one_is_not_taken_over(book):
    decided = admit(book, "a")
    thief = replace(decided, key=request("b")[0], grant=replace(decided.grant, uid="u-b", name="b"))
    problem = book.adopt(thief)
    assert problem == "CPUs 1-2,9-10 belong to default/a"
    assert set(book.decided) == {"u-a"}


def test_new_settings_keep_every_grant_and_say_which_are_out_of_place(book):
    decided = admit(book)
    book.equip(rules(reservedSystemCPUs="0-1,8-9"))
    assert book.held_cpus == decided.grant.exclusive_cpus
    assert set(book.out_of_place) == {decided.uid}


def test_a_book_without_settings_still_knows_who_holds_what(book):
    decided = admit(book)
    book.equip(None)
    assert book.allocator is None
    assert book.held_cpus == decided.grant.exclusive_cpus
    assert book.adopt(replace(decided, grant=replace(decided.grant, uid="other"))) is not None
    book.equip(rules())
    allocator: Any = book.allocator
    assert decided.uid in allocator.grants


def test_the_same_rules_build_nothing_anew(book):
    allocator = book.allocator
    book.equip(allocator.rules)
    assert book.allocator is allocator


def test_the_age_changes_whenever_a_refused_pod_may_fit(book):
    _, asked = request("big", 9)
    assert isinstance(book.answer(book.allocator, asked), Rejected)
    ages = [book.age]
    decided = admit(book)
    ages.append(book.age)
    book.release(decided.uid)
    ages.append(book.age)
    book.equip(rules(topologyManagerPolicy="best-effort"))
    ages.append(book.age)
    assert len(set(ages)) == len(ages)


def test_cpus_of_a_grant_that_the_allocator_cannot_hold_are_not_given_again(book):
    decided = admit(book, "a", 6)
    # The allocator lost its grant (as when it names NUMA nodes that are gone); the book has not.
    book.allocator.release(decided.uid)
    _, asked = request("b", 6)
    answer = book.answer(book.allocator, asked)
    assert isinstance(answer, Rejected)
    assert "still held" in answer.message


def test_notes_go_with_the_pods_they_are_about(book):
    decided = admit(book, "a")
    for uid in ("u-a", "u-gone", "u-here"):
        book.idle.add(uid)
        book.evicted.add(uid)
        book.refused_at[uid] = 1
        book.told[uid] = ("r", "m")
    book.forget_others({"u-here"})
    assert book.idle == book.evicted == set(book.refused_at) == set(book.told) == {"u-a", "u-here"}
    book.release(decided.uid)
    assert book.idle == set(book.told) == {"u-here"}


def test_a_decision_that_took_long_to_write_is_held_all_the_same(book):
    key, asked = request("slow")
    answer = book.answer(book.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    # Meanwhile another pod came and went: the answer is of an earlier generation.
    others = rules(topologyManagerPolicy="best-effort")
    book.equip(others)
    assert book.room_for(decided)
    book.enter(decided, replace(answer, generation=77))
    assert book.held_cpus == decided.grant.exclusive_cpus
    assert decided.uid in book.allocator.grants


def test_a_decision_from_a_while_ago_has_no_room_where_others_moved_in(book):
    key, asked = request("slow")
    answer = book.answer(book.allocator, asked)
    assert isinstance(answer, Admitted)
    decided = PodDecision(key, "n1", answer.grant, Decision.of(answer))
    admit(book, "quick")
    assert not book.room_for(decided)
