"""Each value is what sigs.k8s.io/yaml v1.6.0 makes of the same text; recorded by running it."""

import json
from pathlib import Path

import pytest
import yaml
from podnuma.cli.objects.kubectl_yaml import load_all

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
