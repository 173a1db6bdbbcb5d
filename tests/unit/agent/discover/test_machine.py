"""Every recorded machine, through a tree as its kernel shows it, back to the facts of its record."""

import shutil

import pytest
from podnuma.agent.discover.machine import Machine, discover
from podnuma.allocator import (
    Admitted,
    ContainerRequest,
    CpuManagerPolicy,
    ManagerSettings,
    PodRequest,
    cpuset,
    nodeset,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import parse

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
    groups = {cpu.id: cpu.l3 for cpu in record.cpus if cpu.l3 is not None}
    found = {cpu.id: cpu.uncore for cpu in topology.cpus if cpu.uncore is not None}
    assert together(found) == together(groups)


def test_offline_and_isolated_cpus_are_named(recorded):
    record, machine = recorded
    assert set(cpuset.ids(machine.topology.offline)) == record.offline
    assert set(cpuset.ids(machine.topology.isolated)) == record.isolated


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


def test_nodes_that_may_come_online_are_known(tmp_path):
    """The kernel takes them in a set of memory nodes, and no others."""
    write_d16(tmp_path)
    put(tmp_path, "devices/system/node/possible", "0-3")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    assert nodeset.render(answer.machine.known_nodes) == "0-3"
    assert nodeset.render(answer.machine.topology.listed_nodes) == "0-1"


def test_a_machine_without_optional_files_works_without_findings(tmp_path):
    write_d16(tmp_path)
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert answer.machine.topology.kinds == ()
    assert answer.machine.topology.caches == ()
    assert answer.machine.topology.unknown_siblings == cpuset.EMPTY


def test_hybrid_cpus_are_told_by_kind(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/cpu_core/cpus", "0-7")
    put(tmp_path, "devices/cpu_atom/cpus", "8-15")
    machine = discover(tmp_path, tmp_path / "proc").machine
    assert machine is not None
    assert dict(machine.topology.kinds) == {
        "performance": cpuset.parse("0-7"),
        "efficient": cpuset.parse("8-15"),
    }


@pytest.mark.parametrize(
    ("capacities", "kinds"),
    [
        ({0: 1024, 4: 512}, {"performance": "0-3,8-11", "efficient": "4-7,12-15"}),
        ({0: 462, 4: 1024}, {"performance": "4-7,12-15", "efficient": "0-3,8-11"}),
        (
            {0: 160, 4: 498, 7: 1024},
            {"capacity-1024": "7,15", "capacity-498": "4-6,12-14", "capacity-160": "0-3,8-11"},
        ),
        ({0: 1024}, {}),
        ({0: 1024, 1: 1009, 2: 990, 5: 860, 7: 1000}, {}),
        ({0: 1024, 2: 1000, 4: 700, 6: 690}, {"performance": "0-3,8-11", "efficient": "4-7,12-15"}),
    ],
)
def test_big_and_little_cores_are_told_by_capacity(capacities, kinds, tmp_path):
    """Arm big.LITTLE; 4+3+1 of a Pixel 6; equal cores, binned; binned ones of two kinds."""
    write_d16(tmp_path)
    for cpu in range(16):
        of_core = max(first for first in capacities if first <= cpu % 8)
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/cpu_capacity", str(capacities[of_core]))
    machine = discover(tmp_path, tmp_path / "proc").machine
    assert machine is not None
    assert {kind: cpuset.render(cpus) for kind, cpus in machine.topology.kinds} == kinds
    assert [kind for kind, _ in machine.topology.kinds] == list(kinds), "the fastest first"


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
    assert answer.machine.topology.offline == cpuset.parse("1")
    assert {cpu.id: cpu.core for cpu in answer.machine.topology.cpus}[9] == 9


def test_cpus_that_were_unplugged_may_come_back(tmp_path):
    """avocado-framework-tests/avocado-misc-tests#662; folder and entry in `present` of such a CPU go."""
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/possible", "0-19")
    for file in ("online", "present"):
        put(tmp_path, f"devices/system/cpu/{file}", "0-13,15")
    shutil.rmtree(tmp_path / "devices/system/cpu/cpu14")
    machine = discover(tmp_path, tmp_path / "proc").machine
    assert machine is not None
    assert machine.topology.offline == cpuset.EMPTY, "what a machine never had is not shown"
    assert machine.known_cpus == cpuset.parse("0-19")


def test_cores_without_an_l3_cache_are_in_none(tmp_path):
    """Low-power cores of Meteor Lake; intel/intel-lpmd#37."""
    put(tmp_path, "devices/system/cpu/online", "0-21")
    put(tmp_path, "devices/system/cpu/present", "0-21")
    for cpu in range(22):
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", str(cpu))
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", "0")
        if cpu < 20:
            write_l3(tmp_path, cpu, "0-19", 0)
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    caches = [(number, cpuset.render(cpus)) for number, cpus in answer.machine.topology.caches]
    assert caches == [(0, "0-19")]


def test_a_machine_without_any_l3_shows_none(tmp_path):
    for cpu in range(8):
        write_thread(tmp_path, cpu, f"{cpu % 4},{cpu % 4 + 4}")
    put(tmp_path, "devices/system/cpu/online", "0-7")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.machine is not None
    assert answer.machine.topology.caches == ()


def test_an_l3_as_wide_as_its_numa_node_is_a_cache(tmp_path):
    """cAdvisor files such a cache under the node, and no core has one; google/cadvisor#2849."""
    for cpu in range(8):
        write_thread(tmp_path, cpu, f"{cpu % 4},{cpu % 4 + 4}")
        write_l3(tmp_path, cpu, "0-1,4-5" if cpu % 4 < 2 else "2-3,6-7", cpu % 4 // 2)
    put(tmp_path, "devices/system/cpu/online", "0-7")
    for node, cpus in enumerate(("0-1,4-5", "2-3,6-7")):
        put(tmp_path, f"devices/system/node/node{node}/cpulist", cpus)
        put(tmp_path, f"devices/system/node/node{node}/meminfo", f"Node {node} MemTotal: 1048576 kB")
        put(tmp_path, f"devices/system/node/node{node}/distance", "10 20" if node == 0 else "20 10")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    topology = answer.machine.topology
    assert [cpuset.render(cpus) for _, cpus in topology.caches] == ["0-1,4-5", "2-3,6-7"]
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        cpu_manager_policy_options={"prefer-align-cpus-by-uncorecache": "true"},
        reserved_system_cpus=cpuset.parse("0"),
    )
    amounts = {"cpu": parse("2"), "memory": parse("1Gi")}
    pod = PodRequest("u", "ns", "p", (ContainerRequest("c", requests=amounts, limits=amounts),))
    decision = NodeAllocator.empty(settings, topology).decide(pod)
    assert isinstance(decision, Admitted)
    assert cpuset.render(decision.grant.exclusive_cpus) == "2,6"


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((0, 2147483648), (0, 2147483648)),
        ((4294967295, 7), (4294967295, 7)),
        ((2**63 - 1, 0), (2**63 - 1, 0)),
        ((18446744073709551615, 0), (0, 1)),
        ((5, 5), (0, 1)),
        ((None, 1), (0, 1)),
        ((None, None), (0, 1)),
    ],
)
def test_caches_are_told_apart_by_their_members_whatever_numbers_the_firmware_gives(numbers, shown, tmp_path):
    """Ids are unsigned and come from firmware; open-mpi/hwloc#482, Linux cacheinfo on arm64."""
    write_d16(tmp_path)
    for number, cpus in zip(numbers, ("0-3,8-11", "4-7,12-15"), strict=True):
        for cpu in cpuset.ids(cpuset.parse(cpus)):
            write_l3(tmp_path, cpu, cpus, number)
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    topology = answer.machine.topology
    found = {cpuset.render(cpus): number for number, cpus in topology.caches}
    assert found == {"0-3,8-11": shown[0], "4-7,12-15": shown[1]}


