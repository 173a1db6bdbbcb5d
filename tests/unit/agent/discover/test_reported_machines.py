"""Machines that public reports tell of, each as its kernel showed it: what is made of them."""

from dataclasses import dataclass, field

import pytest
from podnuma.agent.discover.machine import discover
from podnuma.allocator import (
    Admitted,
    CpuManagerPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    cpuset,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.pod import read_pod

from testbed.machines import mask_text

_CPU, _NODE = "devices/system/cpu", "devices/system/node"


@dataclass
class Reported:
    """A machine as lists of CPUs. `caches` are (members, id) of L3; `nodes` without any: no NUMA.

    By node: `memory` in KiB, `pages` by size in KiB, rows of `distances`, and in `untrue` what its list names
    besides its CPUs.
    """

    cores: list[str]
    sockets: dict[int, str]
    caches: list[tuple[str, int | None]] = field(default_factory=list)
    nodes: dict[int, str] = field(default_factory=dict)
    offline: str = ""
    isolated: str = ""
    capacity: dict[int, str] = field(default_factory=dict)
    drivers: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    online_file: bool = True
    core_ids: list[int] = field(default_factory=list)  # none: by the lowest CPU
    memory: dict[int, int] = field(default_factory=dict)
    pages: dict[int, dict[int, int]] = field(default_factory=dict)
    distances: list[list[int]] = field(default_factory=list)
    untrue: dict[int, str] = field(default_factory=dict)

    @property
    def words(self):
        """32-bit words of a mask that has all CPUs."""
        return (self.online | cpuset.parse(self.offline)).bit_length() // 32 + 1

    @property
    def online(self):
        return cpuset.of(cpu for core in self.cores for cpu in ids(core))

    def discovered(self, root):
        self._write_cpus(root)
        self._write_caches_and_kinds(root)
        self._write_nodes(root)
        for path in self.removed:
            (root / path).unlink()
        return discover(root, root / "proc")

    def _write_cpus(self, root):
        if self.online_file:
            put(root, f"{_CPU}/online", cpuset.render(self.online))
        put(root, f"{_CPU}/present", cpuset.render(self.online | cpuset.parse(self.offline)))
        put(root, f"{_CPU}/isolated", self.isolated)
        put(root, "proc/meminfo", "MemTotal: 16777216 kB\n")
        for cpu in ids(self.offline):
            put(root, f"{_CPU}/cpu{cpu}/online", "0")
        numbers = self.core_ids or [ids(core)[0] for core in self.cores]
        for core, number in zip(self.cores, numbers, strict=True):
            for cpu in ids(core):
                put(root, f"{_CPU}/cpu{cpu}/topology/thread_siblings_list", core)
                put(root, f"{_CPU}/cpu{cpu}/topology/core_id", number)
        for socket, cpus in self.sockets.items():
            for cpu in ids(cpus):
                put(root, f"{_CPU}/cpu{cpu}/topology/physical_package_id", socket)

    def _write_caches_and_kinds(self, root):
        for members, number in self.caches:
            for cpu in ids(members):
                folder = f"{_CPU}/cpu{cpu}/cache/index3"
                put(root, f"{folder}/level", 3)
                put(root, f"{folder}/type", "Unified")
                put(root, f"{folder}/size", "32768K")
                put(root, f"{folder}/shared_cpu_list", members)
                put(root, f"{folder}/shared_cpu_map", mask_text(ids(members), self.words))
                if number is not None:
                    put(root, f"{folder}/id", number)
        for value, cpus in self.capacity.items():
            for cpu in ids(cpus):
                put(root, f"{_CPU}/cpu{cpu}/cpu_capacity", value)
        for name, cpus in self.drivers.items():
            put(root, f"devices/{name}/cpus", cpus)

    def _write_nodes(self, root):
        if self.nodes:
            put(root, f"{_NODE}/online", ",".join(map(str, self.nodes)))
        for place, (node, cpus) in enumerate(self.nodes.items()):
            listed = cpuset.parse(cpus) | cpuset.parse(self.untrue.get(node, ""))
            put(root, f"{_NODE}/node{node}/cpulist", cpuset.render(cpuset.CpuSet(listed)))
            memory = self.memory.get(node, 8 * 2**20)
            put(root, f"{_NODE}/node{node}/meminfo", f"Node {node} MemTotal: {memory} kB")
            for size, count in self.pages.get(node, {}).items():
                put(root, f"{_NODE}/node{node}/hugepages/hugepages-{size}kB/nr_hugepages", count)
            usual = [10 if place == other else 20 for other in range(len(self.nodes))]
            row = self.distances[place] if self.distances else usual
            put(root, f"{_NODE}/node{node}/distance", " ".join(map(str, row)))
            for cpu in ids(cpus):
                (root / _CPU / f"cpu{cpu}" / f"node{node}").symlink_to(f"../../node/node{node}")
                (root / _NODE / f"node{node}" / f"cpu{cpu}").symlink_to(f"../../cpu/cpu{cpu}")


def ids(text):
    return tuple(cpuset.ids(cpuset.parse(text)))


def put(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(text))


def pairs(first, last):
    return [f"{cpu}-{cpu + 1}" for cpu in range(first, last, 2)]


def singles(first, last):
    return [str(cpu) for cpu in range(first, last)]


MACHINES = {
    # A virtual machine with one NUMA node and a socket per CPU pair; google/cadvisor#2798.
    "one node, several sockets": (
        Reported(
            pairs(0, 16), {socket: f"{2 * socket}-{2 * socket + 1}" for socket in range(8)}, nodes={0: "0-15"}
        ),
        {"cores": pairs(0, 16), "sockets": pairs(0, 16)},
    ),
    # QEMU: the L3 of a socket is listed per NUMA node, with one id for both; containers/nri-plugins#716.
    "one cache id on two nodes": (
        Reported(
            pairs(0, 16),
            {0: "0-7", 1: "8-15"},
            [("0-3", 0), ("4-7", 0), ("8-11", 1), ("12-15", 1)],
            {0: "0-3", 1: "4-7", 2: "8-11", 3: "12-15"},
        ),
        {"caches": {"0-3": 0, "4-7": 1, "8-11": 2, "12-15": 3}},
    ),
    # Guests of Xeon 6776P: one L3 over all packages; cloud-hypervisor/cloud-hypervisor#8730, #5742.
    "one cache over all packages": (
        Reported(pairs(0, 8), {0: "0-3", 1: "4-7"}, [("0-7", 0)], {0: "0-3", 1: "4-7"}),
        {"caches": {"0-7": 0}, "sockets": ["0-3", "4-7"]},
    ),
    # POWER10: the cache of a small core, half of what shares the big one; linuxppc/issues#371.
    "caches of every second thread": (
        Reported(["0,2,4,6", "1,3,5,7"], {0: "0-7"}, [("0,2,4,6", None), ("1,3,5,7", None)], {0: "0-7"}),
        {"cores": ["0,2,4,6", "1,3,5,7"], "caches": {"0,2,4,6": 0, "1,3,5,7": 1}},
    ),
    # Raspberry Pi 4: no NUMA, no caches, no file that says which CPUs are online; google/cadvisor#2743.
    "neither NUMA nor caches nor online": (
        Reported(singles(0, 4), {0: "0-3"}, online_file=False),
        {"cores": singles(0, 4), "caches": {}},
    ),
    # SMT switched off: the second threads have no topology folder; kubernetes/kubernetes#91795, #89859.
    "siblings offline": (
        Reported(singles(0, 4), {0: "0-3"}, [("0-3", 0)], {0: "0-3"}, offline="4-7"),
        {"cores": singles(0, 4), "offline": "4-7"},
    ),
    # Six cores of two threads, eight and two of one; util-linux/util-linux#4595, intel/intel-lpmd#37.
    "hybrid with low-power cores": (
        Reported(
            [*pairs(0, 12), *singles(12, 22)],
            {0: "0-21"},
            [("0-19", 0)],
            drivers={"cpu_core": "0-11", "cpu_atom": "12-21"},
        ),
        {"caches": {"0-19": 0}, "kinds": {"performance": "0-11", "efficient": "12-21"}},
    ),
    # Ryzen AI 9 HX 370: no list per kind, two caches; sched-ext/scx#1994.
    "hybrid by capacity": (
        Reported(pairs(0, 24), {0: "0-23"}, [("0-7", 0), ("8-23", 1)], capacity={1024: "0-7", 662: "8-23"}),
        {"kinds": {"performance": "0-7", "efficient": "8-23"}},
    ),
    # Threadripper PRO 7000: equal cores of which some boost higher; open-mpi/hwloc#690.
    "binned cores": (
        Reported(pairs(0, 8), {0: "0-7"}, capacity={1024: "0-1", 1004: "2-5", 980: "6-7"}),
        {"kinds": {}},
    ),
    # Odroid N2+: four fast, two slow; packages are clusters; util-linux/util-linux#1207.
    "big.LITTLE with a package per cluster": (
        Reported(singles(0, 6), {0: "0-1", 1: "2-5"}, capacity={631: "0-1", 1024: "2-5"}),
        {"kinds": {"performance": "2-5", "efficient": "0-1"}, "sockets": ["0-1", "2-5"]},
    ),
    # Arm virtual machines without PPTT: the package is not told; kernel documentation, cputopology.
    "package not told": (
        Reported(singles(0, 4), {-1: "0-3"}, nodes={0: "0-3"}),
        {"sockets": ["0-3"], "socket_ids": [-1]},
    ),
    # A cache whose sharing is not told, QEMU; microsoft/openvmm#3588.
    "cache without members": (
        Reported(
            singles(0, 2),
            {0: "0-1"},
            [("0-1", 0)],
            removed=[
                f"{_CPU}/cpu{cpu}/cache/index3/shared_cpu_{form}"
                for cpu in range(2)
                for form in ("list", "map")
            ],
        ),
        {"caches": {}},
    ),
    # Phytium S2500: sixteen nodes in two packages; util-linux/util-linux#1258.
    "eight nodes a package": (
        Reported(
            singles(0, 128),
            {36: "0-63", 3180: "64-127"},
            nodes={node: f"{8 * node}-{8 * node + 7}" for node in range(16)},
        ),
        {"sockets": ["0-63", "64-127"], "nodes": 16},
    ),
    # s390x: threads of two, sockets of uneven size, CPUs in standby.
    "uneven sockets and standby": (
        Reported(
            pairs(0, 12), {1: "0-3", 2: "4-11"}, [("0-3", 4), ("4-11", 5)], {0: "0-11"}, offline="12-15"
        ),
        {"sockets": ["0-3", "4-11"], "caches": {"0-3": 4, "4-11": 5}, "offline": "12-15"},
    ),
    # Memory of an accelerator or of CXL: nodes without CPUs, ids with gaps.
    "memory without CPUs": (
        Reported(singles(0, 4), {0: "0-3"}, nodes={0: "0-3", 2: "", 9: ""}),
        {"nodes": 3},
    ),
    # Grace Hopper: eight nodes for instances of the GPU; bytedance/xpu-perf#129.
    "a node per instance of a GPU": (
        Reported(singles(0, 72), {0: "0-71"}, [("0-71", 0)], {0: "0-71"} | dict.fromkeys(range(1, 9), "")),
        {"sockets": ["0-71"], "caches": {"0-71": 0}, "nodes": 9},
    ),
    # Four of them; NVIDIA/mlperf-common#16.
    "thirty-six nodes, four with CPUs": (
        Reported(
            singles(0, 288),
            {socket: f"{72 * socket}-{72 * socket + 71}" for socket in range(4)},
            nodes={node: f"{72 * node}-{72 * node + 71}" for node in range(4)}
            | dict.fromkeys(range(4, 36), ""),
        ),
        {"sockets": ["0-71", "72-143", "144-215", "216-287"], "nodes": 36},
    ),
    # GB200; kubernetes/enhancements#5726, kubernetes/kubernetes#135581.
    "thirty-four nodes, two with CPUs": (
        Reported(
            singles(0, 144),
            {0: "0-71", 1: "72-143"},
            nodes={0: "0-71", 1: "72-143"} | dict.fromkeys(range(2, 34), ""),
        ),
        {"sockets": ["0-71", "72-143"], "nodes": 34},
    ),
    # Xeon Max in SNC4: a node without CPUs for the HBM beside each; oneapi-src/unified-memory-framework#1289.
    "a node of fast memory beside each": (
        Reported(
            [f"{cpu},{cpu + 96}" for cpu in range(96)],
            {0: "0-47,96-143", 1: "48-95,144-191"},
            nodes={
                node: f"{12 * node}-{12 * node + 11},{12 * node + 96}-{12 * node + 107}" for node in range(8)
            }
            | dict.fromkeys(range(8, 16), ""),
        ),
        {"sockets": ["0-47,96-143", "48-95,144-191"], "nodes": 16},
    ),
    # A logical partition of POWER9: eight threads, and a package per core; util-linux/util-linux#698.
    "a package per core of eight threads": (
        Reported(
            [f"{cpu}-{cpu + 7}" for cpu in range(0, 80, 8)],
            {package: f"{8 * package}-{8 * package + 7}" for package in range(10)},
            nodes={0: "0-79"},
        ),
        {
            "cores": [f"{cpu}-{cpu + 7}" for cpu in range(0, 80, 8)],
            "sockets": [f"{cpu}-{cpu + 7}" for cpu in range(0, 80, 8)],
        },
    ),
    # Second threads numbered after all first ones, caches per socket; kubernetes/kubernetes#53323.
    "threads far apart": (
        Reported(
            [f"{cpu},{cpu + 24}" for cpu in range(24)],
            {0: "0-11,24-35", 1: "12-23,36-47"},
            [("0-11,24-35", 0), ("12-23,36-47", 1)],
            {0: "0-11,24-35", 1: "12-23,36-47"},
        ),
        {"caches": {"0-11,24-35": 0, "12-23,36-47": 1}, "sockets": ["0-11,24-35", "12-23,36-47"]},
    ),
    # Windows Subsystem for Linux: a kernel without NUMA; sched-ext/scx#275.
    "no folder of nodes": (
        Reported(pairs(0, 8), {0: "0-7"}, [("0-7", 0)]),
        {"cores": pairs(0, 8), "caches": {"0-7": 0}, "nodes": 1},
    ),
    # Arm guests: caches without ids; sched-ext/scx#733.
    "caches without ids": (
        Reported(singles(0, 4), {0: "0-3"}, [("0-1", None), ("2-3", None)], {0: "0-3"}),
        {"caches": {"0-1": 0, "2-3": 1}},
    ),
    # i7-14700: a pod was given CPU 0, which was reserved; kubernetes/kubernetes#140495.
    "eight cores of two threads, twelve of one": (
        Reported(
            [*pairs(0, 16), *singles(16, 28)],
            {0: "0-27"},
            [("0-27", 0)],
            {0: "0-27"},
            drivers={"cpu_core": "0-15", "cpu_atom": "16-27"},
        ),
        {"cores": [*pairs(0, 16), *singles(16, 28)], "kinds": {"performance": "0-15", "efficient": "16-27"}},
    ),
    # i9-13900: sixteen of one; open-edge-platform/edge-manageability-framework#1760.
    "eight cores of two threads, sixteen of one": (
        Reported(
            [*pairs(0, 16), *singles(16, 32)],
            {0: "0-31"},
            [("0-31", 0)],
            {0: "0-31"},
            drivers={"cpu_core": "0-15", "cpu_atom": "16-31"},
        ),
        {"kinds": {"performance": "0-15", "efficient": "16-31"}},
    ),
    # Arrow Lake-H: no siblings, and two low-power cores that are no part of the L3; intel/intel-lpmd#121.
    "hybrid without siblings": (
        Reported(
            singles(0, 16),
            {0: "0-15"},
            [("0-13", 0)],
            {0: "0-15"},
            drivers={"cpu_core": "0-5", "cpu_atom": "6-15"},
        ),
        {"caches": {"0-13": 0}, "kinds": {"performance": "0-5", "efficient": "6-15"}},
    ),
    # A guest whose sockets are not those of the host: one NUMA node over two; kubevirt/kubevirt#17198.
    "one node over two sockets": (
        Reported(
            singles(0, 64),
            {0: "0-19", 1: "20-39", 2: "40-63"},
            [("0-19", 0), ("20-39", 1), ("40-63", 2)],
            {0: "0-31", 1: "32-63"},
        ),
        {"sockets": ["0-19", "20-39", "40-63"], "caches": {"0-19": 0, "20-39": 1, "40-63": 2}, "nodes": 2},
    ),
    # A guest whose NUMA nodes and packages cross, as its domain was written; open-mpi/hwloc#712.
    "nodes that cross packages": (
        Reported(
            pairs(0, 128),
            {0: "0-63", 1: "64-127"},
            [("0-63", 0), ("64-127", 1)],
            {0: "0-31,64-95", 1: "32-63,96-127"},
        ),
        {"cores": pairs(0, 128), "sockets": ["0-63", "64-127"], "nodes": 2},
    ),
    # Eight virtual nodes that are all equally far; SAP/arp142-hana#385.
    "eight nodes of one distance": (
        Reported(
            [f"{cpu},{cpu + 208}" for cpu in range(208)],
            {n: f"{52 * n}-{52 * n + 51},{52 * n + 208}-{52 * n + 259}" for n in range(4)},
            nodes={n: f"{26 * n}-{26 * n + 25},{26 * n + 208}-{26 * n + 233}" for n in range(8)},
        ),
        {"nodes": 8},
    ),
    # Milk-V Pioneer (SG2042, RISC-V): CPUs of four nodes alternate by eight; util-linux/util-linux#3187.
    "nodes that alternate by eight": (
        Reported(
            singles(0, 64),
            {0: "0-63"},
            nodes={0: "0-7,16-23", 1: "8-15,24-31", 2: "32-39,48-55", 3: "40-47,56-63"},
        ),
        {"sockets": ["0-63"], "caches": {}, "nodes": 4},
    ),
    # RISC-V with ACPI: the number of the package is that of the NUMA node; RVCK-Project/rvck#178.
    "packages numbered by nodes, descending": (
        Reported(singles(0, 8), {1: "0-3", 0: "4-7"}, nodes={0: "4-7", 1: "0-3"}),
        {"sockets": ["4-7", "0-3"], "socket_ids": [0, 1], "nodes": 2},
    ),
    # T-Head TH1520 (RISC-V): each core has the number -1; fenrus75/powertop#141.
    "cores without a number": (
        Reported(singles(0, 4), {0: "0-3"}, core_ids=[-1] * 4),
        {"cores": singles(0, 4), "caches": {}},
    ),
    # SpacemiT K3 (RISC-V): clusters of eight with other vectors; sanderjo/SpacemiT-K3-X100-A100#3.
    "two clusters of one kind to the kernel": (
        Reported(singles(0, 16), {0: "0-15"}, nodes={0: "0-15"}),
        {"cores": singles(0, 16), "kinds": {}, "nodes": 1},
    ),
    # Loongson 3A6000: siblings are neighbours; nviennot/core-to-core-latency#102.
    "LoongArch with threads": (
        Reported(pairs(0, 8), {0: "0-7"}, [("0-7", 0)], {0: "0-7"}),
        {"cores": pairs(0, 8), "caches": {"0-7": 0}},
    ),
    # Two Loongson 3B4000: two sockets without threads; nviennot/core-to-core-latency#104.
    "LoongArch with two sockets": (
        Reported(singles(0, 8), {0: "0-3", 1: "4-7"}, [("0-3", None), ("4-7", None)], {0: "0-3", 1: "4-7"}),
        {"sockets": ["0-3", "4-7"], "caches": {"0-3": 0, "4-7": 1}},
    ),
    # Sub-NUMA clusters: the L3 of a socket is that of two nodes; jaypipes/ghw#402.
    "one cache over two nodes": (
        Reported(
            singles(0, 48),
            {0: "0-23", 1: "24-47"},
            [("0-23", 0), ("24-47", 1)],
            {0: "0-11", 1: "12-23", 2: "24-35", 3: "36-47"},
        ),
        {"caches": {"0-23": 0, "24-47": 1}, "nodes": 4},
    ),
    # Four of them a socket, 224 CPUs; gramineproject/gramine#530.
    "one cache over four nodes": (
        Reported(
            [f"{cpu},{cpu + 112}" for cpu in range(112)],
            {0: "0-55,112-167", 1: "56-111,168-223"},
            [("0-55,112-167", 0), ("56-111,168-223", 1)],
            {n: f"{14 * n}-{14 * n + 13},{14 * n + 112}-{14 * n + 125}" for n in range(8)},
        ),
        {"caches": {"0-55,112-167": 0, "56-111,168-223": 1}, "nodes": 8},
    ),
    # Two ThunderX: sockets are clusters of 48; autotest/tp-libvirt#6474.
    "clusters of forty-eight": (
        Reported(singles(0, 96), {0: "0-47", 1: "48-95"}, nodes={0: "0-47", 1: "48-95"}),
        {"sockets": ["0-47", "48-95"], "caches": {}},
    ),
    # Itanium: the kernel takes each thread for a package; linux-ia64/linux-ia64#21.
    "a package per thread": (
        Reported(
            singles(0, 8), {n: str(n) for n in range(8)}, [(str(n), None) for n in range(8)], {0: "0-7"}
        ),
        {"sockets": singles(0, 8), "caches": {str(n): n for n in range(8)}, "nodes": 1},
    ),
    # isolcpus of a node for packet processing; kubernetes/kubernetes#79603.
    "isolated": (
        Reported(pairs(0, 8), {0: "0-7"}, nodes={0: "0-7"}, isolated="4-7,60-63"),
        {"isolated": "4-7"},
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_reported_machine_is_read_as_it_is(name, tmp_path):
    reported, expected = MACHINES[name]
    answer = reported.discovered(tmp_path)
    assert answer.findings == ()
    machine = answer.machine
    assert machine is not None
    topology = machine.topology
    assert topology.all_cpus == reported.online
    assert topology.unknown_siblings == cpuset.EMPTY
    found = {
        "cores": [cpuset.render(cpus) for _, cpus in topology.cores],
        "sockets": [cpuset.render(cpus) for _, cpus in topology.sockets],
        "socket_ids": [socket for socket, _ in topology.sockets],
        "caches": {cpuset.render(cpus): number for number, cpus in topology.caches},
        "nodes": len(topology.nodes),
        "offline": cpuset.render(machine.topology.offline),
        "isolated": cpuset.render(topology.isolated),
        "kinds": {kind: cpuset.render(cpus) for kind, cpus in topology.kinds},
    }
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("removed", "unknown"),
    [
        # Topology files of most CPUs are missing; coreos/fedora-coreos-tracker#1828.
        (range(1, 8), "1-7"),
        # No CPU has any; containers in LX zones, TritonDataCenter/illumos-joyent#288.
        (range(8), "0-7"),
    ],
)
def test_siblings_of_a_reported_machine_are_not_guessed(removed, unknown, tmp_path):
    reported = Reported(
        singles(0, 8),
        {0: "0-7"},
        nodes={0: "0-7"},
        removed=[f"{_CPU}/cpu{cpu}/topology/thread_siblings_list" for cpu in removed],
    )
    answer = reported.discovered(tmp_path)
    (finding,) = answer.findings
    assert f"online CPUs ({unknown})" in finding.problem
    assert answer.machine is not None
    assert answer.machine.topology.unknown_siblings == cpuset.parse(unknown)


def test_lists_of_one_cache_that_overlap_are_one_finding(tmp_path):
    """Ryzen before Linux 4.14: the lists do not fit together; util-linux/util-linux#551."""
    reported = Reported(pairs(0, 12), {0: "0-11"}, [("0-5", 0), ("6-11", 1)], {0: "0-11"})
    put(tmp_path, f"{_CPU}/cpu5/cache/index3/shared_cpu_list", "")
    reported.caches.append(("4-7", 0))
    answer = reported.discovered(tmp_path)
    (finding,) = answer.findings
    assert "contradict each other about L3 caches" in finding.problem
    assert answer.machine is not None


@pytest.mark.parametrize("named", [True, False])
def test_a_cpu_that_several_nodes_list_is_in_the_one_that_it_names(named, tmp_path):
    """numa=fake=2U splits each node; raspberrypi/linux#6273 boots with eight. open-mpi/hwloc#568."""
    reported = Reported(
        pairs(0, 8),
        {0: "0-3", 1: "4-7"},
        nodes={0: "0-3", 1: "", 2: "4-7", 3: ""},
        untrue={1: "0-3", 3: "4-7"},
        distances=[[10, 10, 20, 20], [10, 10, 20, 20], [20, 20, 10, 10], [20, 20, 10, 10]],
    )
    answer = reported.discovered(tmp_path)
    if not named:
        for cpu in range(8):
            (tmp_path / _CPU / f"cpu{cpu}" / f"node{cpu // 4 * 2}").unlink()
        answer = discover(tmp_path, tmp_path / "proc")
    (finding,) = answer.findings
    assert "lists CPUs 0-7 in several nodes" in finding.problem
    assert "numa=fake=" in finding.next_step
    assert answer.machine is not None
    assert {cpu.id: cpu.node for cpu in answer.machine.topology.cpus} == {n: n // 4 * 2 for n in range(8)}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("policy", ["best-effort", "restricted", "single-numa-node"])
@pytest.mark.parametrize("name", [name for name, (one, _) in MACHINES.items() if len(one.nodes) > 8])
def test_a_pod_is_decided_on_a_machine_of_many_nodes(name, policy, tmp_path):
    """A kubelet that looks at every set of 34 nodes never answers; kubernetes/kubernetes#135581."""
    machine = MACHINES[name][0].discovered(tmp_path).machine
    assert machine is not None
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        reserved_system_cpus=cpuset.of([0]),
        memory_manager_policy=MemoryManagerPolicy.STATIC,
        reserved_memory=(ReservedMemory(0, {"memory": 2**20}),),
        topology_manager_policy=TopologyManagerPolicy(policy),
        topology_manager_policy_options={"max-allowable-numa-nodes": "40"},
    )
    amounts = {"cpu": "2", "memory": "1Mi"}
    request = read_pod(
        {
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]},
        }
    )
    answer = NodeAllocator.empty(settings, machine.topology).decide(request)
    assert isinstance(answer, Admitted)
    assert answer.grant.exclusive_cpus.bit_count() == 2
