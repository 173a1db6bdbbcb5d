"""Real machines as folders of files: what the kernel shows below /sys, rebuilt from recorded facts.

`tests/machines/*.json` holds facts of real hardware with their public source: CPUs with core, socket,
NUMA node and L3 group; NUMA nodes with memory, distances and huge pages. `write_sysfs` makes from one
of them the tree that a kernel on that machine shows, as far as CPU and memory topology goes
(Documentation/ABI/stable/sysfs-devices-system-cpu and -node, Documentation/admin-guide/cputopology.rst).

Real trees differ in more than numbers, and their readers must cope. Each such difference is a field of
`Quirks`, and a machine whose note mentions one has it here: files that an old kernel does not have,
masks wider than the CPUs, node lists that name CPUs that do not exist.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.allocator import cpuset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECORDS = Path(__file__).resolve().parents[1] / "tests" / "machines"
KIB = 1024
GIB = 2**30
# For the one record whose source gives no memory: usual for a two-socket server of that kind.
USUAL_MEMORY = 384 * GIB
USUAL_DISTANCES = (10, 32)
# No record has sizes of caches; every kernel shows some.
_CACHE_KIB = {1: 32, 2: 1024, 3: 32768}
_WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a tree differs from that of a present-day kernel.

    lists: there are files with lists ("0-3"), not only masks.
    summaries: cpu/online, offline, possible, present, isolated and the same for NUMA nodes.
    online_files: cpuN/online for CPUs that can be switched off.
    offline_members: the masks of NUMA nodes count offline CPUs.
    mask_words: 32-bit words in a mask; 0 = as many as the CPUs need.
    """

    lists: bool = True
    summaries: bool = True
    online_files: bool = True
    offline_members: bool = False
    mask_words: int = 0


MODERN = Quirks()
QUIRKS: Mapping[str, Quirks] = {
    "power-256cpu-sparse-numa": Quirks(lists=False, summaries=False, online_files=False, mask_words=32),
    "xeon-4s-offline-threads": Quirks(lists=False, summaries=False, offline_members=True),
}


@dataclass(frozen=True, slots=True)
class MachineCpu:
    """One online CPU. `core` is unique on the machine, `core_id` is what the kernel says and may repeat."""

    id: int
    core: int
    core_id: int
    socket: int
    numa: int
    l3: int | None
    cluster: int | None


@dataclass(frozen=True, slots=True)
class MachineNode:
    """One NUMA node.

    memory: bytes, huge pages included. huge_pages: page size in KiB -> number of pages.
    shown_cpus: what the kernel's list says; on one machine that differs from the online CPUs.
    """

    id: int
    memory: int
    distances: tuple[int, ...]
    cpus: frozenset[int]
    shown_cpus: frozenset[int]
    huge_pages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """One recorded machine."""

    name: str
    source: str
    note: str
    cpus: tuple[MachineCpu, ...]
    nodes: tuple[MachineNode, ...]
    offline: frozenset[int]
    isolated: frozenset[int]
    quirks: Quirks = MODERN

    @property
    def online(self) -> frozenset[int]:
        return frozenset(cpu.id for cpu in self.cpus)

    @property
    def memory(self) -> int:
        """Bytes of all NUMA nodes."""
        return sum(node.memory for node in self.nodes)


def names() -> list[str]:
    """Return the names of all recorded machines."""
    return sorted(path.stem for path in RECORDS.glob("*.json"))


def load(name: str) -> Machine:
    """Read a recorded machine; FileNotFoundError for a name that `names` does not have."""
    record: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text())
    count = len(record["numaNodes"])
    return Machine(
        name=name,
        source=record["source"],
        note=record["note"],
        cpus=tuple(_cpu(entry) for entry in record["cpus"]),
        nodes=tuple(_node(entry, place, count) for place, entry in enumerate(record["numaNodes"])),
        offline=_ids(record["offline"]),
        isolated=_ids(record["isolated"]),
        quirks=QUIRKS.get(name, MODERN),
    )


def _cpu(entry: dict[str, Any]) -> MachineCpu:
    return MachineCpu(
        id=entry["id"],
        core=entry["core"],
        core_id=entry.get("coreId", entry["core"]),
        socket=entry["socket"],
        numa=entry["numa"],
        l3=entry["l3"],
        cluster=entry.get("cluster"),
    )


