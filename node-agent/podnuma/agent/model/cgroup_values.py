"""What is in a cgroup, what should be in it, and one write to it.

In cgroup v2 `cpuset.cpus` is a request and `cpuset.cpus.effective` what the kernel made of it: own CPUs
within the parent's effective ones, or all of the parent's where nothing is left or nothing was written.
"""

from dataclasses import dataclass
from typing import NamedTuple

from podnuma.agent.model.cgroup_ref import CgroupRef
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet

_SECOND, _PERCENT = 1_000_000, 10_000  # microseconds: of a CPU, and a hundredth of that


@dataclass(frozen=True, slots=True)
class CpuMax:
    """cpu.max: at most `quota` microseconds in each `period`; None is no limit ("max")."""

    quota: int | None
    period: int


def has_quota(actual: CpuMax | None, wanted: CpuMax | None) -> bool:
    """Tell whether a cgroup has the quota that is wanted of it; any will do where none is wanted.

    Without a limit the period means nothing, and a kernel without quotas (no cpu.max) has no limit. Where
    systemd manages cgroups, runtimes and the kubelet round up to whole percents of a CPU, at every update.
    """
    if wanted is None or wanted == actual:
        return True
    if wanted.quota is None:
        return actual is None or actual.quota is None
    return actual == CpuMax(_in_percents(wanted.quota, wanted.period), wanted.period)


def _in_percents(quota: int, period: int) -> int:
    """Return what opencontainers/cgroups makes of a quota, in its steps: so the same is rounded off."""
    per_second = quota * _SECOND // period
    if per_second % _PERCENT == 0:
        return quota
    return (per_second // _PERCENT + 1) * _PERCENT * period // _SECOND


def narrower(one: CpuMax | None, other: CpuMax | None) -> CpuMax | None:
    """Return which of two quotas, of a cgroup and of one in it, is the one that is felt."""
    if one is None or one.quota is None:
        return one if other is None or other.quota is None else other
    if other is None or other.quota is None:
        return one
    return one if one.quota * other.period <= other.quota * one.period else other


@dataclass(frozen=True, slots=True)
class CgroupValues:
    """What was read from a cgroup. None: nothing written, or no such file.

    `main_process` is the first process of a container. `resident`, in bytes, is read only where it decides
    something (`plan.targets.would_move`).
    """

    cpus: CpuSet | None
    mems: NodeSet | None = None
    cpu_max: CpuMax | None = None
    effective_cpus: CpuSet | None = None
    effective_mems: NodeSet | None = None
    main_process: int | None = None
    resident: int = 0


@dataclass(frozen=True, slots=True)
class KubepodsCpuset:
    """What the cgroup of all pods has, in a folder below the cgroup root; None: it does not tell."""

    folder: str
    cpus: CpuSet | None
    memory_nodes: NodeSet | None


@dataclass(frozen=True, slots=True)
class Available:
    """What the kernel lets cgroups of pods have: `cpus`, and the NUMA nodes but for `memoryless` ones."""

    cpus: CpuSet
    memoryless: NodeSet = nodeset.EMPTY


@dataclass(frozen=True, slots=True)
class CgroupTarget:
    """What a cgroup should have. None: leave it as it is. `cpus` is never the empty set."""

    cpus: CpuSet | None = None
    mems: NodeSet | None = None
    cpu_max: CpuMax | None = None
    deferred_mems: NodeSet | None = None  # to be set when the container starts the next time
    memory_limit: int | None = None  # bytes; given at the start only, where the kubelet gave none
    unavailable: CpuSet | None = None  # its own CPUs, all of them offline: `cpus` is what it has meanwhile
    lacking_mems: NodeSet | None = None  # its own memory nodes that the machine does not have, none of `mems`


class CgroupWrite(NamedTuple):
    """One write to a cgroup, all fields at once. `gains` and `losses`: CPUs that it gets and gives up."""

    cgroup: CgroupRef
    cpus: CpuSet | None = None
    mems: NodeSet | None = None
    cpu_max: CpuMax | None = None
    gains: CpuSet = cpuset.EMPTY
    losses: CpuSet = cpuset.EMPTY
