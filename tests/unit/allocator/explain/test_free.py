"""The numbers of what is free follow what is held, and only what is managed has any."""

from podnuma.allocator import nodeset
from podnuma.allocator.explain.free import FreeRow, free_rows
from podnuma.allocator.node_allocator import NodeAllocator

from tests.unit.allocator.shapes import GI, admitted, machine, pod, s, settings


def node(**told):
    return NodeAllocator.empty(settings("restricted", "pod", **told), machine("DS12"))


def test_what_a_pod_holds_is_free_no_more_and_can_still_be_given_by_an_empty_node():
    held = node()
    before = list(free_rows(held))
    admitted(held, pod((2, "3Gi"), s()))
    after = list(free_rows(held))
    taken = {(row.node, row.resource): row.free - now.free for row, now in zip(before, after, strict=True)}
    assert taken == {(0, "cpu"): 2, (0, "memory"): 3 * GI, (1, "cpu"): 0, (1, "memory"): 0}
    assert [row.grantable for row in after] == [row.grantable for row in before]


def test_a_manager_whose_policy_is_none_has_no_rows():
    memory_only = list(free_rows(node(cpu="none")))
    assert memory_only == [
        FreeRow(0, "memory", 8 * GI, 8 * GI, nodeset.of([0])),
        FreeRow(1, "memory", 8 * GI, 8 * GI, nodeset.of([1])),
    ]