def _node(entry: dict[str, Any], place: int, count: int) -> MachineNode:
    here, elsewhere = USUAL_DISTANCES
    usual = tuple(here if other == place else elsewhere for other in range(count))
    memory = entry["memoryBytes"]
    pages = {
        int(size.removeprefix("hugepages-").removesuffix("kB")): number
        for size, number in entry.get("hugepages", {}).items()
    }
    return MachineNode(
        id=entry["id"],
        memory=USUAL_MEMORY if memory is None else memory,
        distances=tuple(entry["distances"] or usual),
        cpus=_ids(entry["cpus"]),
        shown_cpus=_ids(entry.get("cpulistRaw", entry["cpus"])),
        huge_pages=pages,
    )


def _ids(text: str) -> frozenset[int]:
    return frozenset(cpuset.ids(cpuset.parse(text)))


def list_text(ids: Iterable[int]) -> str:
    """Write CPUs as a kernel list: "0-3,8"."""
    return cpuset.render(cpuset.of(ids))


def mask_text(ids: Iterable[int], words: int) -> str:
    """Write CPUs as a kernel mask: 32-bit words in hexadecimal, highest first, commas between."""
    mask = int(cpuset.of(ids))
    full = (1 << _WORD_BITS) - 1
    return ",".join(f"{(mask >> (_WORD_BITS * word)) & full:08x}" for word in reversed(range(words)))


def write_sysfs(machine: Machine, root: Path) -> Path:
    """Write the tree of a machine below `root`, which takes the place of /sys, and return `root`."""
    _Sysfs(machine, root).write()
    return root


class _Sysfs:
    """Writes one tree. CPU masks and lists are written by `_set`, in the forms of the kernel."""

    def __init__(self, machine: Machine, root: Path) -> None:
        self._machine = machine
        self._quirks = machine.quirks
        self._system = root / "devices" / "system"
        highest = max(machine.online | machine.offline)
        self._words = self._quirks.mask_words or highest // _WORD_BITS + 1

    def write(self) -> None:
        self._write_summaries()
        for cpu in self._machine.cpus:
            self._write_cpu(cpu)
        for number in self._machine.offline:
            self._text(f"cpu/cpu{number}/online", "0")
        for node in self._machine.nodes:
            self._write_node(node)
        self._write_node_summaries()

    def _text(self, path: str, text: object) -> None:
        file = self._system / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def _set(self, stem: str, list_suffix: str, ids: Iterable[int], mask_suffix: str = "") -> None:
        """Write a set of CPUs as a mask (`stem` + `mask_suffix`) and, on kernels that do, as a list."""
        members = list(ids)
        self._text(stem + mask_suffix, mask_text(members, self._words))
        if self._quirks.lists:
            self._text(stem + list_suffix, list_text(members))

    def _write_summaries(self) -> None:
        known = self._machine.online | self._machine.offline
        self._text("cpu/kernel_max", self._words * _WORD_BITS - 1)
        if not self._quirks.summaries:
            return
        self._text("cpu/online", list_text(self._machine.online))
        self._text("cpu/offline", list_text(self._machine.offline))
        self._text("cpu/present", list_text(known))
        self._text("cpu/possible", list_text(known))
        self._text("cpu/isolated", list_text(self._machine.isolated))

    def _write_cpu(self, cpu: MachineCpu) -> None:
        folder = f"cpu/cpu{cpu.id}"
        all_cpus = self._machine.cpus
        # CPU 0 cannot be switched off on most machines: no such file.
        if self._quirks.online_files and cpu.id != 0:
            self._text(f"{folder}/online", "1")
        self._text(f"{folder}/topology/core_id", cpu.core_id)
        self._text(f"{folder}/topology/physical_package_id", cpu.socket)
        threads = [other.id for other in all_cpus if other.core == cpu.core]
        package = [other.id for other in all_cpus if other.socket == cpu.socket]
        for stem, members in (("thread_siblings", threads), ("core_siblings", package)):
            self._set(f"{folder}/topology/{stem}", "_list", members)
        if self._quirks == MODERN:
            for stem, members in (("core_cpus", threads), ("package_cpus", package)):
                self._set(f"{folder}/topology/{stem}", "_list", members)
        if cpu.cluster is not None:
            cluster = [other.id for other in all_cpus if other.cluster == cpu.cluster]
            self._text(f"{folder}/topology/cluster_id", cpu.cluster)
            self._set(f"{folder}/topology/cluster_cpus", "_list", cluster)
        self._write_caches(cpu, threads)
        (self._system / folder / f"node{cpu.numa}").symlink_to(f"../../node/node{cpu.numa}")

    def _write_caches(self, cpu: MachineCpu, threads: list[int]) -> None:
        caches = [(1, "Data", threads, cpu.core), (1, "Instruction", threads, cpu.core)]
        caches.append((2, "Unified", threads, cpu.core))
        if cpu.l3 is not None:
            sharing = [other.id for other in self._machine.cpus if other.l3 == cpu.l3]
            caches.append((3, "Unified", sharing, cpu.l3))
        for index, (level, kind, sharing, number) in enumerate(caches):
            folder = f"cpu/cpu{cpu.id}/cache/index{index}"
            self._text(f"{folder}/level", level)
            self._text(f"{folder}/type", kind)
            self._text(f"{folder}/size", f"{_CACHE_KIB[level]}K")
            if self._quirks == MODERN:
                self._text(f"{folder}/id", number)
            self._set(f"{folder}/shared_cpu", "_list", sharing, "_map")

    def _write_node(self, node: MachineNode) -> None:
        folder = f"node/node{node.id}"
        members = node.cpus | (self._machine.offline if self._quirks.offline_members else frozenset())
        # A mask holds real CPUs only, whatever a broken list says.
        self._text(f"{folder}/cpumap", mask_text(members, self._words))
        if self._quirks.lists:
            self._text(f"{folder}/cpulist", list_text(node.shown_cpus))
        self._text(f"{folder}/distance", " ".join(map(str, node.distances)))
        self._text(f"{folder}/meminfo", _meminfo(node))
        for size, count in node.huge_pages.items():
            for file, number in (("nr", count), ("free", count), ("surplus", 0)):
                self._text(f"{folder}/hugepages/hugepages-{size}kB/{file}_hugepages", number)
        for number in sorted(node.cpus):
            (self._system / folder / f"cpu{number}").symlink_to(f"../../cpu/cpu{number}")

    def _write_node_summaries(self) -> None:
        if not self._quirks.summaries:
            return
        nodes = self._machine.nodes
        every = list_text(node.id for node in nodes)
        self._text("node/online", every)
        self._text("node/possible", every)
        self._text("node/has_cpu", list_text(node.id for node in nodes if node.cpus))
        with_memory = list_text(node.id for node in nodes if node.memory)
        self._text("node/has_memory", with_memory)
        self._text("node/has_normal_memory", with_memory)


