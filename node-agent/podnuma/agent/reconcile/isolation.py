"""Finds who is on CPUs that a container holds exclusively. Pure.

A container that has its values runs alone on its CPUs only if everybody else has theirs: where another cgroup
could not be taken off them, both run there. What counts is what the kernel has in force, not what was
written. A pod's own cgroup counts only where no container below it was seen.

A cgroup without processes is on no CPU: kubelets and runtimes leave some behind, of which systemd knows no
unit (kubernetes/kubernetes#112151).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet


@dataclass(frozen=True, slots=True)
class Intrusion:
    """`intruder` may run on `cpus`, which are not its own: `owner` has them for itself."""

    owner: ContainerCgroup
    intruder: CgroupRef
    cpus: CpuSet


def find_intrusions(
    targets: Mapping[CgroupRef, CgroupTarget],
    seen: Mapping[CgroupRef, CgroupValues],
    holders: Collection[str],
    pool: CpuSet,
) -> tuple[Intrusion, ...]:
    """Return who is where, in a stable order. `holders`: UIDs of the pods that hold something."""
    excess = _excess(targets, seen, holders, pool)
    if not excess:
        return ()
    found = []
    for owner in sorted(seen, key=repr):
        if not isinstance(owner, ContainerCgroup) or owner.pod.uid not in holders:
            continue
        own = CpuSet((_cpus(targets, owner) or cpuset.EMPTY) & ~pool)
        for intruder, cpus in excess.items():
            both = CpuSet(own & cpus)
            if both and intruder != owner:
                found.append(Intrusion(owner, intruder, both))
    return tuple(found)


def inhabited(
    intrusions: tuple[Intrusion, ...], populated: Callable[[CgroupRef], bool | None]
) -> tuple[Intrusion, ...]:
    """Leave out those by cgroups without processes; those of a container may be elsewhere in its pod."""
    there = tuple(each for each in intrusions if populated(_pod_or_slice(each.intruder)) is not False)
    return intrusions if len(there) == len(intrusions) else there


def _pod_or_slice(cgroup: CgroupRef) -> CgroupRef:
    return cgroup.pod if isinstance(cgroup, ContainerCgroup) else cgroup


def _excess(
    targets: Mapping[CgroupRef, CgroupTarget],
    seen: Mapping[CgroupRef, CgroupValues],
    holders: Collection[str],
    pool: CpuSet,
) -> dict[CgroupRef, CpuSet]:
    """Return the CPUs that cgroups have in force and should not have. Nearly always there are none."""
    filled = {cgroup.pod for cgroup in seen if isinstance(cgroup, ContainerCgroup)}
    excess = {}
    for cgroup in seen:
        if isinstance(cgroup, PodCgroup) and (cgroup.uid in holders or cgroup in filled):
            continue
        if isinstance(cgroup, QosCgroup) and cgroup not in targets:
            continue  # the pool and the CPUs of its holders are all there are
        allowed = _cpus(targets, cgroup) or pool
        beyond = CpuSet((seen[cgroup].effective_cpus or cpuset.EMPTY) & ~allowed)
        if beyond:
            excess[cgroup] = beyond
    return dict(sorted(excess.items(), key=repr)) if len(excess) > 1 else excess


def _cpus(targets: Mapping[CgroupRef, CgroupTarget], cgroup: CgroupRef) -> CpuSet | None:
    target = targets.get(cgroup)
    return None if target is None else target.cpus
