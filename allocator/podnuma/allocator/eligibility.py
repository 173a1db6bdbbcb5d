"""What each container, and the pod as a whole, requests exclusively.

Only Guaranteed pods request anything exclusively. In a pod with a budget of its own, a container
does for CPUs or memory when its own cpu and memory requests equal its limits (*guaranteed-like*); CPUs
only in whole numbers. All other containers share.

`ExclusiveRequests` are worked out once per decision: the exclusive CPU count and the memory map of every
container, in container order, and those of the pod.

Always true: a container with `cpus` above 0 in a pod with a budget also has a memory map;
a pod that is not Guaranteed requests nothing. In the kubelet: `guaranteedCPUs` and `podGuaranteedCPUs` of
cpumanager/policy_static.go, `getPodRequestedResources` of memorymanager/policy_static.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from podnuma.allocator.request import (
    CPU,
    MEMORY,
    Amounts,
    ContainerKind,
    ContainerRequest,
    PodRequest,
    Qos,
    aggregate,
    is_memory,
)

Bytes = Mapping[str, int]
NO_BYTES: Bytes = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ExclusiveRequests:
    """What one pod requests exclusively; tuples run in container order.

    `cpus` counts CPUs (0: none). `memory` maps resource to bytes (empty: none; None: an amount
    the kubelet cannot represent). `pod_cpus` and `pod_memory` are those of the pod as a whole.
    """

    pod: PodRequest
    guaranteed: bool
    cpus: tuple[int, ...]
    memory: tuple[Bytes | None, ...]
    pod_cpus: int
    pod_memory: Bytes | None


def exclusive_requests(pod: PodRequest, *, pod_level_managers: bool = True) -> ExclusiveRequests:
    """Return what a pod requests exclusively."""
    containers = pod.containers
    if qos(pod) is not Qos.GUARANTEED or (pod.pod_level and not pod_level_managers):
        count = len(containers)
        return ExclusiveRequests(pod, False, (0,) * count, (NO_BYTES,) * count, 0, NO_BYTES)
    if not pod.pod_level:
        cpus = tuple([_whole_cpus(container.requests) for container in containers])
        memory = tuple([_memory(container.requests) for container in containers])
        pod_cpus = aggregate(containers, cpus)
        return ExclusiveRequests(pod, True, cpus, memory, pod_cpus, _peak_memory(containers, memory))
    like = [container.requests if guaranteed_like(container) else None for container in containers]
    cpus = tuple([_whole_cpus(requests) if requests else 0 for requests in like])
    memory = tuple([_memory(requests) if requests else NO_BYTES for requests in like])
    budget = pod.pod_requests or {}
    pod_memory = _memory(budget)
    if pod_memory:
        pod_memory = {resource: size for resource, size in pod_memory.items() if size > 0}
    return ExclusiveRequests(pod, True, cpus, memory, _whole_cpus(budget), pod_memory)


def guaranteed_like(container: ContainerRequest) -> bool:
    """Say whether cpu and memory requests are both above zero and equal to the limits."""
    for resource in (CPU, MEMORY):
        request = container.requests.get(resource)
        if request is None or not request.nano or request != container.limits.get(resource):
            return False
    return True


def qos(pod: PodRequest) -> Qos:
    """Return the stored class, or compute it (1.1; a budget hides the containers' amounts)."""
    if pod.qos is not None:
        return pod.qos
    if pod.pod_level:
        requests = _positive(pod.pod_requests or {})
        limits = _positive(pod.pod_limits or {})
        return _class(requests, limits, limited=True)
    requests, limits, limited = {}, {}, True
    for container in pod.containers:
        for resource, nano in _positive(container.requests).items():
            requests[resource] = requests.get(resource, 0) + nano
        own = _positive(container.limits)
        for resource, nano in own.items():
            limits[resource] = limits.get(resource, 0) + nano
        limited = limited and len(own) == len((CPU, MEMORY))
    return _class(requests, limits, limited=limited)


def empty_cpu_pool(exclusive_requests: ExclusiveRequests) -> str | None:
    """Return the kubelet's words when containers would share CPUs of the budget and none are left."""
    used, needed, budget = 0, False, exclusive_requests.pod_cpus
    for container, count in zip(exclusive_requests.pod.containers, exclusive_requests.cpus, strict=True):
        if container.kind is ContainerKind.INIT:
            if count == 0 and used >= budget:
                return "pod rejected, pod has shared init containers but no cpus available for them"
        elif count == 0:
            needed = True
        else:
            used += count
    if needed and used >= budget:
        return (
            "pod rejected, sum of exclusive container cpu requests equals pod budget, "
            "leaving no cpus for shared containers"
        )
    return None


def empty_memory_pool(exclusive_requests: ExclusiveRequests) -> str | None:
    """Return the kubelet's words when containers would share memory of the budget and none is left.

    Every container needs memory, but huge pages only those that ask for them: an exclusive container may
    have them all.
    """
    budget = exclusive_requests.pod_memory or NO_BYTES
    used = dict.fromkeys(budget, 0)
    sharers: list[ContainerRequest] = []
    for container, sizes in zip(exclusive_requests.pod.containers, exclusive_requests.memory, strict=True):
        if container.kind is ContainerKind.INIT:
            if not sizes and (short := _missed(used, budget, [container])):
                return f"pod rejected, pod has shared init containers but no {short} available for them"
        elif not sizes:
            sharers.append(container)
        else:
            for resource, size in sizes.items():
                used[resource] = used.get(resource, 0) + size
    if short := _missed(used, budget, sharers):
        return (
            f"pod rejected, sum of exclusive container {short} requests equals pod budget, "
            "leaving no memory for shared containers"
        )
    return None


def _missed(used: Bytes, budget: Bytes, sharers: list[ContainerRequest]) -> str | None:
    """Return a resource of which nothing is left and that one of the sharing containers needs."""
    for resource, size in budget.items():
        if used[resource] >= size:
            for container in sharers:
                if resource == MEMORY or resource in container.requests:
                    return resource
    return None


def _whole_cpus(requests: Amounts) -> int:
    amount = requests.get(CPU)
    return amount.units if amount is not None and amount.integral else 0


def _memory(requests: Amounts) -> Bytes | None:
    sizes: dict[str, int] = {}
    for resource, amount in requests.items():
        if is_memory(resource):
            if not amount.representable:
                return None
            sizes[resource] = amount.units
    return sizes


def _peak_memory(containers: tuple[ContainerRequest, ...], memory: tuple[Bytes | None, ...]) -> Bytes | None:
    # The kubelet looks at the resources of app containers only and so forgets huge pages that
    # only an init container asks for (kubernetes/kubernetes#140814).
    known = [sizes for sizes in memory if sizes is not None]
    if len(known) < len(memory):
        return None
    resources = dict.fromkeys(resource for sizes in known for resource in sizes)
    return {
        resource: aggregate(containers, [sizes.get(resource, 0) for sizes in known]) for resource in resources
    }


def _positive(amounts: Amounts) -> dict[str, int]:
    return {
        resource: amounts[resource].nano
        for resource in (CPU, MEMORY)
        if resource in amounts and amounts[resource].nano
    }


def _class(requests: dict[str, int], limits: dict[str, int], *, limited: bool) -> Qos:
    if not requests and not limits:
        return Qos.BEST_EFFORT
    if limited and len(limits) == len((CPU, MEMORY)) and requests == limits:
        return Qos.GUARANTEED
    return Qos.BURSTABLE
