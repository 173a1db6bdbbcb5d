"""Compares the values of cgroups with their targets. Pure.

What counts is what the kernel has in force for the processes of a cgroup, never the memory of a write:
containerd, for one, only logs updates that failed when they were piggybacked on a hook's answer.
"""

from collections.abc import Mapping

from podnuma.agent.cgroups import files
from podnuma.agent.model.cgroup_ref import CgroupRef
from podnuma.agent.model.cgroup_values import (
    Available,
    CgroupTarget,
    CgroupValues,
    CgroupWrite,
    CpuMax,
    has_quota,
)
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet


def compare(
    targets: Mapping[CgroupRef, CgroupTarget], seen: Mapping[CgroupRef, CgroupValues], available: Available
) -> dict[CgroupRef, str | None]:
    """Return what differs, for every cgroup that exists and has a target; None where nothing does."""
    return {
        cgroup: _difference(target, seen[cgroup], available)
        for cgroup, target in targets.items()
        if cgroup in seen
    }


def unwritten(write: CgroupWrite, values: CgroupValues) -> str | None:
    """Return what of a write is not in the cgroup's files although it was written; None if all is."""
    if write.cpus is not None and values.cpus != write.cpus:
        return _text("cpuset.cpus", cpuset.render(write.cpus), _cpus(values.cpus))
    if write.cpu_max is not None and not has_quota(values.cpu_max, write.cpu_max):
        return _cpu_max_text(write.cpu_max, values.cpu_max)
    return None


def _difference(target: CgroupTarget, values: CgroupValues, available: Available) -> str | None:
    if target.cpus is not None:
        reachable = CpuSet(target.cpus & available.cpus)
        if not reachable:
            return _all_offline(target.cpus)
        if values.effective_cpus != reachable:
            return _text("cpuset.cpus.effective", cpuset.render(reachable), _cpus(values.effective_cpus))
        if values.cpus != target.cpus:
            return _text("cpuset.cpus", cpuset.render(target.cpus), _cpus(values.cpus))
    if target.mems is not None and values.effective_mems != target.mems:
        with_memory = NodeSet(target.mems & ~available.memoryless)
        if not with_memory:
            return f"cpuset.mems: no memory of {nodeset.render(target.mems)} is there, or kubepods lacks it"
        if values.effective_mems != with_memory:
            return _text(
                "cpuset.mems.effective",
                nodeset.render(with_memory),
                nodeset.render(values.effective_mems or 0),
            )
    if target.cpu_max is not None and not has_quota(values.cpu_max, target.cpu_max):
        return _cpu_max_text(target.cpu_max, values.cpu_max)
    if target.lacking_mems is not None:
        lacking = nodeset.named(target.lacking_mems)
        return f"cpuset.mems: this machine has no {lacking} any more; delete the pod, to have it decided anew"
    return None if target.unavailable is None else _all_offline(target.unavailable)


def _all_offline(cpus: CpuSet) -> str:
    return f"cpuset.cpus: all of {cpuset.render(cpus)} are offline, or kubepods lacks them"


def _cpu_max_text(wanted: CpuMax, actual: CpuMax | None) -> str:
    shown = "nothing" if actual is None else files.render_cpu_max(actual)
    return _text("cpu.max", files.render_cpu_max(wanted), shown)


def _cpus(value: CpuSet | None) -> str:
    return cpuset.render(value or cpuset.EMPTY)


def _text(file: str, wanted: str, actual: str) -> str:
    return f"{file} is {actual or 'empty'}, wanted {wanted}"
