"""The conditions of a PodAllocation that are listed only while they are true. Pure."""

from podnuma.agent.desired.state import DesiredAllocation
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.status.node_status import lacking
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.decision import PodGrant
from podnuma.api.conditions import Condition, Status
from podnuma.api.pod_allocation_status import CONTENDED, NOT_ISOLATED, OUTSIDE_KUBEPODS, Phase

MEMORY_DEFERRED = "MemoryNodesDeferred"
"""Condition: a running container would have to move to other NUMA nodes; it does when it starts anew."""

CPUS_OFFLINE = "CPUsOffline"
"""Condition: some CPUs of the pod are switched off; its containers run on what is left, or share."""

ON_FOREIGN_CPUS = "OnForeignCPUs"
"""Condition: containers of the pod could not be taken off CPUs that others have for themselves."""

AFFINITY_NARROWED = "AffinityNarrowed"
"""Condition: processes of the pod may use fewer CPUs than their containers have."""

HELD = "HeldByProcesses"
"""Condition: the pod is gone from the API, its processes are not; until they are, its CPUs are theirs."""

RESIZE_PENDING = "ResizePending"
"""Condition: the pod was resized, and runs on what was decided for the resources it had before."""

CUT = 2000
"""Characters of a message."""


def conditions_of(
    desired: DesiredAllocation, grant: PodGrant, phase: Phase, snapshot: NodeSnapshot
) -> tuple[Condition, ...]:
    """Return what is to be said about an allocation in this phase, in the order in which it is shown."""
    generation = desired.generation
    return (
        *pending_resize(desired),
        *_deferred(snapshot, grant, generation),
        *_offline(snapshot, grant, generation),
        *_outside(snapshot, grant, generation),
        *_held(desired, grant, phase),
        *_contended(snapshot, grant, generation),
        *_isolation(snapshot, grant, generation),
        *_narrowed(snapshot, grant, generation),
    )


def pending_resize(desired: DesiredAllocation) -> list[Condition]:
    """Return the condition that says why a resize is not followed yet, if one is not."""
    pending = None if desired.allocation is None else desired.allocation.decision.pending_resize
    if pending is None:
        return []
    return [
        Condition(
            RESIZE_PENDING, Status.TRUE, pending.reason.value, pending.message[:CUT], desired.generation
        )
    ]


def _deferred(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    waiting = [
        f"{cgroup.name} ({nodeset.named(target.deferred_mems)})"
        for cgroup in snapshot.of_pod(grant.uid)
        if (target := snapshot.targets.get(cgroup)) is not None and target.deferred_mems is not None
    ]
    if not waiting:
        return []
    text = (
        f"cpuset.mems of {', '.join(waiting)} applies at restart: moving the memory of a running container"
        " would stall it"
    )
    return [Condition(MEMORY_DEFERRED, Status.TRUE, "ContainerRuns", text, generation)]


def _offline(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    offline = cpuset.CpuSet(grant.exclusive_cpus & ~snapshot.machine.topology.all_cpus)
    if not offline:
        return []
    text = (
        f"CPUs {cpuset.render(offline)} of {cpuset.render(grant.exclusive_cpus)} are offline; they are"
        " used again once they are online"
    )
    return [Condition(CPUS_OFFLINE, Status.TRUE, "Hotplug", text, generation)]


def _outside(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    machine = snapshot.machine
    nodes = 0
    for container in grant.containers:
        nodes |= container.memory_nodes or 0
    text = lacking(
        machine.kubepods,
        cpuset.CpuSet(grant.exclusive_cpus & machine.topology.outside),
        nodeset.NodeSet(nodes & machine.topology.outside_memory),
    )
    if not text:
        return []
    text += "; they stay allocated to the pod, which the kernel keeps off them until they are back"
    return [Condition(OUTSIDE_KUBEPODS, Status.TRUE, "NotInCgroup", text, generation)]


def _held(desired: DesiredAllocation, grant: PodGrant, phase: Phase) -> list[Condition]:
    if not desired.deleted or phase is Phase.RELEASED:
        return []
    text = (
        f"the pod is gone from the API, and its cgroup still has processes; CPUs"
        f" {cpuset.render(grant.exclusive_cpus) or 'none'} stay theirs until they have ended"
    )
    return [Condition(HELD, Status.TRUE, "ProcessesLeft", text, desired.generation)]


def _contended(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    pod = snapshot.pod(grant.uid)
    found = [
        f"{short_name(cgroup)}: {what}"
        for cgroup, what in sorted(snapshot.contended.items(), key=repr)
        if cgroup == pod or (isinstance(cgroup, ContainerCgroup) and cgroup.pod == pod)
    ]
    if not found:
        return []
    return [Condition(CONTENDED, Status.TRUE, "SomebodyElseWrites", "; ".join(found)[:CUT], generation)]


def _isolation(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    conditions = []
    if intruders := intruders_of(snapshot, grant):
        conditions.append(Condition(NOT_ISOLATED, Status.TRUE, "OthersOnItsCPUs", intruders, generation))
    intruding = "; ".join(
        f"{short_name(each.intruder)} may run on CPUs {cpuset.render(each.cpus)}, which are those of"
        f" {snapshot.describe(each.owner)}"
        for each in snapshot.intrusions
        if isinstance(each.intruder, ContainerCgroup) and each.intruder.pod.uid == grant.uid
    )[:CUT]
    if intruding:
        conditions.append(Condition(ON_FOREIGN_CPUS, Status.TRUE, "NotTakenOff", intruding, generation))
    return conditions


def _narrowed(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    text = "; ".join(
        f"{short_name(cgroup)}: {what}"
        for cgroup, what in sorted(snapshot.narrowed.items(), key=repr)
        if cgroup.pod.uid == grant.uid
    )[:CUT]
    return [Condition(AFFINITY_NARROWED, Status.TRUE, "BoundByItself", text, generation)] if text else []


def intruders_of(snapshot: NodeSnapshot, grant: PodGrant) -> str:
    """Say who is on the exclusive CPUs of a pod, and why; empty if nobody is."""
    found = [each for each in snapshot.intrusions if each.owner.pod.uid == grant.uid]
    return "; ".join(snapshot.explain(each, short_name(each.owner)) for each in found)[:CUT]


def short_name(cgroup: CgroupRef) -> str:
    """Name a cgroup within its pod."""
    return f"container {cgroup.name}" if isinstance(cgroup, ContainerCgroup) else "the pod's own cgroup"
