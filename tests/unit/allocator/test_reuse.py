"""What init containers leave to later ones; specification, sections 3.3, 4.7, 4.8 and 11.7."""

import pytest
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.reuse import ReusableResources
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import APP, GI, INIT, SIDECAR, admitted, from_cores, g, memory, pod, settings

ONE_NODE = from_cores([((cpu,), 0, 0, None) for cpu in range(4)], [NumaNode(0, 16 * GI)])


def test_cpus_of_inits_are_left_until_something_lasting_takes_them():
    left = ReusableResources()
    left.note_cpus(INIT, 0b0011)
    left.note_cpus(INIT, 0b0111)
    assert left.cpus == 0b0111
    left.note_cpus(SIDECAR, 0b0001)
    left.note_cpus(APP, 0b1010)
    assert left.cpus == 0b0100


def test_memory_of_inits_is_left_by_node_set():
    left = ReusableResources()
    left.note_memory(
        INIT, (MemoryBlock("memory", NodeSet(1), 4), MemoryBlock("hugepages-1Gi", NodeSet(2), 1))
    )
    left.note_memory(INIT, (MemoryBlock("memory", NodeSet(1), 3),))
    left.note_memory(APP, (MemoryBlock("memory", NodeSet(1), 1), MemoryBlock("memory", NodeSet(2), 1)))
    assert left.memory == {(1, "memory"): 3, (2, "hugepages-1Gi"): 1, (2, "memory"): 0}


@pytest.mark.parametrize(
    ("inits", "apps", "recorded", "charged"),
    [
        ((1, 2), (3, 4), "0 0 / 0 0 / 0 3072 / 0 4096", 7),
        ((4, 3), (2, 1), "0 0 / 0 1024 / 0 2048 / 0 1024", 4),
        ((7, 4), (4, 3), "0 0 / 0 0 / 0 4096 / 0 3072", 7),
        ((7, 4), (5, 2), "0 0 / 0 0 / 0 5120 / 0 2048", 7),
    ],
)
def test_recorded_sizes_add_up_to_what_is_charged(inits, apps, recorded, charged):
    node = NodeAllocator.empty(settings("none", cpu="none", nodes=1), ONE_NODE)
    wanted = [g("500m", f"{size}Gi", INIT) for size in inits] + [g("500m", f"{size}Gi") for size in apps]
    assert memory(admitted(node, pod(None, *wanted))) == recorded
    assert node.memory_rows(0)["memory"].reserved == charged * GI
    assert node.memory_assignments(0) == 4


def test_memory_of_a_sidecar_is_never_used_again():
    node = NodeAllocator.empty(settings("none", cpu="none", nodes=1), ONE_NODE)
    decision = admitted(node, pod(None, g("500m", "2Gi", SIDECAR), g("500m", "2Gi")))
    assert memory(decision) == "0 2048 / 0 2048"
    assert node.memory_rows(0)["memory"].reserved == 4 * GI
