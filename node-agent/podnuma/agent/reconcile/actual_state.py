"""The actual state of a node: which pods and containers are there, and what their cgroups have.

Reads through a CgroupReader and writes nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.agent.reconcile.unread import grants_in_force
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.request import Qos


def pods_to_read(reader: CgroupReader, holders: Collection[str]) -> dict[str, PodCgroup]:
    """Return the pods that have to be read, by UID. `holders`: UIDs of the pods with grants.

    Those of a QoS slice follow it, unless one of them holds CPUs, or did: see `plan.targets`.
    """
    pods = {pod.uid: pod for pod in reader.pods(Qos.GUARANTEED)}
    for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
        below = reader.pods(qos)
        holds = any(pod.uid in holders for pod in below)
        pods |= {pod.uid: pod for pod in below if holds or reader.has_own_cpus(pod)}
    return pods


def cgroups_of(
    containers: Sequence[Container], pods: Mapping[str, PodCgroup]
) -> dict[ContainerCgroup, Container]:
    """Return the containers of these pods by their cgroups."""
    return {
        ContainerCgroup(pods[found.pod_uid], found.name, found.id): found
        for found in containers
        if found.pod_uid in pods
    }


async def read_values(
    reader: CgroupReader,
    pods: Iterable[PodCgroup],
    containers: Iterable[ContainerCgroup],
    slices: TimeSlices,
    before: Mapping[CgroupRef, CgroupValues] | None,
) -> Mapping[CgroupRef, CgroupValues]:
    """Return the values of the QoS slices, and of these pods and containers.

    Where all is as `before`, that very mapping is returned: later comparisons need not look at values.
    """
    seen = {}
    for cgroup, values in reader.read_each(pods, containers):
        seen[cgroup] = values
        await slices.between()
    return seen if before is None or before != seen else before


def weighed(
    reader: CgroupReader, moving: Iterable[CgroupRef], seen: Mapping[CgroupRef, CgroupValues]
) -> Mapping[CgroupRef, CgroupValues]:
    """Add how much memory those have that would move to other NUMA nodes."""
    resident = {cgroup: replace(seen[cgroup], resident=reader.resident(cgroup)) for cgroup in moving}
    return {**seen, **resident} if resident else seen


def unread_grants(
    reader: CgroupReader, desired: DesiredState, containers: Sequence[Container]
) -> tuple[PodGrant, ...]:
    """Return what is in force for pods whose PodAllocation could not be read yet."""
    keys = {each.key for each in desired.allocations() if each.allocation is None}
    if not keys:
        return ()
    theirs = [found for found in containers if (found.namespace, found.pod_name) in keys]
    if not theirs:
        return ()
    cgroups = cgroups_of(theirs, {pod.uid: pod for qos in Qos for pod in reader.pods(qos)})
    named = {(cgroup.pod, found.namespace, found.pod_name) for cgroup, found in cgroups.items()}
    return grants_in_force(named, reader.read({pod for pod, *_ in named}, cgroups))


def runs_there(reader: CgroupReader, grant: PodGrant, containers: Iterable[Container]) -> bool:
    """Tell whether the kernel has, for a container of a pod, the CPUs that the grant gives to it."""
    own = {each.name: each.cpus for each in grant.containers if each.cpus is not None}
    pods = [pod for qos in Qos for pod in reader.pods(qos) if pod.uid == grant.uid]
    found = (
        (each.name, reader.container(ContainerCgroup(pod, each.name, each.id)))
        for pod in pods
        for each in containers
        if each.pod_uid == grant.uid and each.name in own
    )
    return any(values is not None and values.cpus == own[name] for name, values in found)


def ended_pods(reader: CgroupReader, desired: DesiredState) -> frozenset[str]:
    """Return the pods whose allocation is being deleted and that have no process left, by UID."""
    uids = {each.pod_uid for each in desired.allocations() if each.deleted and each.pod_uid}
    there = {
        pod.uid
        for qos in (Qos if uids else ())
        for pod in reader.pods(qos)
        if pod.uid in uids and reader.populated(pod) is not False
    }
    return frozenset(uids - there)