def test_caches_that_contradict_each_other_are_one_finding(tmp_path):
    write_d16(tmp_path)
    for cpu, cpus in ((0, "0-1"), (1, "1-3"), (2, "1-3"), (3, "1-3")):
        write_l3(tmp_path, cpu, cpus, cpu)
    answer = discover(tmp_path, tmp_path / "proc")
    (finding,) = answer.findings
    assert "L3 caches of CPUs 1;" in finding.problem
    assert answer.machine is not None
    assert [cpuset.render(cpus) for _, cpus in answer.machine.topology.caches] == ["0-1", "2-3"]


def test_siblings_that_no_file_tells_are_unknown_and_not_guessed(tmp_path):
    """Topology files of most CPUs missing; coreos/fedora-coreos-tracker#1828."""
    put(tmp_path, "devices/system/cpu/online", "0-63")
    put(tmp_path, "devices/system/cpu/present", "0-63")
    put(tmp_path, "devices/system/cpu/cpu0/topology/thread_siblings_list", "0")
    put(tmp_path, "devices/system/cpu/cpu0/topology/physical_package_id", "0")
    put(tmp_path, "proc/meminfo", "MemTotal: 1024 kB\n")
    answer = discover(tmp_path, tmp_path / "proc")
    (finding,) = answer.findings
    assert not finding.fatal
    assert finding.path == f"{tmp_path}/devices/system/cpu/cpu1/topology"
    assert "63 of 64 online CPUs (1-63)" in finding.problem
    assert answer.machine is not None
    assert answer.machine.topology.unknown_siblings == cpuset.parse("1-63")


