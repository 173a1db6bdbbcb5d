"""What is in force for pods whose PodAllocation could not be read since this process started. Pure.

An agent that was restarted, perhaps as another version, may find a decision that it cannot read and that an
earlier agent applied. The kernel still has it: such a pod keeps what is written in its cgroups, and everybody
else stays off its CPUs, until the PodAllocation can be read.

What a pod holds is in its sets and not in the sets of both QoS slices, whose common part is the shared pool
that was in force. Where a slice has no set of its own nothing was ever held on the node.
"""

from collections.abc import Collection, Mapping

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, CpuMax
from podnuma.allocator import cpuset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import ContainerGrant, Isolation, PodGrant
from podnuma.allocator.manager_settings import TopologyManagerScope
from podnuma.allocator.request import ContainerKind, Qos

_NO_QUOTA = -1
_PERIOD = 100_000


def grants_in_force(
    pods: Collection[tuple[PodCgroup, str, str]], seen: Mapping[CgroupRef, CgroupValues]
) -> tuple[PodGrant, ...]:
    """Return what these pods (cgroup, namespace, name) hold by the values seen of them, if they hold any."""
    slices = [seen.get(QosCgroup(qos)) for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT)]
    pool = None
    for values in slices:
        if values is None or values.cpus is None:
            return ()
        pool = values.cpus if pool is None else CpuSet(pool & values.cpus)
    found = (_grant(pod, namespace, name, seen, CpuSet(pool or 0)) for pod, namespace, name in pods)
    return tuple(grant for grant in found if grant.exclusive_cpus)


def _grant(
    pod: PodCgroup, namespace: str, name: str, seen: Mapping[CgroupRef, CgroupValues], pool: CpuSet
) -> PodGrant:
    containers = tuple(
        _container(cgroup.name, values, pool)
        for cgroup, values in seen.items()
        if isinstance(cgroup, ContainerCgroup) and cgroup.pod == pod
    )
    whole = seen.get(pod)
    held = _beyond(whole.cpus if whole is not None else None, pool) or cpuset.EMPTY
    for container in containers:
        held = CpuSet(held | (container.cpus or 0))
    quota, _ = _quota(whole.cpu_max if whole is not None else None)
    return PodGrant(
        uid=pod.uid,
        namespace=namespace,
        name=name,
        scope=TopologyManagerScope.CONTAINER,
        pod_level=True,
        cpus=held,
        memory=(),
        containers=containers,
        pod_quota=quota,
        pod_shares=0,
    )


def _container(name: str, values: CgroupValues, pool: CpuSet) -> ContainerGrant:
    cpus = values.cpus if _beyond(values.cpus, pool) else None
    quota, period = _quota(values.cpu_max)
    assignment = AssignmentType.NODE_SHARED if cpus is None else AssignmentType.POD_EXCLUSIVE
    return ContainerGrant(
        name=name,
        kind=ContainerKind.APP,
        cpu_assignment=assignment,
        memory_assignment=AssignmentType.NODE_SHARED,
        isolation=Isolation.HOST if cpus is None else Isolation.CONTAINER,
        cpus=cpus,
        memory_nodes=None,
        memory=(),
        cpu_quota=quota,
        cpu_period=period,
        memory_limit=None,
        cpu_shares=0,
    )


def _beyond(cpus: CpuSet | None, pool: CpuSet) -> CpuSet | None:
    return None if cpus is None else CpuSet(cpus & ~pool)


def _quota(limit: CpuMax | None) -> tuple[int, int]:
    if limit is None:
        return _NO_QUOTA, _PERIOD
    return _NO_QUOTA if limit.quota is None else limit.quota, limit.period
