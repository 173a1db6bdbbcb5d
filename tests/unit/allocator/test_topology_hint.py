"""The hint value."""

from podnuma.allocator.topology_hint import NO_HINT, TopologyHint


def test_no_hint_names_no_nodes_and_is_not_preferred():
    assert TopologyHint(None, preferred=False) == NO_HINT
