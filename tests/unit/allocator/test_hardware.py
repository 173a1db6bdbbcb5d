"""Facts about a machine; specification, section 2.1."""

import pytest
from podnuma.allocator.hardware import Cpu, NumaNode, TopologyError
from podnuma.allocator.topology import Topology

from tests.unit.allocator.shapes import from_cores

NODE = NumaNode(0, 2**34)


def test_nodes_may_be_listed_in_any_order():
    topology = from_cores(
        [((0,), 0, 0, None), ((1,), 1, 1, None)],
        [NumaNode(1, 2**34, distances=(10, 32)), NumaNode(0, 2**34, distances=(21, 11))],
    )
    assert [node.distances for node in topology.nodes] == [(11, 21), (32, 10)]


@pytest.mark.parametrize(
    ("made", "nodes", "text"),
    [
        ([], [NODE], "no online CPU"),
        ([Cpu(0, 0, 0, 0), Cpu(0, 0, 0, 0)], [NODE], "CPU 0 is listed twice"),
        ([Cpu(0, 0, 0, 3)], [NODE], "CPU 0 is on NUMA node 3, which is not listed"),
        ([Cpu(-1, 0, 0, 0)], [NODE], "CPU id -1"),
        ([Cpu(70000, 0, 0, 0)], [NODE], "CPU id 70000"),
        ([Cpu(0, 0, 0, 0)], [NODE, NODE], "NUMA node 0 is listed twice"),
        ([Cpu(0, 0, 0, 0)], [NumaNode(2000, 1)], "NUMA node id 2000"),
        ([Cpu(0, 0, 0, 0)], [NumaNode(0, -1)], "negative amount"),
        ([Cpu(0, 0, 0, 0)], [NumaNode(0, 1, distances=(10, 20))], "2 distances for 1 nodes"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(made, nodes, text):
    with pytest.raises(TopologyError, match=text):
        Topology.build(made, nodes)
