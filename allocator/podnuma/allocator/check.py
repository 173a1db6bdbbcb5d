"""Find everything that is wrong with the settings of one machine, all at once.

A SettingsProblem names the field as in KubeletConfiguration, the value and what to do. Settings are wrong if
the kubelet would refuse to start with them, or if they reserve CPUs or memory that the machine does not have.
A reserved CPU that is switched off is no mistake in the settings: the others are reserved meanwhile.

In the kubelet: cpumanager/policy_options.go, topologymanager/policy_options.go, and `NewStaticPolicy` and
`validateReservedMemory` of the CPU and the memory manager.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from podnuma.allocator import cpuset
from podnuma.allocator import manager_settings as config
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.manager_settings import (
    CPU_OPTION_NAMES,
    MAX_NODES,
    PREFER_CLOSEST,
    CpuManagerPolicy,
    IsolatedCpuPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    TopologyManagerPolicy,
)
from podnuma.allocator.quantities import format_bytes, format_cpu
from podnuma.allocator.request import MEMORY, is_memory
from podnuma.allocator.topology import Topology

CPU_OPTIONS = "cpuManagerPolicyOptions"
TOPOLOGY_OPTIONS = "topologyManagerPolicyOptions"
CORE_KIND = "exclusiveCoreKind"
RESERVED_CPUS = "reservedSystemCPUs"
ISOLATED_CPUS = "/sys/devices/system/cpu/isolated"
PACKAGE = "/sys/devices/system/cpu/cpu{}/topology/physical_package_id"
RESERVED_MEMORY = "reservedMemory"

FEWEST_NODES = 8

_CLASHES = (
    ("full-pcpus-only", "distribute-cpus-across-cores"),
    ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
)


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """One thing that is wrong: which field, its value, and what to do about it."""

    field: str
    value: str
    message: str


class SettingsError(ValueError):
    """Settings that cannot be used on this machine; `problems` has all of them."""

    def __init__(self, problems: list[SettingsProblem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def check(settings: ManagerSettings, topology: Topology) -> list[SettingsProblem]:
    """Return what is wrong with these settings on this machine; empty when a NodeAllocator can be made."""
    found: list[SettingsProblem] = []
    if settings.cpu_manager_policy is CpuManagerPolicy.STATIC:
        found += _siblings(topology)
        found += _cpu_options(settings, topology)
        found += _reserved_cpus(settings, topology)
        found += _core_kind(settings, topology)
    elif settings.cpu_manager_policy_options:
        names = ", ".join(sorted(settings.cpu_manager_policy_options))
        found.append(
            SettingsProblem(
                CPU_OPTIONS, names, "cpuManagerPolicy none takes no options; remove them or use static"
            )
        )
    if settings.memory_manager_policy is MemoryManagerPolicy.STATIC:
        found += _reserved_memory(settings, topology)
    if settings.topology_manager_policy is not TopologyManagerPolicy.NONE:
        found += _topology_options(settings, topology)
    if settings.cfs_quota_period < 1000 or settings.cfs_quota_period > 1_000_000:  # noqa: PLR2004 - kernel's bounds
        found.append(
            SettingsProblem(
                "cpuCFSQuotaPeriod", str(settings.cfs_quota_period), "must be 1ms to 1s, in microseconds"
            )
        )
    return found


def _siblings(topology: Topology) -> Iterator[SettingsProblem]:
    unknown = topology.unknown_siblings
    if unknown:
        first = next(cpuset.ids(unknown))
        yield SettingsProblem(
            "cpuManagerPolicy",
            "static",
            f"the sibling threads of {unknown.bit_count()} online CPUs ({cpuset.render(unknown)}) are "
            f"unknown, so no CPU is given exclusively; see /sys/devices/system/cpu/cpu{first}/topology",
        )


def _core_kind(settings: ManagerSettings, topology: Topology) -> Iterator[SettingsProblem]:
    kind, known = settings.exclusive_core_kind, dict(topology.kinds)
    if not kind:
        return
    if kind not in known:
        there = f"its kinds of cores are {', '.join(known)}" if known else "all its cores are of one kind"
        yield SettingsProblem(CORE_KIND, kind, f"no cores of that kind: {there}; leave the field out")
        return
    usable = known[kind] & ~(settings.reserved_system_cpus or cpuset.EMPTY)
    if settings.isolated_cpu_policy is IsolatedCpuPolicy.UNUSED:
        usable &= ~topology.isolated
    usable &= ~topology.outside
    if not usable:
        cpus = cpuset.render(known[kind])
        yield SettingsProblem(
            CORE_KIND, kind, f"CPUs {cpus} are all reserved, isolated or outside kubepods; reserve others"
        )


def _bad_values(
    field: str, options: Mapping[str, str], readers: Mapping[str, Callable[[str], object]]
) -> Iterator[SettingsProblem]:
    for name, value in options.items():
        if name not in readers:
            near = get_close_matches(name, readers, n=1)
            known = f"did you mean {near[0]}?" if near else f"known are {', '.join(readers)}"
            yield SettingsProblem(f"{field}.{name[:60]}", value, f"unknown option; {known}")
            continue
        try:
            readers[name](value)
        except ValueError as error:
            yield SettingsProblem(f"{field}.{name}", value, str(error))


def _cpu_options(settings: ManagerSettings, topology: Topology) -> Iterator[SettingsProblem]:
    given = settings.cpu_manager_policy_options
    bad = list(_bad_values(CPU_OPTIONS, given, dict.fromkeys(CPU_OPTION_NAMES, config.read_bool)))
    yield from bad
    if bad:
        return
    on = {name for name, value in given.items() if config.read_bool(value)}
    for one, other in _CLASHES:
        if {one, other} <= on:
            yield SettingsProblem(
                CPU_OPTIONS, f"{one}, {other}", f"{one} and {other} cannot be used together; switch one off"
            )
    if "align-by-socket" not in on:
        return
    field = f"{CPU_OPTIONS}.align-by-socket"
    if settings.topology_manager_policy is TopologyManagerPolicy.SINGLE_NUMA_NODE:
        yield SettingsProblem(field, "true", "cannot be used with topologyManagerPolicy single-numa-node")
    if cpus := _unknown_package(topology):
        file = PACKAGE.format(next(cpuset.ids(cpus)))
        yield SettingsProblem(
            field,
            "true",
            f"the socket of CPUs {cpuset.render(cpus)} is unknown, see {file}; leave the option out here",
        )
    if len(topology.sockets) > len(topology.numa):
        yield SettingsProblem(
            field,
            "true",
            f"needs at least as many NUMA nodes as sockets; this machine has {len(topology.numa)} nodes "
            f"and {len(topology.sockets)} sockets",
        )


def _unknown_package(topology: Topology) -> CpuSet | None:
    return next((CpuSet(mask) for socket, mask in topology.sockets if socket < 0), None)


def _reserved_cpus(settings: ManagerSettings, topology: Topology) -> Iterator[SettingsProblem]:
    listed, amount = settings.reserved_system_cpus, settings.reserved_cpu
    balanced = CpuSet(topology.all_cpus & ~topology.isolated & ~topology.outside)
    if topology.outside == topology.all_cpus:
        yield SettingsProblem(
            "cpuManagerPolicy",
            "static",
            f"kubepods has none of the CPUs {cpuset.render(topology.all_cpus)}, which sysfs calls online; is"
            " the node a container that is shown another list of CPUs (lxcfs)?",
        )
        return
    if not balanced:
        whose = "all CPUs that kubepods has" if topology.outside else "all CPUs"
        yield SettingsProblem(
            "cpuManagerPolicy",
            "static",
            f"{whose} are isolated, see {ISOLATED_CPUS}; leave some to the system",
        )
        return
    if listed is None:
        value = format_cpu(amount.milli) if amount else ""
        if amount is None or amount.units == 0:
            yield SettingsProblem(
                RESERVED_CPUS, value, "cpuManagerPolicy static needs at least one reserved CPU; name it"
            )
        elif amount.units > balanced.bit_count():
            isolated = " that are not isolated" if topology.isolated else ""
            who = "kubepods" if topology.outside else "this machine"
            yield SettingsProblem(
                "reservedCPU",
                value,
                f"{who} has only {balanced.bit_count()} CPUs{isolated}; reserve fewer",
            )
        return
    yield from _listed_cpus(listed, topology)
    if amount is not None and amount.units != listed.bit_count():
        yield SettingsProblem(
            RESERVED_CPUS,
            cpuset.render(listed),
            f"names {listed.bit_count()} CPUs, but {format_cpu(amount.milli)} are reserved; make them equal",
        )


def _listed_cpus(listed: CpuSet, topology: Topology) -> Iterator[SettingsProblem]:
    """Yield what is wrong with a list of reserved CPUs."""
    text = cpuset.render(listed)
    if not listed:
        yield SettingsProblem(
            RESERVED_CPUS, text, "cpuManagerPolicy static needs at least one reserved CPU; name it"
        )
    missing = listed & ~topology.all_cpus & ~topology.offline
    if listed and not missing and not listed & topology.all_cpus:
        yield SettingsProblem(
            RESERVED_CPUS, text, "all of them are offline; bring one online, or reserve others"
        )
    if missing:
        yield SettingsProblem(
            RESERVED_CPUS,
            text,
            f"this machine has CPUs {cpuset.render(topology.all_cpus)}; drop {cpuset.render(missing)}",
        )
    kept_apart = listed & topology.isolated
    if kept_apart:
        yield SettingsProblem(
            RESERVED_CPUS,
            text,
            f"CPUs {cpuset.render(kept_apart)} are isolated: the kernel balances no load there, see "
            f"{ISOLATED_CPUS}; reserve others",
        )


def _reserved_memory(settings: ManagerSettings, topology: Topology) -> Iterator[SettingsProblem]:
    have = {
        node.id: {MEMORY: node.memory - sum(node.hugepages.values()), **node.hugepages}
        for node in topology.nodes
    }
    sums: dict[str, int] = {}
    for entry in settings.reserved_memory:
        for resource, size in entry.limits.items():
            sums[resource] = sums.get(resource, 0) + size
            if not is_memory(resource):
                yield SettingsProblem(
                    f"{RESERVED_MEMORY}[{entry.node}].{resource}",
                    str(size),
                    "is not a memory resource; remove it",
                )
            elif size > have.get(entry.node, {}).get(resource, size):
                yield SettingsProblem(
                    f"{RESERVED_MEMORY}[{entry.node}].{resource}",
                    format_bytes(size),
                    f"NUMA node {entry.node} has {format_bytes(have[entry.node][resource])}; reserve less",
                )
        if entry.node not in have:
            known = ", ".join(str(node) for node in have)
            yield SettingsProblem(
                f"{RESERVED_MEMORY}[{entry.node}]", str(entry.node), f"no such NUMA node; there are {known}"
            )
    for resource, expected in (settings.expected_reservation or {}).items():
        sums.setdefault(resource, 0)
        if is_memory(resource) and sums[resource] != expected:
            yield SettingsProblem(
                f"{RESERVED_MEMORY} ({resource})",
                format_bytes(sums[resource]),
                f"adds up to {format_bytes(sums[resource])} of {resource}, but kube-reserved, system-reserved"
                f" and eviction threshold {format_bytes(expected)}; {_difference(sums[resource], expected)}",
            )
    if sums.get(MEMORY, 0) <= 0:
        yield SettingsProblem(
            RESERVED_MEMORY, "", "memoryManagerPolicy Static needs some memory reserved on a NUMA node"
        )


def _difference(have: int, expected: int) -> str:
    if have < expected:
        return f"add {format_bytes(expected - have)}"
    return f"take {format_bytes(have - expected)} away"


def _topology_options(settings: ManagerSettings, topology: Topology) -> Iterator[SettingsProblem]:
    readers: dict[str, Callable[[str], object]] = {
        PREFER_CLOSEST: config.read_bool,
        MAX_NODES: _read_node_limit,
    }
    bad = list(_bad_values(TOPOLOGY_OPTIONS, settings.topology_manager_policy_options, readers))
    yield from bad
    if bad:
        return
    options = config.topology_options(settings)
    # Nodes without CPUs (persistent memory, memory of accelerators) are no reason to refuse the machine.
    if len(topology.numa) > options.max_allowable_numa_nodes:
        yield SettingsProblem(
            f"{TOPOLOGY_OPTIONS}.{MAX_NODES}",
            str(options.max_allowable_numa_nodes),
            f"this machine has {len(topology.numa)} NUMA nodes with CPUs; raise the number",
        )
    if options.prefer_closest_numa_nodes and not all(node.distances for node in topology.nodes):
        yield SettingsProblem(
            f"{TOPOLOGY_OPTIONS}.{PREFER_CLOSEST}", "true", "this machine tells no NUMA distances"
        )


def _read_node_limit(text: str) -> int:
    number = config.read_int(text)
    if number < FEWEST_NODES:
        raise ValueError(f"{number} is below the smallest allowed value, {FEWEST_NODES}")
    return number
