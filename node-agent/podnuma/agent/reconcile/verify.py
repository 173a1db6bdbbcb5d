"""Compares what the kernel has with the targets. Reads only; repairs nothing.

Two looks: the effective values of the cgroup in which the processes live, and what the kernel says the
container's main process may run on. Never the memory of a write: containerd, for one, only logs updates
that failed when they rode on a hook's answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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

_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*([0-9,-]{1,32768})$", re.MULTILINE)


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


@dataclass(frozen=True, slots=True)
class Processes:
    """Looks at processes below `proc_root`, as the host numbers them."""

    proc_root: Path

    def stray(self, folder: Path, allowed: CpuSet) -> str | None:
        """Return what the main process in a cgroup may run on beyond `allowed`; None if nothing."""
        main = self._main(folder)
        if main is None or not main[1] & ~allowed:
            return None
        pid, cpus = main
        return _text(f"Cpus_allowed_list of process {pid}", cpuset.render(allowed), cpuset.render(cpus))

    def narrowed(self, folder: Path, effective: CpuSet) -> str | None:
        """Return what the main process leaves of the CPUs of its cgroup; None if it may use all of them.

        No write to a cgroup changes that: the kernel keeps what a process asked for, or what started it.
        """
        main = self._main(folder)
        if main is None or not effective & ~main[1]:
            return None
        return f"process {main[0]} may run on {cpuset.render(main[1])} only, of {cpuset.render(effective)}"

    def _main(self, folder: Path) -> tuple[str, CpuSet] | None:
        """Return the main process in a cgroup and the CPUs that the kernel lets it use."""
        for leaf in (f"{folder}/container", str(folder)):
            pid = (files.content(f"{leaf}/{files.PROCESSES}") or "").split("\n", 1)[0]
            if not pid.isdecimal() or pid == "0":
                continue
            match = _ALLOWED.search(files.content(f"{self.proc_root}/{pid}/status") or "")
            try:
                return None if match is None else (pid, cpuset.parse(match[1]))
            except ValueError:
                return None
        return None
