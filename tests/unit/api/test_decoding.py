"""Everything wrong with an object is found in one pass, with its path, and bounded."""

import enum
import pickle

import pytest
from hypothesis import given
from podnuma.api.decoding import (
    MAX_ERRORS,
    FieldErrors,
    Fields,
    InvalidObjectError,
    boolean,
    choice,
    cut,
    integer,
    parsed,
    shown,
    text,
)
from podnuma.api.object_metadata import read_metadata, subject

from tests.unit.api.objects import junk


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def fields(content, path="spec"):
    return Fields.of(content, path, FieldErrors())


def found(reader: Fields) -> list[tuple[str, str, str]]:
    return [(problem.path, problem.value, problem.message) for problem in reader.errors.found]


def test_absent_and_null_read_as_the_default():
    reader = fields({"a": None})
    assert reader.optional("a", text(5), "x") == "x"
    assert reader.optional("b", integer(), 7) == 7
    assert reader.maybe("a", text(5)) is None
    assert not reader.has("a")
    assert found(reader) == []


def test_a_required_field_that_is_absent_is_named():
    reader = fields({})
    assert reader.required("name", text(5), "") == ""
    assert found(reader) == [("spec.name", "", "is required")]


def test_a_refused_value_is_named_and_reading_goes_on():
    reader = fields({"a": 5, "b": "purple", "c": -1, "d": "yes", "e": 3})
    assert reader.optional("a", text(5), "x") == "x"
    assert reader.optional("b", choice(Colour), Colour.RED) is Colour.RED
    assert reader.required("c", integer(0, 9), 4) == 4
    assert reader.optional("d", boolean, default=True) is True
    assert reader.maybe("e", integer()) == 3
    assert found(reader) == [
        ("spec.a", "5", "must be a string"),
        ("spec.b", '"purple"', "must be one of red, blue"),
        ("spec.c", "-1", "must be from 0 to 9"),
        ("spec.d", '"yes"', "must be true or false"),
    ]


def test_texts_are_bounded():
    reader = fields({"a": "x" * 11, "b": ""})
    reader.optional("a", text(10), "")
    reader.optional("b", text(10, shortest=1), "y")
    assert found(reader) == [
        ("spec.a", '"xxxxxxxxxxx"', "has 11 characters; at most 10 are allowed"),
        ("spec.b", '""', "must not be empty"),
    ]


@pytest.mark.parametrize(
    "value", [True, 1.5, float("nan"), float("inf"), "1", [], pytest.param(10**5000, id="huge")]
)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ValueError, match="must be"):
        integer()(value)


def test_a_whole_number_written_as_float_is_a_whole_number():
    assert integer()(3.0) == 3


def test_lists_and_maps_name_the_place_of_what_is_wrong():
    reader = fields({"l": [{"n": 1}, 5, {"n": "x"}], "v": ["a", 1], "m": {"a": "b", "c": 2, 3: "d"}})
    assert [item.optional("n", integer(), 0) for item in reader.items("l", 5)] == [1, 0, 0]
    assert reader.values("v", text(5), 5) == ("a",)
    assert reader.mapping("m", text(5), 5) == {"a": "b"}
    assert found(reader) == [
        ("spec.l[1]", "5", "must be an object"),
        ("spec.l[2].n", '"x"', "must be a whole number"),
        ("spec.v[1]", "1", "must be a string"),
        ("spec.m[c]", "2", "must be a string"),
        ("spec.m[3]", "", "keys must be strings"),
    ]


def test_lists_and_maps_that_are_too_long_are_not_read():
    reader = fields({"l": [1] * 6, "m": {str(n): "" for n in range(6)}, "n": "no list"})
    assert reader.values("l", integer(), 5) == ()
    assert reader.mapping("m", text(5), 5) == {}
    assert list(reader.items("n", 5)) == []
    assert found(reader) == [
        ("spec.l", "(a list)", "has 6 entries; at most 5 are allowed"),
        ("spec.m", "(an object)", "has 6 entries; at most 5 are allowed"),
        ("spec.n", '"no list"', "must be a list"),
    ]


