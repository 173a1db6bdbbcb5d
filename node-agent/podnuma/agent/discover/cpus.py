"""CPUs: which are online, and how they form cores, sockets and uncore caches.

Cores and caches are sets of CPUs, never numbers: core_id repeats across sockets and has gaps, cache ids
may be missing or repeat. A core's id is its lowest online CPU, as in the kubelet; a cache's is the
kernel's where that tells the caches apart. Siblings name each other, so one readable file per core is
enough. Offline CPUs have no topology folder; that is no finding. Those that were unplugged from a running
machine are not even present, and may come back: `possible` has them.

What share a core is never guessed: CPUs of which no file tells, or of which two files tell otherwise,
are `unknown`. A core without an L3 cache has none.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podnuma.agent.discover.tree import Tree
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

_CPU = "devices/system/cpu"
_NONE = CpuSet(0)
# Newer kernels call the files core_cpus; thread_siblings is the name that all have.
_SIBLINGS = (("core_cpus_list", "core_cpus"), ("thread_siblings_list", "thread_siblings"))
_UNCORE_LEVEL = 3
# The API keeps numbers in 64 bits, with a sign.
_LARGEST_LABEL = 2**63 - 1
_NO_SOCKET = -1


@dataclass(frozen=True, slots=True)
class Processors:
    """All maps have exactly the online CPUs as keys. In `core` a CPU of `unknown` stands for itself.

    `socket` is -1 where the firmware does not tell.
    """

    online: CpuSet
    offline: CpuSet
    possible: CpuSet
    isolated: CpuSet
    unknown: CpuSet
    core: Mapping[int, int]
    socket: Mapping[int, int]
    uncore: Mapping[int, int | None]


def read_cpus(tree: Tree) -> Processors:
    """Read what there is; with no CPU at all a fatal finding is left in `tree` and the sets are empty."""
    online, offline = _states(tree)
    if not online:
        tree.add(_CPU, "names no online CPU", "mount the host's /sys for the agent", fatal=True)
    core, unknown = _cores(tree, online, offline)
    return Processors(
        online=online,
        offline=offline,
        possible=CpuSet((tree.cpus(f"{_CPU}/possible") or _NONE) | online | offline),
        isolated=CpuSet((tree.cpus(f"{_CPU}/isolated") or _NONE) & online),
        unknown=unknown,
        core=core,
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


def _cores(tree: Tree, online: CpuSet, offline: CpuSet) -> tuple[dict[int, int], CpuSet]:
    """Return the core of each CPU, and the CPUs of which that is not known."""
    if online.bit_count() == 1 and not offline:
        # A kernel for one CPU has no topology to tell of.
        (cpu,) = cpuset.ids(online)
        return {cpu: cpu}, _NONE
    told = _told(tree, online)
    disputed = 0
    for siblings in set(told.values()):
        for cpu in cpuset.ids(siblings):
            if told.get(cpu, siblings) != siblings:
                disputed |= siblings | told[cpu]
    by_others = {cpu: siblings for siblings in told.values() for cpu in cpuset.ids(siblings)}
    core = {}
    for cpu in cpuset.ids(online):
        known = cpu in by_others and not disputed >> cpu & 1
        core[cpu] = next(cpuset.ids(by_others[cpu])) if known else cpu
    silent = CpuSet(online & ~cpuset.of(by_others))
    _say_unknown(tree, silent, online, "says nothing about the sibling threads of")
    _say_unknown(tree, CpuSet(disputed), online, "and those of others contradict each other about")
    return core, CpuSet(silent | disputed)


def _say_unknown(tree: Tree, unknown: CpuSet, online: CpuSet, words: str) -> None:
    if unknown:
        first, count = next(cpuset.ids(unknown)), f"{unknown.bit_count()} of {online.bit_count()}"
        tree.add(
            f"{_CPU}/cpu{first}/topology",
            f"{words} {count} online CPUs ({cpuset.render(unknown)}); no CPU here is given exclusively",
            "check that the whole of /sys is mounted, and the kernel's log",
        )


def _told(tree: Tree, online: CpuSet) -> dict[int, CpuSet]:
    """Return the siblings that the CPUs' own files tell."""
    told = {}
    for cpu in cpuset.ids(online):
        siblings = _siblings(tree, cpu) & online
        if siblings >> cpu & 1:
            told[cpu] = CpuSet(siblings)
    return told


def _siblings(tree: Tree, cpu: int) -> int:
    for listed, mask in _SIBLINGS:
        found = tree.cpus(f"{_CPU}/cpu{cpu}/topology/{listed}", f"{_CPU}/cpu{cpu}/topology/{mask}")
        if found is not None:
            return found
    return 0


def _sockets(tree: Tree, online: CpuSet) -> dict[int, int]:
    # The kernel says -1 where the firmware does not say: then all of these CPUs are one socket.
    found = {cpu: tree.number(f"{_CPU}/cpu{cpu}/topology/physical_package_id") for cpu in cpuset.ids(online)}
    return {
        cpu: socket if socket is not None and 0 <= socket <= _LARGEST_LABEL else _NO_SOCKET
        for cpu, socket in found.items()
    }


def _uncores(tree: Tree, online: CpuSet) -> dict[int, int | None]:
    members: dict[int, CpuSet] = {}
    numbers: dict[CpuSet, set[int | None]] = {}
    disputed = 0
    for cpu in cpuset.ids(online):
        for sharing, number in _caches(tree, cpu):
            own = CpuSet(sharing & online | 1 << cpu)
            if members.setdefault(cpu, own) != own:
                disputed |= 1 << cpu
                continue
            for other in cpuset.ids(own):
                if members.setdefault(other, own) != own:
                    disputed |= 1 << other
            numbers.setdefault(own, set()).add(number)
    if disputed:
        cpus = CpuSet(disputed)
        tree.add(
            f"{_CPU}/cpu{next(cpuset.ids(cpus))}/cache",
            f"and those of others contradict each other about L3 caches of CPUs {cpuset.render(cpus)};"
            " taken to be in the cache of the lowest CPU that says so",
            "report the machine with `podnuma discover`",
        )
    labels = _labels(tuple(dict.fromkeys(members[cpu] for cpu in sorted(members))), numbers)
    return {cpu: labels[members[cpu]] if cpu in members else None for cpu in cpuset.ids(online)}


def _labels(caches: Iterable[CpuSet], numbers: Mapping[CpuSet, set[int | None]]) -> dict[CpuSet, int]:
    """Return the kernel's ids if they tell the caches apart, else 0, 1, ... by the lowest CPU."""
    given = {cache: next(iter(numbers[cache])) for cache in caches if len(numbers[cache]) == 1}
    known = {cache: number for cache, number in given.items() if number is not None}
    plain = all(0 <= number <= _LARGEST_LABEL for number in known.values())
    if plain and len(known) == len(set(known.values())) == len(tuple(caches)):
        return known
    return {cache: place for place, cache in enumerate(caches)}


def _caches(tree: Tree, cpu: int) -> Iterator[tuple[CpuSet, int | None]]:
    """Yield the uncore caches of a CPU: who shares it, and the kernel's id, if it gives one.

    One of which the kernel does not tell who shares it is none to go by.
    """
    folder = f"{_CPU}/cpu{cpu}/cache"
    for index in tree.folders(folder, "index"):
        cache = f"{folder}/index{index}"
        if tree.number(f"{cache}/level") == _UNCORE_LEVEL:
            sharing = tree.cpus(f"{cache}/shared_cpu_list", f"{cache}/shared_cpu_map")
            if sharing is not None:
                yield sharing, tree.number(f"{cache}/id")
