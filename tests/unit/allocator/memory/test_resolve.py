"""The node set memory finally comes from; specification, sections 4.5, 4.10 and 11.7."""

import pytest
from podnuma.allocator import nodeset
from podnuma.allocator.memory.resolve import resolve
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator.memory.test_memory_map import tables

EQUAL = (1536, 1536)
UNEQUAL = (1536, 512, 512, 512)

RESOLVED = [
    # memory per node, charged before (nodes, size), wanted, hint, preferred, result
    (EQUAL, [], 2048, None, True, "0-1"),
    (EQUAL, [], 2048, "0", True, "0-1"),
    (EQUAL, [], 1024, "0-1", False, "0-1"),
    (UNEQUAL, [("0", 1024)], 1024, "1", False, "1-2"),
    ((1536,) * 3, [("0-1", 1024)], 512, None, True, "2"),
    ((1536,) * 3, [("0-1", 1024)], 1536, "0-1", False, "0-1"),
    ((1536,) * 3, [("0-2", 1024)], 512, "0-1", False, "0-2"),
    ((1536,) * 3, [("0-2", 1024)], 3072, "1-2", False, "0-2"),
]
REFUSED = [
    (EQUAL, [("0", 512)], 1024, "0-1", True, "preferred hint violates NUMA node allocation"),
    (
        EQUAL,
        [("0", 512)],
        2048,
        None,
        True,
        "failed to get the default NUMA affinity, no NUMA nodes with enough memory is available",
    ),
    (EQUAL, [("0", 1024)], 1024, "0", True, "failed to find NUMA nodes to extend the current topology hint"),
    (UNEQUAL, [("0", 1024)], 1024, "1", True, "failed to find the extended preferred hint"),
    (UNEQUAL, [("0", 1024)], 1024, None, True, "failed to find the default preferred hint"),
]


def made(memories, charged):
    found = tables(*memories)
    for nodes, size in charged:
        found.charge(nodeset.parse(nodes), "memory", size)
    return found


def hint(text, preferred):
    return TopologyHint(None if text is None else nodeset.parse(text), preferred)


@pytest.mark.parametrize(("memories", "charged", "size", "nodes", "preferred", "expected"), RESOLVED)
def test_a_hint_is_taken_or_widened(memories, charged, size, nodes, preferred, expected):
    found = resolve(made(memories, charged), {"memory": size}, hint(nodes, preferred), {})
    assert nodeset.render(found) == expected


@pytest.mark.parametrize(("memories", "charged", "size", "nodes", "preferred", "text"), REFUSED)
def test_what_cannot_be_had_is_refused_in_the_kubelets_words(memories, charged, size, nodes, preferred, text):
    with pytest.raises(Refusal) as refusal:
        resolve(made(memories, charged), {"memory": size}, hint(nodes, preferred), {})
    assert refusal.value.message == f"Allocate failed due to [memorymanager] {text}, which is unexpected"


def test_a_member_of_a_group_is_widened_to_its_group():
    found = made(EQUAL, [("0-1", 512)])
    assert resolve(found, {"memory": 100}, hint("0", preferred=False), {}) == 0b11


def test_a_preferred_member_of_a_group_is_refused_rather_than_torn_out():
    with pytest.raises(Refusal, match="extended preferred hint"):
        resolve(made(EQUAL, [("0-1", 512)]), {"memory": 100}, hint("0", preferred=True), {})