def _meminfo(node: MachineNode) -> str:
    total = node.memory // KIB
    huge = sum(size * count for size, count in node.huge_pages.items())
    pages = node.huge_pages.get(2048, 0)
    rows = {
        "MemTotal": f"{total:>15} kB",
        "MemFree": f"{total - huge:>15} kB",
        "MemUsed": f"{huge:>15} kB",
        "HugePages_Total": f"{pages:>6}",
        "HugePages_Free": f"{pages:>6}",
        "HugePages_Surp": f"{0:>6}",
    }
    return "\n".join(f"Node {node.id} {key + ':':<16}{value}" for key, value in rows.items())


def write_proc(machine: Machine, root: Path) -> Path:
    """Write /proc/meminfo and /proc/cmdline of a machine below `root`, which stands for /proc."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "meminfo").write_text(f"MemTotal:       {machine.memory // KIB} kB\n")
    isolated = f" isolcpus={list_text(machine.isolated)}" if machine.isolated else ""
    (root / "cmdline").write_text(f"root=/dev/vda ro{isolated}\n")
    return root


def write_cgroup_root(machine: Machine, root: Path) -> Path:
    """Write what the kubelet's part of a cgroup v2 tree looks like before any pod runs (systemd driver).

    `root` stands for /sys/fs/cgroup. As in the kernel, nothing is restricted yet: cpuset.cpus is empty,
    cpuset.cpus.effective has every online CPU, cpu.max is "max 100000".
    """
    cpus, mems = list_text(machine.online), list_text(node.id for node in machine.nodes if node.memory)
    for folder in (".", "kubepods.slice", *(f"kubepods.slice/kubepods-{qos}.slice" for qos in QOS_SLICES)):
        group = root / folder
        group.mkdir(parents=True, exist_ok=True)
        for file, text in fresh_group(cpus, mems, top=folder == ".").items():
            (group / file).write_text(text + "\n" if text else "\n")
    return root


QOS_SLICES = ("burstable", "besteffort")


def fresh_group(cpus: str, mems: str, *, top: bool = False) -> dict[str, str]:
    """Return file name -> text of a new control group below parents that allow `cpus` and `mems`."""
    files = {
        "cgroup.controllers": "cpuset cpu io memory hugetlb pids",
        "cgroup.subtree_control": "cpuset cpu io memory hugetlb pids",
        "cgroup.procs": "",
        "cpuset.cpus.effective": cpus,
        "cpuset.mems.effective": mems,
    }
    if not top:
        files |= {"cpuset.cpus": "", "cpuset.mems": "", "cpu.max": "max 100000", "memory.max": "max"}
    return files
