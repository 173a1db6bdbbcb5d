"""The machine model; specification, section 2.1, and machines of real hardware."""

import json
from pathlib import Path

import pytest
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.topology import Cpu, NumaNode, Topology

from tests.unit.allocator.shapes import cpus, from_cores, machine

MACHINES = Path(__file__).parents[2] / "machines"
NODE = NumaNode(0, 2**34)


def recorded(name: str, memory: int = 2**36) -> Topology:
    """Read a recorded machine; memory sizes and distances the source lacks are filled in."""
    facts = json.loads((MACHINES / f"{name}.json").read_text())
    listed = facts["numaNodes"]
    return Topology.build(
        [Cpu(cpu["id"], cpu["core"], cpu["socket"], cpu["numa"], cpu["l3"]) for cpu in facts["cpus"]],
        [
            NumaNode(
                node["id"],
                memory if node["memoryBytes"] is None else node["memoryBytes"],
                distances=tuple(node["distances"] or [10 if node is other else 21 for other in listed]),
            )
            for node in listed
        ],
    )


def test_cores_are_named_by_their_lowest_cpu():
    topology = machine("DS12")
    assert [(name, cpuset.render(mask)) for name, mask in topology.cores] == [
        (0, "0,6"),
        (1, "1,7"),
        (2, "2,8"),
        (3, "3,9"),
        (4, "4,10"),
        (5, "5,11"),
    ]
    assert (topology.per_core, len(topology.sockets), topology.numa_first) == (2, 2, True)


def test_core_numbers_that_repeat_in_other_sockets_are_other_cores():
    topology = Topology.build([Cpu(0, 0, 0, 0), Cpu(1, 0, 1, 0), Cpu(2, 0, 0, 0)], [NODE])
    assert [cpuset.render(mask) for _, mask in topology.cores] == ["0,2", "1"]


def test_without_caches_there_are_none_and_sockets_are_the_groups():
    topology = machine("MN80")
    assert topology.caches == ()
    assert [mask for _, mask in topology.uncores] == [mask for _, mask in topology.sockets]
    assert (machine("U384").per_uncore, len(machine("U384").caches)) == (16, 24)


def test_cores_without_a_cache_are_in_no_other_cache_that_has_the_number_of_their_socket():
    listed = [Cpu(cpu, cpu, 0, 0, 0 if cpu < 20 else None) for cpu in range(22)]
    topology = Topology.build(listed, [NODE])
    assert [(name, cpuset.render(mask)) for name, mask in topology.caches] == [(0, "0-19")]
    assert [cpuset.render(mask) for _, mask in topology.uncores] == ["0-19", "20-21"]


@pytest.mark.parametrize("number", [2**31, 2**32 - 1, 2**63 - 1])
def test_any_number_that_a_kernel_gives_a_cache_is_a_label(number):
    topology = Topology.build([Cpu(0, 0, 0, 0, number), Cpu(1, 1, 0, 0, 3)], [NODE])
    assert [cpuset.render(mask) for _, mask in topology.caches] == ["1", "0"]


def test_a_machine_without_some_cpus_is_as_if_these_were_offline():
    topology = Topology.build(
        [Cpu(cpu, cpu % 2, 0, 0) for cpu in range(4)], [NODE], cpus("2,7"), unknown_siblings=cpus("3")
    )
    assert (topology.isolated, topology.unknown_siblings) == (cpus("2"), cpus("3"))
    smaller = topology.without(cpus("0"))
    assert [(cpu.id, cpu.core) for cpu in smaller.cpus] == [(1, 1), (2, 2), (3, 3)]
    assert topology.without(cpus("9")) is topology


def test_siblings_of_a_thread_belong_to_the_whole_core():
    assert cpuset.render(machine("DS12").whole_cores(cpus("0,9"))) == "0,3,6,9"


def test_memory_only_nodes_have_no_cpus_and_count_as_nodes():
    topology = from_cores([((0, 1), 0, 0, None)], [NODE, NumaNode(4, 2**37)])
    assert topology.cpus_of_node(4) == 0
    assert topology.all_nodes == nodeset.of([0, 4])
    assert topology.cpu_nodes == nodeset.of([0])


def test_distance_columns_follow_the_listed_nodes_not_their_ids():
    rows = {0: (10, 40, 40), 2: (40, 10, 20), 5: (40, 20, 10)}
    topology = from_cores(
        [((node,), node, node, None) for node in rows],
        [NumaNode(node, 2**34, distances=row) for node, row in rows.items()],
    )
    pairs = {
        nodeset.render(pair): topology.average_distance(pair) for pair in topology.node_sets(2, closest=False)
    }
    assert pairs == {"0,2": 25, "0,5": 25, "2,5": 15}
    assert [nodeset.render(pair) for pair in topology.node_sets(2, closest=True)] == ["2,5", "0,2", "0,5"]


def test_distances_average_over_all_ordered_pairs():
    rows = [(10, 11, 12, 12), (11, 10, 12, 12), (12, 12, 10, 11), (12, 12, 11, 10)]
    topology = from_cores(
        [((node,), 0, node, None) for node in range(4)],
        [NumaNode(node, 2**34, distances=row) for node, row in enumerate(rows)],
    )
    assert topology.average_distance(0b0101) == 11
    assert round(topology.average_distance(0b1101), 3) == 11.111


def test_sets_of_one_size_come_lowest_integer_first():
    topology = machine("L256")
    found = topology.node_sets(3, closest=False)
    assert len(found) == 56
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        # CPUs, cores, sockets, NUMA nodes with CPUs, all NUMA nodes
        ("arm64-kunpeng-2s-4numa-clusters", (128, 128, 2, 4, 4)),
        ("epyc7401-2s-8numa-16l3", (96, 48, 2, 8, 8)),
        ("epyc9654-2s-384cpu-24l3", (384, 192, 2, 2, 2)),
        ("laptop-hybrid-6p8e", (20, 14, 1, 1, 1)),
        ("power-256cpu-sparse-numa", (256, 64, None, 8, 8)),
        ("power9-gpu-memory-nodes", (32, 8, 2, 2, 8)),
        ("threadripper3960x-nps4-memoryless", (48, 24, 1, 4, 4)),
        ("xeon-2s-snc2-irregular", (80, 40, 2, 4, 4)),
        ("xeon-2s-snc2-pmem-isolcpus", (112, 56, 2, 4, 8)),
        ("xeon-4s-offline-threads", (12, 7, 4, 1, 1)),
    ],
)
def test_recorded_machines_are_understood(name, counts):
    topology = recorded(name)
    found = (
        len(topology.cpus),
        len(topology.cores),
        len(topology.sockets) if counts[2] else None,
        len(topology.numa),
        len(topology.nodes),
    )
    assert found == counts


def test_distances_of_machines_with_gaps_are_read_by_position():
    topology = recorded("power-256cpu-sparse-numa")
    place = {node.id: index for index, node in enumerate(topology.nodes)}
    distances = {node.id: node.distances for node in topology.nodes}
    assert distances[4][place[5]] == 20
    assert distances[1][place[4]] == 40
