"""What the cgroups of a pod and of its containers get: isolation level, quota, shares, limits.

A container with CPUs of its own has no CPU quota. A container without own limits in a pod
with a budget is limited by the budget. The pod's own cgroup keeps its quota as soon as one
container of a pod with a budget shares; in a pod without a budget one exclusive container is
enough to lift it. Overhead enters the pod's values only.

Quotas are microseconds per period, -1 for none. Shares are the kubelet's cpu_shares.
In the kubelet: helpers_linux.go, `ResourceConfigForPod`.
"""

from podnuma.allocator.attempt import AdmissionAttempt, ContainerAssignment
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import MAX_DEVICES, ContainerGrant, GrantedDevice, Isolation, PodGrant
from podnuma.allocator.eligibility import qos
from podnuma.allocator.manager_settings import ManagerSettings
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.quantities import Quantity
from podnuma.allocator.refusal import nothing_left_for_others
from podnuma.allocator.request import CPU, MEMORY, Amounts, ContainerRequest, PodRequest, Qos, aggregate
from podnuma.allocator.rules import Rules

NO_QUOTA = -1
LEAST_SHARES = 2
MOST_SHARES = 262_144
LEAST_QUOTA = 1000

_LEVELS = {
    AssignmentType.NODE_SHARED: Isolation.HOST,
    AssignmentType.POD_SHARED: Isolation.POD,
    AssignmentType.POD_EXCLUSIVE: Isolation.CONTAINER,
    AssignmentType.NODE_EXCLUSIVE: Isolation.CONTAINER,
}


def shares(milli: int) -> int:
    """Return cpu_shares for millicores."""
    return min(max(milli * 1024 // 1000, LEAST_SHARES), MOST_SHARES)


def quota(milli: int, period: int) -> int:
    """Return the quota for millicores, -1 for 0 (no limit)."""
    return max(milli * period // 1000, LEAST_QUOTA) if milli else NO_QUOTA


def pod_grant(rules: Rules, pod: PodRequest, attempt: AdmissionAttempt) -> PodGrant:
    """Return what the attempt assigned, with every value the pod's cgroups get."""
    containers = tuple(
        [
            _container_grant(rules.settings, pod, container, assignment)
            for container, assignment in zip(pod.containers, attempt.assignments, strict=True)
        ]
    )
    request, limit = _pod_milli(pod, pod.pod_requests, "requests"), _pod_milli(pod, pod.pod_limits, "limits")
    overhead = pod.overhead.get(CPU)
    if overhead is not None:
        request += overhead.milli
        limit += overhead.milli if limit else 0
    return PodGrant(
        pod.uid,
        pod.namespace,
        pod.name,
        rules.scope,
        attempt.bubble_cpus is not None or bool(attempt.bubble_memory),
        None if attempt.bubble_cpus is None else CpuSet(attempt.bubble_cpus),
        attempt.bubble_memory,
        containers,
        _pod_quota(rules.settings, pod, containers, limit),
        shares(request),
    )


def _container_grant(
    settings: ManagerSettings, pod: PodRequest, container: ContainerRequest, assignment: ContainerAssignment
) -> ContainerGrant:
    level = _LEVELS[assignment.cpu_assignment]
    request = container.requests.get(CPU)
    limit = _limit(pod, container, CPU)
    nodes = 0
    for block in assignment.memory or ():
        nodes |= block.nodes
    if level is Isolation.CONTAINER or not settings.cfs_quota:
        own_quota = NO_QUOTA
    else:
        own_quota = quota(limit.milli, settings.cfs_quota_period) if limit else NO_QUOTA
    memory_limit = _limit(pod, container, MEMORY)
    weighed = limit if request is None else request
    return ContainerGrant(
        container.name,
        container.kind,
        assignment.cpu_assignment,
        assignment.memory_assignment,
        level,
        None if assignment.cpus is None else CpuSet(assignment.cpus),
        NodeSet(nodes) if nodes else None,
        assignment.memory or (),
        own_quota,
        settings.cfs_quota_period,
        memory_limit.units if memory_limit else None,
        shares(weighed.milli if weighed else 0),
        _devices(container) if container.devices else (),
    )


def _devices(container: ContainerRequest) -> tuple[GrantedDevice, ...]:
    found = [
        GrantedDevice(request.resource, device.name, device.nodes)
        for request in container.devices
        if request.fixed
        for device in request.available
    ]
    return tuple(found[:MAX_DEVICES])


def _limit(pod: PodRequest, container: ContainerRequest, resource: str) -> Quantity | None:
    own = container.limits.get(resource)
    if own is not None and own.nano:
        return own
    whole = pod.pod_limits.get(resource) if pod.pod_level and pod.pod_limits else None
    return whole if whole is not None and whole.nano else None


def _pod_milli(pod: PodRequest, budget: Amounts | None, side: str) -> int:
    if pod.pod_level and budget and CPU in budget:
        return budget[CPU].milli
    nanos = []
    for container in pod.containers:
        amount = getattr(container, side).get(CPU)
        nanos.append(amount.nano if amount else 0)
    return -(-aggregate(pod.containers, nanos) // 10**6)


def _pod_quota(
    settings: ManagerSettings, pod: PodRequest, containers: tuple[ContainerGrant, ...], limit: int
) -> int:
    alone = [container.isolation is Isolation.CONTAINER for container in containers]
    exclusive = all(alone) if pod.pod_level else any(alone)
    if exclusive or not settings.cfs_quota:
        return NO_QUOTA
    limited = all(_limit(pod, container, CPU) for container in pod.containers)
    declared = limited or qos(pod) is Qos.GUARANTEED
    return quota(limit, settings.cfs_quota_period) if declared else NO_QUOTA


def leave_some_for_others(rules: Rules, default: int, grant: PodGrant) -> None:
    """Raise Refusal if a grant leaves no CPU for everybody else: those reserved may be out of their reach."""
    sharable = default & ~rules.isolated_in_use
    own = grant.exclusive_cpus
    shares_reserved = rules.reserved & rules.managed_cpus
    if own and not shares_reserved and not sharable & ~own:
        raise nothing_left_for_others(
            own.bit_count(), sharable.bit_count(), strict=rules.options.strict_cpu_reservation
        )
