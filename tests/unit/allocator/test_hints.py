"""The hint value."""

from podnuma.allocator.hints import NO_HINT, Hint


def test_no_hint_names_no_nodes_and_is_not_preferred():
    assert Hint(None, preferred=False) == NO_HINT
