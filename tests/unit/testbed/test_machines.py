"""A recorded machine becomes the tree that the kernel shows on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed import machines

if TYPE_CHECKING:
    from pathlib import Path


def text(root: Path, path: str) -> str:
    return (root / "devices/system" / path).read_text().rstrip("\n")


@pytest.fixture
def tree(tmp_path):
    def write(name):
        return machines.write_sysfs(machines.load(name), tmp_path)

    return write


@pytest.mark.parametrize("name", machines.names())
def test_every_recorded_machine_is_consistent_and_can_be_written(tmp_path, name):
    machine = machines.load(name)
    assert machine.source
    assert {cpu.numa for cpu in machine.cpus} <= {node.id for node in machine.nodes}
    for node in machine.nodes:
        assert node.cpus == {cpu.id for cpu in machine.cpus if cpu.numa == node.id}
        assert len(node.distances) == len(machine.nodes)
    machines.write_sysfs(machine, tmp_path)
    folders = (tmp_path / "devices/system/cpu").glob("cpu[0-9]*")
    assert {int(folder.name.removeprefix("cpu")) for folder in folders} == machine.online | machine.offline


def test_two_socket_epyc_reads_as_on_the_machine(tree):
    root = tree("epyc7401-2s-8numa-16l3")
    assert text(root, "cpu/online") == "0-95"
    assert text(root, "cpu/offline") == ""
    assert text(root, "cpu/cpu3/topology/thread_siblings_list") == "3,51"
    assert text(root, "cpu/cpu3/topology/thread_siblings") == "00000000,00080000,00000008"
    assert text(root, "cpu/cpu3/topology/core_id") == "4"
    assert text(root, "cpu/cpu3/cache/index3/shared_cpu_list") == "3-5,51-53"
    assert text(root, "node/node0/cpulist") == "0-5,48-53"
    assert text(root, "node/node0/distance") == "10 16 16 16 32 32 32 32"
    assert text(root, "node/node0/meminfo").startswith("Node 0 MemTotal:        ")
    assert f" {34243170304 // 1024} kB" in text(root, "node/node0/meminfo")
    assert (root / "devices/system/cpu/cpu3/node0/cpulist").read_text() == "0-5,48-53\n"
    assert (root / "devices/system/node/node0/cpu3/topology/core_id").read_text() == "4\n"


def test_sparse_power_machine_has_wide_masks_and_no_lists(tree):
    root = tree("power-256cpu-sparse-numa")
    assert not (root / "devices/system/cpu/online").exists()
    assert not (root / "devices/system/node/node4/cpulist").exists()
    mask = text(root, "node/node4/cpumap").split(",")
    assert len(mask) == 32
    assert mask[-3] == "ffffffff"
    assert int("".join(mask), 16) == 0xFFFFFFFF << 64
    assert text(root, "cpu/cpu5/topology/physical_package_id") == "-1"


def test_power9_node_lists_name_cpus_that_do_not_exist_but_masks_do_not(tree):
    root = tree("power9-gpu-memory-nodes")
    assert text(root, "node/node0/cpulist") == "0-87"
    assert int(text(root, "node/node0/cpumap").replace(",", ""), 16) == 0xFFFF
    assert text(root, "node/node250/cpulist") == ""
    assert text(root, "node/has_cpu") == "0,8"
    assert len(text(root, "node/node250/distance").split()) == 8


def test_offline_threads_have_no_topology_and_count_as_members_of_their_node(tree):
    root = tree("xeon-4s-offline-threads")
    assert not (root / "devices/system/cpu/offline").exists()
    assert not (root / "devices/system/cpu/cpu0/online").exists()
    assert text(root, "cpu/cpu5/online") == "0"
    assert not (root / "devices/system/cpu/cpu5/topology").exists()
    assert text(root, "node/node0/cpumap") == "0000ffff"
    assert not (root / "devices/system/node/node0/cpulist").exists()
    assert text(root, "cpu/cpu3/topology/core_id") == "0"


def test_isolated_cpus_and_memory_only_nodes_are_shown(tree):
    root = tree("xeon-2s-snc2-pmem-isolcpus")
    assert text(root, "cpu/isolated") == "4-7,60-63"
    assert text(root, "node/node4/cpulist") == ""
    assert text(root, "node/node4/meminfo").split()[3] == str(133143986176 // 1024)
    assert text(root, "node/has_cpu") == "0-3"


def test_huge_pages_are_counted_per_node(tree):
    root = tree("xeon-2s-snc2-irregular")
    assert text(root, "node/node1/hugepages/hugepages-2048kB/nr_hugepages") == "2560"
    assert text(root, "node/node1/hugepages/hugepages-2048kB/free_hugepages") == "2560"


def test_nodes_without_memory_say_zero(tree):
    root = tree("threadripper3960x-nps4-memoryless")
    assert text(root, "node/node0/meminfo").split()[:5] == ["Node", "0", "MemTotal:", "0", "kB"]
    assert text(root, "node/has_memory") == "1-2"
    assert not (root / "devices/system/cpu/cpu0/cache/index3").exists()


def test_a_machine_recorded_without_memory_gets_the_usual_one():
    machine = machines.load("epyc9654-2s-384cpu-24l3")
    assert machine.memory == 2 * machines.USUAL_MEMORY
    assert [node.distances for node in machine.nodes] == [(10, 32), (32, 10)]


def test_a_fresh_cgroup_tree_restricts_nothing(tmp_path):
    root = machines.write_cgroup_root(machines.load("xeon-2s-snc2-irregular"), tmp_path)
    group = root / "kubepods.slice" / "kubepods-burstable.slice"
    assert (group / "cpuset.cpus").read_text() == "\n"
    assert (group / "cpuset.cpus.effective").read_text() == "0-79\n"
    assert (group / "cpuset.mems.effective").read_text() == "0-3\n"
    assert (group / "cpu.max").read_text() == "max 100000\n"
    assert not (root / "cpu.max").exists()
