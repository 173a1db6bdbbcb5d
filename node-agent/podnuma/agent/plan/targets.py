"""What every cgroup of the node should have.

    who                                           cpuset.cpus                     cpu.max       cpuset.mems
    Burstable and BestEffort slice                shared pool
      with holders                                and the CPUs of its holders
    Guaranteed pod that holds nothing             shared pool
    other pod of a slice with holders             shared pool
    pod that holds something                      its CPUs and the shared pool    its quota
      sandboxed, each container with CPUs         its CPUs
      container of the grant                      its CPUs, else the shared pool  its quota     its nodes
      any other container (a debug container)     shared pool
        in a sandboxed pod                        as its pod
      whoever has no CPU of its own online        shared pool
      whoever has nodes that there are not                                                      the others
    pod that held something and was resized       shared pool                     its quota
      container that had a set of its own         shared pool                     its quota

A burstable holder is a pod that holds CPUs by a budget in an annotation: the kubelet does not know of it and
puts the pod's cgroup into one of the two slices. A slice with holders is wider than the shared pool, so every
other pod in it gets a set of its own, and keeps one that follows the pool when the last holder is gone.

So an ephemeral container can run where the kubelet would let it, and nothing of a pod can touch the
exclusive CPUs of another; not even when its own are all offline, with which the kernel would give it all that
the cgroup above has. The sandbox container is left alone, as in the kubelet; where all processes of a pod are
in it, as with Kata and gVisor, the pod's own cgroup keeps them on the pod's CPUs.

A machine may have fewer NUMA nodes than when a pod was decided (another setting of its firmware, a virtual
machine of another size). The kernel refuses a set of memory nodes with one that it does not know, and with it
a runtime the container and every later update. So such nodes are left out, and the status names them.

There is no target where the whole node is shared and nothing was ever written: a node without exclusive
CPUs looks as if podnuma were not there. A value once written is only ever replaced by an explicit set:
to a runtime the empty set means "no change".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CpuMax
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import ContainerGrant, PodGrant
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Qos

_DEFAULT_PERIOD = 100_000


@dataclass(frozen=True, slots=True)
class PlanInput:
    """What a plan needs to know of the node.

    `everything`: the online CPUs; `pool`: the shared pool, never empty; `grants` by pod UID, and in `sharing`
    those that hold nothing. `sandboxed`: UIDs of pods whose containers' own cgroups have no processes.
    `movable_bytes`: a running container with more memory than this is not moved to other NUMA nodes. The
    kernel moves all its pages at once, and the container stands still meanwhile. `known_nodes`: the NUMA
    nodes that the kernel knows.
    """

    everything: CpuSet
    pool: CpuSet
    grants: Mapping[str, PodGrant]
    movable_bytes: int
    known_nodes: NodeSet
    sharing: Mapping[str, PodGrant] = field(default_factory=dict)
    sandboxed: Collection[str] = ()


def compute_targets(node: PlanInput, seen: Mapping[CgroupRef, CgroupValues]) -> dict[CgroupRef, CgroupTarget]:
    """Return the targets for all cgroups seen, and for the two QoS slices.

    Of a slice with holders all pods must be among those seen.
    """
    targets: dict[CgroupRef, CgroupTarget] = {}
    node = replace(node, sharing=_resized(node, seen))
    holders = _burstable_holders(node, seen)
    for cgroup in (QosCgroup(Qos.BURSTABLE), QosCgroup(Qos.BEST_EFFORT), *seen):
        target = _target(node, cgroup, seen.get(cgroup), holders)
        if target is not None:
            targets[cgroup] = target
    return targets


def would_move(grants: Mapping[str, PodGrant], seen: Mapping[CgroupRef, CgroupValues]) -> list[CgroupRef]:
    """Return the containers whose memory nodes would change: of these it has to be known how much that is."""
    found: list[CgroupRef] = []
    for cgroup, values in seen.items():
        if isinstance(cgroup, ContainerCgroup) and (pod := grants.get(cgroup.pod.uid)) is not None:
            grant = _of(pod, cgroup.name)
            nodes = None if grant is None else grant.memory_nodes
            if nodes is not None and _would_move(nodes, values):
                found.append(cgroup)
    return found


def start_target(node: PlanInput, cgroup: ContainerCgroup) -> CgroupTarget | None:
    """Return what a container that does not exist yet should start with; None if podnuma has no say."""
    target = _container(node, cgroup, None)
    pod = node.grants.get(cgroup.pod.uid)
    grant = None if pod is None else _of(pod, cgroup.name)
    if target is None or grant is None or grant.memory_limit is None:
        return target
    return replace(target, memory_limit=grant.memory_limit)


def _resized(node: PlanInput, seen: Mapping[CgroupRef, CgroupValues]) -> dict[str, PodGrant]:
    """Return the pods that hold nothing any more: an earlier grant left a set in one of their containers.

    A pod that never held anything has the quotas of its kubelet, and nobody else's.
    """
    return {
        cgroup.pod.uid: node.sharing[cgroup.pod.uid]
        for cgroup, values in seen.items()
        if isinstance(cgroup, ContainerCgroup)
        and values.cpus is not None
        and cgroup.pod.uid in node.sharing
        and cgroup.pod.uid not in node.grants
    }


def _burstable_holders(node: PlanInput, seen: Mapping[CgroupRef, CgroupValues]) -> dict[Qos, CpuSet]:
    """Return the CPUs that pods within the two slices hold; a slice without holders is not named."""
    holders: dict[Qos, CpuSet] = {}
    for cgroup in seen:
        if isinstance(cgroup, PodCgroup) and cgroup.qos is not Qos.GUARANTEED and cgroup.uid in node.grants:
            own = node.grants[cgroup.uid].exclusive_cpus
            holders[cgroup.qos] = CpuSet(holders.get(cgroup.qos, cpuset.EMPTY) | own)
    return holders


def _target(
    node: PlanInput, cgroup: CgroupRef, values: CgroupValues | None, holders: Mapping[Qos, CpuSet]
) -> CgroupTarget | None:
    match cgroup:
        case QosCgroup(qos=qos):
            cpus = _unless_untouched(node, CpuSet(node.pool | holders.get(qos, cpuset.EMPTY)), values)
            return None if cpus is None else CgroupTarget(cpus)
        case PodCgroup():
            return _pod(node, cgroup, values, holders)
        case ContainerCgroup():
            return _container(node, cgroup, values)


def _pod(
    node: PlanInput, cgroup: PodCgroup, values: CgroupValues | None, holders: Mapping[Qos, CpuSet]
) -> CgroupTarget | None:
    grant = node.grants.get(cgroup.uid)
    if grant is None:
        confined_above = cgroup.qos is not Qos.GUARANTEED and cgroup.qos not in holders
        untouched = values is None or values.cpus is None
        former = node.sharing.get(cgroup.uid)
        if former is None:
            return None if confined_above and untouched else _confined(node, node.pool, values)
        cpus = None if confined_above and untouched else _unless_untouched(node, node.pool, values)
        return CgroupTarget(cpus, cpu_max=_pod_cpu_max(former))
    cpus, unavailable = _cpus_of_pod(node, grant)
    return CgroupTarget(
        _unless_untouched(node, cpus, values), cpu_max=_pod_cpu_max(grant), unavailable=unavailable
    )


def _cpus_of_pod(node: PlanInput, grant: PodGrant) -> tuple[CpuSet, CpuSet | None]:
    """Return what the cgroup of a pod should have, and what it cannot have."""
    alone = grant.uid in node.sandboxed and all(each.cpus is not None for each in grant.containers)
    if alone and grant.exclusive_cpus:
        return _available(node, grant.exclusive_cpus)
    return CpuSet(grant.exclusive_cpus | node.pool), None


def _available(node: PlanInput, own: CpuSet) -> tuple[CpuSet, CpuSet | None]:
    """Return the CPUs that somebody has, and None; or the shared pool, and those that are all offline."""
    return (own, None) if own & node.everything else (node.pool, own)


def _pod_cpu_max(grant: PodGrant) -> CpuMax:
    # The period is one kubelet setting for the whole node: any container's will do.
    period = grant.containers[0].cpu_period if grant.containers else _DEFAULT_PERIOD
    return _cpu_max(grant.pod_quota, period)


def _container(node: PlanInput, cgroup: ContainerCgroup, values: CgroupValues | None) -> CgroupTarget | None:
    pod = node.grants.get(cgroup.pod.uid)
    if pod is None:
        # Only where an earlier grant left a set behind: the pod's own cgroup confines the rest.
        if values is None or values.cpus is None:
            return None
        former = _of(node.sharing[cgroup.pod.uid], cgroup.name) if cgroup.pod.uid in node.sharing else None
        cpu_max = None if former is None else _cpu_max(former.cpu_quota, former.cpu_period)
        return CgroupTarget(_unless_untouched(node, node.pool, values), cpu_max=cpu_max)
    grant = _of(pod, cgroup.name)
    if grant is None:
        # A set in a container of a sandbox confines nobody: it runs where its pod does.
        around = _cpus_of_pod(node, pod)[0] if pod.uid in node.sandboxed else node.pool
        return _confined(node, around, values)
    nodes = grant.memory_nodes
    lacking = None if nodes is None else NodeSet(nodes & ~node.known_nodes) or None
    if nodes is not None:
        nodes = NodeSet(nodes & node.known_nodes) or None
    mems, deferred = _mems(node, nodes, values)
    own, unavailable = (None, None) if grant.cpus is None else _available(node, grant.cpus)
    return CgroupTarget(
        cpus=_unless_untouched(node, node.pool, values) if own is None else own,
        mems=mems,
        cpu_max=_cpu_max(grant.cpu_quota, grant.cpu_period),
        deferred_mems=deferred,
        unavailable=unavailable,
        lacking_mems=lacking,
    )


def _of(pod: PodGrant, name: str) -> ContainerGrant | None:
    for container in pod.containers:
        if container.name == name:
            return container
    return None


def _confined(node: PlanInput, cpus: CpuSet, values: CgroupValues | None) -> CgroupTarget | None:
    wanted = _unless_untouched(node, cpus, values)
    return None if wanted is None else CgroupTarget(wanted)


def _unless_untouched(node: PlanInput, cpus: CpuSet, values: CgroupValues | None) -> CpuSet | None:
    untouched = values is None or values.cpus is None
    return None if untouched and not node.everything & ~cpus else cpus


def _mems(
    node: PlanInput, nodes: NodeSet | None, values: CgroupValues | None
) -> tuple[NodeSet | None, NodeSet | None]:
    if nodes is None or values is None or not _would_move(nodes, values):
        return nodes, None
    return (nodes, None) if values.resident <= node.movable_bytes else (None, nodes)


def _would_move(nodes: NodeSet, values: CgroupValues) -> bool:
    stays = values.effective_mems is not None and not values.effective_mems & ~nodes
    return values.mems != nodes and not stays


def _cpu_max(quota: int, period: int) -> CpuMax:
    return CpuMax(quota if quota > 0 else None, period)
