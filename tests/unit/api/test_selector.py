"""Label selectors select what the API server selects, and refuse what would select nothing."""

import pytest
from hypothesis import given
from podnuma.api.decoding import FieldErrors, Fields, InvalidObjectError
from podnuma.api.selector import EVERYTHING, LabelSelector, read_selector, render_selector

from tests.unit.api.objects import selectors


def read(selector) -> LabelSelector:
    parent = Fields.of({"podSelector": selector}, "spec", FieldErrors())
    found = read_selector(parent, "podSelector")
    parent.errors.check("NodeProfile a")
    return found


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {}, "matchExpressions": []}])
def test_an_absent_or_empty_selector_selects_everything(selector):
    assert read(selector).matches({})
    assert read(selector) == EVERYTHING


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ({"key": "pool", "operator": "In", "values": ["a", "b"]}, ["a", "b"]),
        ({"key": "pool", "operator": "NotIn", "values": ["a", "b"]}, ["c", None]),
        ({"key": "pool", "operator": "Exists"}, ["a", "b", "c"]),
        ({"key": "pool", "operator": "DoesNotExist"}, [None]),
    ],
)
def test_requirements_treat_missing_labels_as_the_api_server_does(expression, chosen):
    selector = read({"matchExpressions": [expression]})
    values = ["a", "b", "c", None]
    assert [v for v in values if selector.matches({} if v is None else {"pool": v})] == chosen


def test_all_requirements_must_hold():
    selector = read(
        {"matchLabels": {"pool": "db"}, "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}
    )
    assert selector.matches({"pool": "db"})
    assert not selector.matches({"pool": "db", "gpu": ""})
    assert not selector.matches({})


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({"matchLabels": {"a b": "c"}}, r"spec.podSelector.matchLabels\[a b\] \"a b\": is not a label key"),
        ({"matchLabels": {"a": "c,d=e"}}, r"matchLabels\[a\] \"c,d=e\": is not a label value"),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "In needs values; add at least one"),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "Exists takes no values; remove them",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "Is"}]}, "must be one of In, NotIn, Exists"),
        ({"matchExpressions": [{"operator": "Exists"}]}, r"matchExpressions\[0\].key: is required"),
    ],
)
def test_a_selector_that_can_not_work_is_refused(selector, words):
    with pytest.raises(InvalidObjectError, match=words):
        read(selector)


@given(selectors)
def test_a_selector_is_read_as_it_was_rendered(selector):
    assert read(render_selector(selector)) == selector


def test_a_key_is_named_in_printable_characters_only():
    problems = FieldErrors()
    read_selector(Fields.of({"s": {"matchLabels": {"a\x00\nb": "x"}}}, "spec", problems), "s")
    with pytest.raises(InvalidObjectError) as refused:
        problems.check("NodeProfile p")
    assert "spec.s.matchLabels[a??b]" in str(refused.value)
    assert str(refused.value).isprintable()
