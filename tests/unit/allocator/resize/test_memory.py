"""The memory of a budget."""

from tests.unit.allocator.resize.helpers import budget, node, refused, resized
from tests.unit.allocator.shapes import GI, admitted


def test_memory_grows_only_on_its_own_numa_nodes():
    where = node()
    admitted(where, budget(3, 2, "2Gi"))
    assert resized(where, budget(3, 2, "8Gi")).grant.memory[0].size == 8 * GI
    answer = refused(where, budget(3, 2, "9Gi"))
    assert "needs 9Gi of memory on NUMA node 0, where 8Gi can be had" in answer.message
    assert not answer.feasible
    resized(where, budget(3, 2, "2Gi"))
    assert where.free_memory(0, "memory") == 6 * GI
