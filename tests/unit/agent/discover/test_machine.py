"""Every recorded machine, through a tree as its kernel shows it, back to the facts of its record."""

import pytest
from podnuma.agent.discover.machine import Machine, discover
from podnuma.allocator import cpuset

from testbed import machines


@pytest.fixture(scope="module", params=machines.names())
def recorded(request, tmp_path_factory) -> tuple[machines.Machine, Machine]:
    """Return a record and what discovery makes of its tree."""
    return pair(request.param, tmp_path_factory.mktemp("sys"))


def pair(name, root) -> tuple[machines.Machine, Machine]:
    record = machines.load(name)
    machines.write_sysfs(record, root)
    answer = discover(root, root / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    return record, answer.machine


def discovered(name, root) -> Machine:
    return pair(name, root)[1]


def together(members) -> set[frozenset[int]]:
    """Return the groups of CPUs with equal values."""
    groups: dict[object, set[int]] = {}
    for cpu, value in members.items():
        groups.setdefault(value, set()).add(cpu)
    return {frozenset(group) for group in groups.values()}


def test_discovery_gives_back_the_recorded_machine(recorded):
    record, machine = recorded
    topology = machine.topology
    assert [cpu.id for cpu in topology.cpus] == sorted(record.online)
    assert {cpu.id: cpu.core for cpu in topology.cpus} == {cpu.id: cpu.core for cpu in record.cpus}
    assert {cpu.id: cpu.socket for cpu in topology.cpus} == {cpu.id: cpu.socket for cpu in record.cpus}
    assert {cpu.id: cpu.node for cpu in topology.cpus} == {cpu.id: cpu.numa for cpu in record.cpus}
    assert [node.id for node in topology.nodes] == [node.id for node in record.nodes]
    assert [node.distances for node in topology.nodes] == [node.distances for node in record.nodes]
    for found, node in zip(topology.nodes, record.nodes, strict=True):
        assert found.memory == node.memory // 1024 * 1024, "the kernel counts in KiB"


def test_uncore_caches_are_the_recorded_groups(recorded):
    record, machine = recorded
    topology = machine.topology
    if any(cpu.l3 is None for cpu in record.cpus):
        # Without a recorded cache a core counts as being in one named like its socket.
        groups = {cpu.id: cpu.socket for cpu in record.cpus}
    else:
        groups = {cpu.id: cpu.l3 for cpu in record.cpus}
    assert together({cpu.id: cpu.uncore for cpu in topology.cpus}) == together(groups)


def test_offline_and_isolated_cpus_are_named(recorded):
    record, machine = recorded
    assert set(cpuset.ids(machine.offline)) == record.offline
    assert set(cpuset.ids(machine.isolated)) == record.isolated


def test_old_kernel_with_offline_threads_has_seven_whole_or_half_cores(tmp_path):
    topology = discovered("xeon-4s-offline-threads", tmp_path).topology
    cores = together({cpu.id: cpu.core for cpu in topology.cpus})
    assert cores == {frozenset(core) for core in ({0, 8}, {1, 9}, {3, 11}, {4, 12}, {6}, {7, 15}, {10})}


def test_masks_of_thirty_two_words_are_read(tmp_path):
    machine = discovered("power-256cpu-sparse-numa", tmp_path)
    assert machine.topology.all_cpus == cpuset.parse("0-255")
    by_id = {node.id: node for node in machine.topology.nodes}
    order = [node.id for node in machine.topology.nodes]
    assert by_id[4].distances[order.index(5)] == 20
    assert by_id[1].distances[order.index(4)] == 40


def test_huge_pages_are_counted_in_bytes_by_their_resource_name(tmp_path):
    topology = discovered("xeon-2s-snc2-irregular", tmp_path).topology
    assert [dict(node.hugepages) for node in topology.nodes] == [{"hugepages-2Mi": 2560 * 2**21}] * 4


def test_memory_only_nodes_are_nodes(tmp_path):
    topology = discovered("power9-gpu-memory-nodes", tmp_path).topology
    assert [node.id for node in topology.nodes] == [0, 8, 250, 251, 252, 253, 254, 255]
    assert topology.cpus_of_node(250) == cpuset.EMPTY


def test_a_machine_without_optional_files_works_without_findings(tmp_path):
    write_d16(tmp_path)
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert answer.machine.kinds == {}
    assert {cpu.uncore for cpu in answer.machine.topology.cpus} == {0, 1}, "unknown caches count per socket"


def test_hybrid_cpus_are_told_by_kind(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/cpu_core/cpus", "0-7")
    put(tmp_path, "devices/cpu_atom/cpus", "8-15")
    machine = discover(tmp_path, tmp_path / "proc").machine
    assert machine is not None
    assert machine.kinds == {"performance": cpuset.parse("0-7"), "efficient": cpuset.parse("8-15")}


def test_siblings_are_known_from_the_other_thread(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/cpu3/topology/thread_siblings_list", "")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    assert {cpu.id for cpu in answer.machine.topology.cpus if cpu.core == 3} == {3, 11}


def test_no_sysfs_at_all_is_a_fatal_finding_with_a_next_step(tmp_path):
    answer = discover(tmp_path / "nowhere", tmp_path / "proc")
    assert answer.machine is None
    (fatal,) = [finding for finding in answer.findings if finding.fatal]
    assert str(fatal) == (
        f"{tmp_path}/nowhere/devices/system/cpu: names no online CPU; mount the host's /sys for the agent"
    )


def test_senseless_files_are_named_with_path_and_content(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/node/node1/distance", "21 ten")
    put(tmp_path, "devices/system/node/node0/meminfo", "nothing")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    assert answer.machine.topology.nodes[1].distances == (20, 10)
    assert answer.machine.topology.nodes[0].memory == 0
    assert {finding.path.removeprefix(f"{tmp_path}/") for finding in answer.findings} == {
        "devices/system/node/node1/distance",
        "devices/system/node/node0/meminfo",
    }
    assert "'21 ten'" in " ".join(finding.problem for finding in answer.findings)


@pytest.mark.parametrize("text", ["0-4000000000", "3-1", "0,,1", "x", "\x00\xff", "9" * 70_000])
def test_hostile_lists_are_findings_not_crashes(text, tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/online", text)
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None, "the folders say which CPUs there are"
    assert answer.machine.topology.all_cpus == cpuset.parse("0-15")
    assert [finding.path for finding in answer.findings] == [f"{tmp_path}/devices/system/cpu/online"]


def test_an_unreadable_file_is_named(tmp_path):
    write_d16(tmp_path)
    path = tmp_path / "devices/system/node/node0/meminfo"
    path.unlink()
    path.mkdir()  # a folder cannot be read as a file, not even by root
    answer = discover(tmp_path, tmp_path / "proc")
    assert any(
        finding.path == str(path) and "cannot be read" in finding.problem for finding in answer.findings
    )


def test_a_kernel_without_numa_is_one_node_with_the_memory_of_procfs(tmp_path):
    write_d16(tmp_path)
    for path in sorted((tmp_path / "devices/system/node").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    put(tmp_path, "proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    (node,) = answer.machine.topology.nodes
    assert (node.id, node.memory, node.distances) == (0, 16 * 2**20, (10,))


def test_a_cpu_that_went_offline_leaves_its_core(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/online", "0,2-15")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    assert answer.machine.offline == cpuset.parse("1")
    assert {cpu.id: cpu.core for cpu in answer.machine.topology.cpus}[9] == 9


def put(root, path, text) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_d16(root) -> None:
    """Write 8 cores, siblings n and n+8, two sockets that are NUMA nodes; only what every kernel has."""
    put(root, "devices/system/cpu/online", "0-15")
    put(root, "devices/system/cpu/present", "0-15")
    for cpu in range(16):
        core = cpu % 8
        folder = f"devices/system/cpu/cpu{cpu}/topology"
        put(root, f"{folder}/thread_siblings_list", f"{core},{core + 8}")
        put(root, f"{folder}/physical_package_id", str(core // 4))
    for node, cpus in enumerate(("0-3,8-11", "4-7,12-15")):
        folder = f"devices/system/node/node{node}"
        put(root, f"{folder}/cpulist", cpus)
        put(root, f"{folder}/meminfo", f"Node {node} MemTotal:       33554432 kB\n")
        put(root, f"{folder}/distance", "10 21" if node == 0 else "21 10")
