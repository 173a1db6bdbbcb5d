"""Each value is what sigs.k8s.io/yaml v1.6.0 makes of the same text; recorded by running it."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from podnuma.plumbing.kube.kubectl_yaml import dump_yaml, load_all

RECORDED = json.loads((Path(__file__).parent / "kubectl_yaml.json").read_text())


def one(text: str):
    ((_, value),) = load_all(text)
    return value


@pytest.mark.parametrize("text", RECORDED)
def test_a_document_is_the_json_that_kubectl_sends(text):
    if RECORDED[text] is None:
        with pytest.raises(yaml.YAMLError):
            one(text)
    else:
        # Compared as texts: in Python 1 equals True and 1.0.
        assert json.dumps(one(text), sort_keys=True) == json.dumps(RECORDED[text], sort_keys=True)


def test_dates_times_and_signs_in_labels_are_their_own_text():
    assert one("{released: 2026-04-01, at: 22:30, op: =, version: 1.2.3}") == {
        "released": "2026-04-01",
        "at": "22:30",
        "op": "=",
        "version": "1.2.3",
    }


def test_every_document_has_its_line():
    assert list(load_all("a: 1\n---\n\nb: 2\n")) == [(1, {"a": 1}), (4, {"b": 2})]


def test_a_value_that_contains_itself_is_refused():
    with pytest.raises(yaml.YAMLError, match="contains itself"):
        one("a: &a {b: [*a]}")


def test_aliases_of_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(yaml.YAMLError, match="excessive aliasing"):
        one("\n".join(lines))


def test_a_number_of_a_million_digits_is_infinite_and_so_text():
    assert one("9" * 1_000_000) == "9" * 1_000_000


# What no API server and no YAML file can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@example("y")
@example("12e5")
@example("08")
@example("0o17")
@example("1_000")
@example("-.5e3")
@example("a\x85b")
@example("\ufeffa\u2028")
@example("")
@given(TEXTS)
def test_every_text_is_read_back_by_kubectl_and_by_pyyaml(text):
    for value in ({"name": text}, {text: [text, [text]]}):
        written = dump_yaml(value)
        assert one(written) == yaml.safe_load(written) == value


def test_values_that_are_no_texts_are_read_back():
    value: dict[str, object] = {"a": [1, -5, True, None, 0.5, {}, []], "b": {"c": {"d": "0-3,8"}}}
    assert one(dump_yaml(value)) == value
    assert list(one(dump_yaml(value))) == ["a", "b"]


def test_a_value_that_stands_twice_is_written_twice():
    same = ["x"]
    assert dump_yaml({"a": same, "b": same}) == "a:\n- x\nb:\n- x\n"
