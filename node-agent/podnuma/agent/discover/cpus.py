"""CPUs: which are online, and how they form cores, sockets and uncore caches.

A core is a set of siblings, never a core number: core_id repeats across sockets and has gaps. Its id is
its lowest online CPU, as in the kubelet. Siblings name each other, so one readable file per core is
enough. Offline CPUs have no topology folder; that is no finding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podnuma.agent.discover.tree import Tree
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

_CPU = "devices/system/cpu"
_NONE = CpuSet(0)
# Newer kernels call the files core_cpus; thread_siblings is the name that all have.
_SIBLINGS = (("core_cpus_list", "core_cpus"), ("thread_siblings_list", "thread_siblings"))
_KINDS = {"performance": "devices/cpu_core/cpus", "efficient": "devices/cpu_atom/cpus"}
_UNCORE_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Processors:
    """All maps have exactly the online CPUs as keys. `kinds` is empty unless the machine is hybrid."""

    online: CpuSet
    offline: CpuSet
    isolated: CpuSet
    kinds: Mapping[str, CpuSet]
    core: Mapping[int, int]
    socket: Mapping[int, int]
    uncore: Mapping[int, int | None]


def read_cpus(tree: Tree) -> Processors:
    """Read what there is; with no CPU at all a fatal finding is left in `tree` and the sets are empty."""
    online, offline = _states(tree)
    if not online:
        tree.add(_CPU, "names no online CPU", "mount the host's /sys for the agent", fatal=True)
    return Processors(
        online=online,
        offline=offline,
        isolated=CpuSet((tree.cpus(f"{_CPU}/isolated") or _NONE) & online),
        kinds=_kinds(tree, online),
        core=_cores(tree, online),
        socket=_sockets(tree, online),
        uncore=_uncores(tree, online),
    )


def _states(tree: Tree) -> tuple[CpuSet, CpuSet]:
    folders = cpuset.of(tree.folders(_CPU, "cpu"))
    present = tree.cpus(f"{_CPU}/present")
    known = folders if present is None else present
    online = tree.cpus(f"{_CPU}/online")
    if online is None:
        # Old kernels have a file per CPU, and none for those that cannot be switched off.
        online = cpuset.of(cpu for cpu in cpuset.ids(folders) if tree.number(f"{_CPU}/cpu{cpu}/online") != 0)
    return online, CpuSet((known | folders) & ~online)


def _cores(tree: Tree, online: CpuSet) -> dict[int, int]:
    core: dict[int, int] = {}
    silent = []
    for cpu in cpuset.ids(online):
        siblings = _siblings(tree, cpu) & online
        if not siblings >> cpu & 1:
            silent.append(cpu)
            continue
        for thread in cpuset.ids(CpuSet(siblings)):
            core.setdefault(thread, next(cpuset.ids(CpuSet(siblings))))
    for cpu in silent:
        if cpu not in core:
            tree.add(
                f"{_CPU}/cpu{cpu}/topology",
                "says nothing about the siblings of an online CPU; taken as a core with one thread",
                "check that the whole of /sys is mounted",
            )
            core[cpu] = cpu
    return core


def _siblings(tree: Tree, cpu: int) -> int:
    for listed, mask in _SIBLINGS:
        found = tree.cpus(f"{_CPU}/cpu{cpu}/topology/{listed}", f"{_CPU}/cpu{cpu}/topology/{mask}")
        if found is not None:
            return found
    return 0


def _sockets(tree: Tree, online: CpuSet) -> dict[int, int]:
    # The kernel says -1 where the firmware does not say: then all of these CPUs are one socket.
    found = {cpu: tree.number(f"{_CPU}/cpu{cpu}/topology/physical_package_id") for cpu in cpuset.ids(online)}
    return {cpu: -1 if socket is None else socket for cpu, socket in found.items()}


def _uncores(tree: Tree, online: CpuSet) -> dict[int, int | None]:
    uncore: dict[int, int | None] = dict.fromkeys(cpuset.ids(online))
    for cpu in cpuset.ids(online):
        if uncore[cpu] is not None:
            continue
        for cache, number in _caches(tree, cpu):
            sharing = tree.cpus(f"{cache}/shared_cpu_list", f"{cache}/shared_cpu_map")
            members = CpuSet((sharing or 1 << cpu) & online)
            name = next(cpuset.ids(members)) if number is None else number
            uncore.update(dict.fromkeys(cpuset.ids(members), name))
    return uncore


def _caches(tree: Tree, cpu: int) -> Iterator[tuple[str, int | None]]:
    """Yield the uncore caches of a CPU with the kernel's id for each, if it gives one."""
    folder = f"{_CPU}/cpu{cpu}/cache"
    for index in tree.folders(folder, "index"):
        cache = f"{folder}/index{index}"
        if tree.number(f"{cache}/level") == _UNCORE_LEVEL:
            yield cache, tree.number(f"{cache}/id")


def _kinds(tree: Tree, online: CpuSet) -> dict[str, CpuSet]:
    found = {kind: CpuSet((tree.cpus(path) or _NONE) & online) for kind, path in _KINDS.items()}
    # One kind of core alone is not a hybrid machine.
    return found if all(found.values()) else {}