def test_what_a_parser_refuses_is_a_problem():
    reader = fields({"a": "x1", "b": "12"})
    assert reader.optional("a", parsed(int, 5), 0) == 0
    assert reader.optional("b", parsed(int, 5), 0) == 12
    assert [path for path, _, _ in found(reader)] == ["spec.a"]


def test_one_error_has_all_problems_and_names_the_object():
    problems = FieldErrors()
    problems.add("spec.a", 5, "must be a string")
    problems.add("spec.b", {}, "must be a list")
    with pytest.raises(InvalidObjectError) as caught:
        problems.check("NodeProfile db")
    assert str(caught.value) == (
        "NodeProfile db, spec.a 5: must be a string; spec.b (an object): must be a list"
    )
    assert caught.value.subject == "NodeProfile db"
    assert isinstance(caught.value, ValueError)


def test_an_error_survives_the_way_between_processes():
    problems = FieldErrors()
    problems.add("spec.a", 5, "must be a string")
    with pytest.raises(InvalidObjectError) as caught:
        problems.check("Pod a/b")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.subject, again.errors) == (caught.value.subject, caught.value.errors)


def test_problems_are_counted_beyond_a_limit():
    problems = FieldErrors()
    for number in range(MAX_ERRORS + 3):
        problems.add(f"spec.a[{number}]", "x" * 10_000, "is wrong " * 1000)
    with pytest.raises(InvalidObjectError) as caught:
        problems.check("Pod a/b")
    assert len(caught.value.errors) == MAX_ERRORS + 1
    assert str(caught.value).endswith("(more): 3 further problems")
    assert len(str(caught.value)) < 12_000


def test_no_problem_raises_nothing():
    FieldErrors().check("Pod a/b")


@given(junk)
def test_any_value_has_a_bounded_printable_text(value):
    words = shown(value)
    assert len(words) <= 110
    assert words.isprintable()


def test_long_texts_are_cut_and_control_characters_are_not_shown():
    assert cut("a" * 100) == "a" * 77 + "..."
    assert cut("a\nb\x1b[31m\ud800") == "a?b?[31m?"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"metadata": {"name": "a"}}, "Pod a"),
        ({"metadata": {"name": "a", "namespace": "b"}}, "Pod b/a"),
        ({"metadata": {"namespace": "b"}}, "Pod without a name in b"),
        ({"metadata": {"name": 7}}, "Pod without a name"),
        ({"metadata": 7}, "Pod without a name"),
        (None, "Pod without a name"),
    ],
)
def test_errors_name_the_object_as_far_as_it_can_be_read(value, words):
    assert subject("Pod", value) == words


def test_metadata_of_a_stored_object():
    metadata = read_metadata(
        fields(
            {
                "metadata": {
                    "name": "a",
                    "namespace": "b",
                    "uid": "u",
                    "resourceVersion": "12",
                    "generation": 3,
                    "deletionTimestamp": "2026-01-01T00:00:00Z",
                }
            },
            "",
        )
    )
    assert (metadata.name, metadata.namespace, metadata.uid) == ("a", "b", "u")
    assert (metadata.resource_version, metadata.generation, metadata.deleted) == ("12", 3, True)


def test_a_manifest_may_leave_the_end_of_its_name_to_the_server():
    reader = fields({"metadata": {"generateName": "batch-"}}, "")
    assert read_metadata(reader).name == "batch-"
    assert found(reader) == []


def test_no_path_brings_characters_into_an_error_that_a_terminal_would_obey():
    problems = FieldErrors()
    problems.add("spec.labels[\x1b[2J]", 1, "is wrong")
    with pytest.raises(InvalidObjectError) as refused:
        problems.check("Pod a")
    assert str(refused.value) == "Pod a, spec.labels[?[2J] 1: is wrong"
