"""Bodies of server-side apply say the same as JSON and as YAML."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.kube.apply_body import apply_body

bodies = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
)


@given(bodies)
def test_it_is_json(body):
    assert json.loads(apply_body(body)) == body


@pytest.mark.parametrize(
    "text", ["\U0001d54f", "a\u2028b", "\x85", "\ufeff", "\x7f", "\x00\x1b[31m", "\\ud835", '"']
)
def test_it_is_yaml_with_the_same_text(text):
    assert yaml.safe_load(apply_body({"a": text})) == {"a": text}


def test_nothing_beyond_the_basic_plane_is_escaped():
    assert apply_body({"a": "\U0001d54f"}) == '{"a": "\U0001d54f"}'.encode()


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    assert json.loads(apply_body({"a": "x\ud800y"})) == {"a": "x\ufffdy"}
