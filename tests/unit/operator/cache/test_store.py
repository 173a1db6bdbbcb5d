"""The newest state wins, in whatever order news arrives."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from podnuma.operator.cache.objects import ObjectVersion
from podnuma.operator.cache.store import REMEMBERED, ObjectStore


@dataclass(frozen=True)
class Thing:
    version: ObjectVersion
    name: str
    group: str = "g"


def thing(uid="u1", version=10, name="a", group="g"):
    return Thing(ObjectVersion(uid, version), name, group)


def store():
    return ObjectStore(lambda record: record.name, lambda record: record.group)


def test_an_older_state_does_not_replace_a_newer_one():
    things = store()
    things.update(thing(version=20))
    assert things.update(thing(version=10)) == (thing(version=20), False)
    assert things.update(thing(version=20))[1] is False
    assert things.get("a") == thing(version=20)


def test_versions_are_compared_as_numbers():
    things = store()
    things.update(thing(version=99))
    assert things.update(thing(version=100))[1] is True


def test_a_late_event_does_not_bring_an_ended_object_back():
    things = store()
    things.update(thing(version=10))
    assert things.delete("a", ObjectVersion("u1", 30)) == thing(version=10)
    assert things.update(thing(version=20))[1] is False
    assert things.update(thing(version=40))[1] is False
    assert len(things) == 0
    assert things.was_deleted("u1")


def test_the_end_of_an_old_object_leaves_the_new_one_of_that_name():
    things = store()
    things.update(thing("u1", 10))
    things.update(thing("u2", 20))
    assert things.delete("a", ObjectVersion("u1", 15)) is None
    assert things.get("a") == thing("u2", 20)


def test_an_object_that_an_earlier_list_would_have_shown_is_old_news():
    things = store()
    things.replace([], 50)
    assert things.update(thing(version=40))[1] is False
    assert things.update(thing(version=60))[1] is True


def test_a_list_removes_what_it_lacks_and_keeps_what_is_newer_than_it():
    things = store()
    things.update(thing("u1", 10, "old"))
    things.update(thing("u2", 60, "new"))
    changes = things.replace([thing("u3", 45, "listed")], 50)
    assert {(before and before.name, after and after.name) for before, after in changes} == {
        ("old", None),
        (None, "listed"),
    }
    assert {record.name for record in things} == {"new", "listed"}


def test_a_fresh_look_is_proof_even_for_what_was_thought_to_have_ended():
    things = store()
    things.replace([], 50)
    things.delete("a", ObjectVersion("u1", 0))
    assert things.confirm(thing("u1", 40)) is None
    assert things.get("a") == thing("u1", 40)
    assert not things.was_deleted("u1")


def test_a_slow_look_undoes_nothing_that_happened_meanwhile():
    things = store()
    things.update(thing("u2", 60))
    things.confirm(thing("u1", 40))
    assert things.get("a") == thing("u2", 60)
    things.delete("a", ObjectVersion("u2", 70))
    things.confirm(thing("u2", 60))
    assert things.get("a") is None
    assert things.was_deleted("u2")


def test_records_move_between_groups():
    things = store()
    things.update(thing(version=10, group="n1"))
    things.update(thing(version=20, group="n2"))
    assert things.group("n1") == {}
    assert things.group("n2") == {"a": thing(version=20, group="n2")}


def test_ended_objects_are_forgotten_one_day():
    things = store()
    for number in range(REMEMBERED + 5):
        things.delete("a", ObjectVersion(f"u{number}", number))
    assert not things.was_deleted("u0")
    assert things.was_deleted(f"u{REMEMBERED + 4}")


STATES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(1, 60), st.booleans()), max_size=40
)


@given(STATES, st.randoms(use_true_random=False))
def test_any_order_of_news_about_one_object_ends_in_its_newest_state(states, rng):
    # One object, many versions: delivered in any order and twice, the highest version stays.
    versions = sorted({version for _, _, version, _ in states})
    news = [thing(version=version) for version in versions] * 2
    rng.shuffle(news)
    things = store()
    for record in news:
        things.update(record)
    if versions:
        assert things.get("a") == thing(version=versions[-1])


@given(STATES)
def test_groups_and_names_always_agree(states):
    things = store()
    for name, group, version, ends in states:
        record = thing(f"{name}{group}", version, name, f"g{group}")
        if ends:
            things.delete(name, record.version)
        else:
            things.update(record)
    grouped = [record for number in range(1, 4) for record in things.group(f"g{number}").values()]
    assert sorted(grouped, key=repr) == sorted(things, key=repr)
    assert replace(thing(), name="b").name == "b"