def test_siblings_that_contradict_each_other_are_unknown(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/cpu3/topology/thread_siblings_list", "3")
    answer = discover(tmp_path, tmp_path / "proc")
    (finding,) = answer.findings
    assert "2 of 16 online CPUs (3,11)" in finding.problem
    assert answer.machine is not None
    assert answer.machine.topology.unknown_siblings == cpuset.parse("3,11")


def test_a_kernel_for_one_cpu_needs_no_topology(tmp_path):
    put(tmp_path, "devices/system/cpu/online", "0")
    put(tmp_path, "proc/meminfo", "MemTotal: 1024 kB\n")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert answer.machine.topology.unknown_siblings == cpuset.EMPTY


def test_a_package_that_the_firmware_does_not_tell_is_unknown(tmp_path):
    write_d16(tmp_path)
    for cpu in range(16):
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", "-1")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert [socket for socket, _ in answer.machine.topology.sockets] == [-1]


def test_cpus_of_an_offline_node_are_local_to_no_other(tmp_path):
    """NUMA node 0 and CPU 0 offline; a machine of the hwloc test data."""
    write_d16(tmp_path)
    put(tmp_path, "devices/system/cpu/online", "1-15")
    put(tmp_path, "devices/system/node/online", "1")
    put(tmp_path, "devices/system/node/node1/distance", "10")
    answer = discover(tmp_path, tmp_path / "proc")
    (finding,) = answer.findings
    assert "CPUs 1-3,8-11" in finding.problem
    assert answer.machine is not None
    topology = answer.machine.topology
    assert topology.cpus_of_node(1) == topology.all_cpus == cpuset.parse("4-7,12-15")
    assert answer.machine.in_no_node == cpuset.parse("1-3,8-11")
    assert answer.machine.topology.offline == cpuset.parse("0")


def test_a_cpu_can_say_itself_in_which_node_it_is(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/node/node1/cpulist", "4-7")
    for cpu in range(12, 16):
        (tmp_path / f"devices/system/cpu/cpu{cpu}/node1").mkdir()
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert answer.machine.topology.cpus_of_node(1) == cpuset.parse("4-7,12-15")


def test_the_only_node_has_all_cpus_also_where_it_lists_none(tmp_path):
    write_d16(tmp_path)
    put(tmp_path, "devices/system/node/online", "1")
    put(tmp_path, "devices/system/node/node1/cpulist", "")
    put(tmp_path, "devices/system/node/node1/distance", "10")
    answer = discover(tmp_path, tmp_path / "proc")
    assert answer.findings == ()
    assert answer.machine is not None
    assert answer.machine.topology.cpus_of_node(1) == cpuset.parse("0-15")


def test_one_finding_stands_for_all_cpus_with_the_same(tmp_path):
    write_d16(tmp_path)
    for cpu in range(16):
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", "one")
    (finding,) = discover(tmp_path, tmp_path / "proc").findings
    assert finding.path == f"{tmp_path}/devices/system/cpu/cpu0/topology/physical_package_id"
    assert "alike for 16 CPUs: 0-15" in finding.problem


def write_thread(root, cpu, siblings) -> None:
    put(root, f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    put(root, f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", "0")


def write_l3(root, cpu, cpus, number) -> None:
    folder = f"devices/system/cpu/cpu{cpu}/cache/index3"
    put(root, f"{folder}/level", "3")
    put(root, f"{folder}/shared_cpu_list", cpus)
    if number is not None:
        put(root, f"{folder}/id", str(number))


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
