"""Looks at what the main processes of containers may run on. Reads only.

A cgroup limits its processes and does not say what they use of it: an affinity may leave a process fewer CPUs
than its cgroup has, and a process that was moved there late may still be elsewhere.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet


def allowed_cpus(pid: int) -> CpuSet | None:
    """Return the CPUs that the kernel lets a process use; None if it is gone."""
    try:
        return cpuset.of(os.sched_getaffinity(pid))
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Processes:
    """Judges main processes of containers by the CPUs that `allowed` says of each."""

    allowed: Callable[[int], CpuSet | None] = allowed_cpus

    def stray(self, pid: int, cpus: CpuSet) -> str | None:
        """Return what a process may run on beyond `cpus`; None if nothing."""
        may = self.allowed(pid)
        if may is None or not may & ~cpus:
            return None
        return f"CPU affinity of process {pid} is {cpuset.render(may)}, wanted {cpuset.render(cpus)}"

    def narrowed(self, pid: int, effective: CpuSet) -> str | None:
        """Return what a process leaves of the CPUs of its cgroup; None if it may use all of them.

        No write to a cgroup changes that: the kernel keeps what a process asked for, or what started it.
        """
        may = self.allowed(pid)
        if may is None or not effective & ~may:
            return None
        return f"process {pid} may run on {cpuset.render(may)} only, of {cpuset.render(effective)}"

    async def strays(
        self,
        cgroups: Iterable[ContainerCgroup],
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        slices: TimeSlices,
    ) -> dict[CgroupRef, str]:
        """Return what main processes may run on beyond the targets of their containers."""
        found: dict[CgroupRef, str] = {}
        for cgroup, pid, cpus, _ in _with_process(cgroups, targets, seen):
            if (what := self.stray(pid, cpus)) is not None:
                found[cgroup] = what
            await slices.between()
        return found

    async def narrowed_in(
        self,
        cgroups: Iterable[ContainerCgroup],
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        slices: TimeSlices,
    ) -> dict[ContainerCgroup, str]:
        """Return what main processes of containers with a target for CPUs leave unused, on purpose or not."""
        found: dict[ContainerCgroup, str] = {}
        for cgroup, pid, _, effective in _with_process(cgroups, targets, seen):
            if effective is None:
                continue
            if (what := self.narrowed(pid, effective)) is not None:
                found[cgroup] = what
            await slices.between()
        return found


def _with_process(
    cgroups: Iterable[ContainerCgroup],
    targets: Mapping[CgroupRef, CgroupTarget],
    seen: Mapping[CgroupRef, CgroupValues],
) -> Iterator[tuple[ContainerCgroup, int, CpuSet, CpuSet | None]]:
    """Yield the containers with a target for CPUs and a main process, with PID, target and effective CPUs."""
    for cgroup in cgroups:
        target, values = targets.get(cgroup), seen.get(cgroup)
        if target is None or target.cpus is None or values is None or values.main_process is None:
            continue
        yield cgroup, values.main_process, target.cpus, values.effective_cpus
