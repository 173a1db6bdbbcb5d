"""The settings of a node's managers: policies, options, reservations, as KubeletConfiguration names them.

Settings are plain values. `check` finds everything that is wrong with them on a given machine
at once; an empty answer means that a NodeAllocator can be made. `cpu_options` and `topology_options`
read the option texts; on settings that passed `check` they never fail.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.quantities import Quantity

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?=[^\d]|$)")


class CpuManagerPolicy(Enum):
    """Whether containers can get CPUs of their own."""

    NONE = "none"
    STATIC = "static"


class KubeletRelease(Enum):
    """The kubelet whose CPUs a decision takes, where releases differ on purpose.

    v1.38 deals threads out core by core with distribute-cpus-across-cores, fills whole caches before parts
    of others with prefer-align-cpus-by-uncorecache, and distributes slices, too, over as many NUMA nodes as
    the pod was given. V1_37 stands for it and everything older.
    """

    V1_37 = "1.37"
    V1_38 = "1.38"

    @staticmethod
    def of(version: str) -> "KubeletRelease":
        """Return the release for a kubelet's own version ("v1.37.2"). Raises ValueError for other texts."""
        found = _VERSION.match(version)
        if found is None:
            raise ValueError(f"{version[:40]!r} is not a version of a kubelet")
        return KubeletRelease.V1_38 if (int(found[1]), int(found[2])) >= (1, 38) else KubeletRelease.V1_37


class IsolatedCpuPolicy(Enum):
    """What happens to CPUs that the kernel was told to isolate; none of them is ever in the shared pool."""

    UNUSED = "Unused"
    EXCLUSIVE = "Exclusive"


class MemoryOnlyNodePolicy(Enum):
    """Whether pods are given memory of NUMA nodes without CPUs: persistent memory, memory of accelerators."""

    UNUSED = "Unused"
    ALLOCATABLE = "Allocatable"


class MemoryManagerPolicy(Enum):
    """Whether containers get memory on chosen NUMA nodes."""

    NONE = "None"
    STATIC = "Static"


class TopologyManagerPolicy(Enum):
    """How strictly CPUs and memory have to come from the same NUMA nodes."""

    NONE = "none"
    BEST_EFFORT = "best-effort"
    RESTRICTED = "restricted"
    SINGLE_NUMA_NODE = "single-numa-node"


class TopologyManagerScope(Enum):
    """Whether one node set is chosen per container or per pod."""

    CONTAINER = "container"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class ReservedMemory:
    """Memory of one NUMA node kept for the system; bytes by resource name."""

    node: int
    limits: Mapping[str, int]


NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """Everything that is configured about one node.

    `reserved_system_cpus` is a list of CPUs; without one, `reserved_cpu` CPUs (rounded up) are
    picked. `expected_reservation`, where known, is what kube-reserved, system-reserved and the
    eviction threshold add up to, bytes by resource: reserved_memory must agree with it.
    `cfs_quota_period` is in microseconds. Without `pod_level_managers` pods with a budget of
    their own get nothing, as in a kubelet whose gate PodLevelResourceManagers is off.
    `isolated_cpu_policy` is podnuma's own: the kubelet does not know of isolated CPUs.
    `memory_only_node_policy` is podnuma's own: the kubelet gives memory of any NUMA node to any pod.
    `exclusive_core_kind` is podnuma's own, too: the kind of cores that CPUs are given exclusively from,
    empty for all kinds.
    `kubelet_release` chooses between releases that pick other CPUs under the same options.
    """

    cpu_manager_policy: CpuManagerPolicy = CpuManagerPolicy.NONE
    cpu_manager_policy_options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    reserved_system_cpus: CpuSet | None = None
    reserved_cpu: Quantity | None = None
    memory_manager_policy: MemoryManagerPolicy = MemoryManagerPolicy.NONE
    reserved_memory: tuple[ReservedMemory, ...] = ()
    expected_reservation: Mapping[str, int] | None = None
    topology_manager_policy: TopologyManagerPolicy = TopologyManagerPolicy.NONE
    topology_manager_scope: TopologyManagerScope = TopologyManagerScope.CONTAINER
    topology_manager_policy_options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    cfs_quota: bool = True
    cfs_quota_period: int = 100_000
    pod_level_managers: bool = True
    isolated_cpu_policy: IsolatedCpuPolicy = IsolatedCpuPolicy.UNUSED
    memory_only_node_policy: MemoryOnlyNodePolicy = MemoryOnlyNodePolicy.UNUSED
    exclusive_core_kind: str = ""
    kubelet_release: KubeletRelease = KubeletRelease.V1_38


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """The CPU manager's policy options, read."""

    full_pcpus_only: bool = False
    distribute_cpus_across_numa: bool = False
    align_by_socket: bool = False
    distribute_cpus_across_cores: bool = False
    strict_cpu_reservation: bool = False
    prefer_align_cpus_by_uncorecache: bool = False


@dataclass(frozen=True, slots=True)
class TopologyOptions:
    """The topology manager's policy options, read."""

    prefer_closest_numa_nodes: bool = False
    max_allowable_numa_nodes: int = 8


_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def read_bool(text: str) -> bool:
    """Read a boolean option. Raises ValueError for anything but the twelve accepted spellings."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{text[:40]!r} is neither true nor false")


def read_int(text: str) -> int:
    """Read an integer option. Raises ValueError for anything but a short decimal number."""
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:  # noqa: PLR2004 - bounded before int()
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(text)


def cpu_options(settings: ManagerSettings) -> CpuOptions:
    """Return the CPU options. Raises ValueError for a bad value; unknown names are ignored here."""
    given = settings.cpu_manager_policy_options
    if settings.cpu_manager_policy is CpuManagerPolicy.NONE:
        return CpuOptions()
    return CpuOptions(
        **{name.replace("-", "_"): read_bool(given[name]) for name in CPU_OPTION_NAMES if name in given}
    )


def topology_options(settings: ManagerSettings) -> TopologyOptions:
    """Return the topology options. Raises ValueError for a bad value; unknown names are ignored here."""
    given = settings.topology_manager_policy_options
    if settings.topology_manager_policy is TopologyManagerPolicy.NONE:
        return TopologyOptions()
    return TopologyOptions(
        prefer_closest_numa_nodes=read_bool(given.get(PREFER_CLOSEST, "false")),
        max_allowable_numa_nodes=read_int(given.get(MAX_NODES, "8")),
    )


CPU_OPTION_NAMES = tuple(name.replace("_", "-") for name in CpuOptions.__dataclass_fields__)
PREFER_CLOSEST = "prefer-closest-numa-nodes"
MAX_NODES = "max-allowable-numa-nodes"
