"""One resize: what the pod holds and what it asks for now give a new grant, or a refusal and why.

A refusal changes nothing: the pod keeps what it has. Settings decide as for an admission; what was given
under others, container by container instead of as a whole, cannot be resized.

Always true: the request that a grant was decided for gives the same grant again; the new grant has no CPU of
another pod, and leaves at least one to the shared pool.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from podnuma.allocator import isolation
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.device_hints import with_granted_devices
from podnuma.allocator.eligibility import ExclusiveRequests, exclusive_requests
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.refusal import unexpected_resize
from podnuma.allocator.request import PodRequest
from podnuma.allocator.resize.bubble import resize_bubble
from podnuma.allocator.resize.containers import resize_container_cpus, resize_container_memory
from podnuma.allocator.resize.memory import resize_bubble_memory
from podnuma.allocator.rules import Rules


@dataclass(frozen=True, slots=True)
class ResizeRefused:
    """The pod keeps what it has. `feasible`: it would get more if the node's other pods had gone."""

    message: str
    feasible: bool = True


def resized_grant(
    rules: Rules, default: int, tables: NumaMemoryMap, held: PodGrant, pod: PodRequest
) -> PodGrant:
    """Return what a pod holds after a resize. Raises Refusal.

    `default` is the node's default CPU set and `tables` its memory, both with what the pod holds now.
    """
    pod = with_granted_devices(pod, held)
    wanted = exclusive_requests(pod, pod_level_managers=rules.settings.pod_level_managers)
    for problem in _changed(rules, held, pod):
        raise unexpected_resize(problem)
    attempt = AdmissionAttempt(len(pod.containers))
    free = default & ~rules.withheld
    if rules.pod_scope and pod.pod_level:
        _resize_whole(rules, free, tables, wanted, held, attempt)
    else:
        if rules.static_cpu:
            resize_container_cpus(rules, free, wanted, held, attempt)
        if rules.static_memory and wanted.guaranteed:
            resize_container_memory(rules, tables, wanted, held, attempt)
    grant = _with_devices(isolation.pod_grant(rules, pod, attempt), held)
    isolation.leave_some_for_others(rules, default | held.exclusive_cpus & rules.managed_cpus, grant)
    return grant


def _with_devices(grant: PodGrant, held: PodGrant) -> PodGrant:
    """Return the grant with the devices that the containers have; claims of a running pod do not change."""
    if not held.devices:
        return grant
    pairs = zip(grant.containers, held.containers, strict=True)
    return replace(grant, containers=tuple([replace(one, devices=had.devices) for one, had in pairs]))


def _resize_whole(
    rules: Rules,
    free: int,
    tables: NumaMemoryMap,
    wanted: ExclusiveRequests,
    held: PodGrant,
    attempt: AdmissionAttempt,
) -> None:
    if rules.static_cpu and wanted.pod_cpus:
        resize_bubble(rules, free, wanted, held, attempt)
    if rules.static_memory and wanted.pod_memory:
        resize_bubble_memory(rules, tables, wanted, held, attempt)


def _changed(rules: Rules, held: PodGrant, pod: PodRequest) -> Iterator[str]:
    """Yield why what a pod holds is nothing that the node's settings could have given it."""
    again = "delete the pod, so that its controller makes a new one"
    if [one.name for one in held.containers] != [one.name for one in pod.containers]:
        yield f"its containers are others than those it was decided for; {again}"
    if held.scope is not rules.scope:
        yield f"it was decided under another topologyManagerScope or policy than the node has now; {again}"
    elif held.pod_level and not pod.pod_level:
        yield f"it holds CPUs and memory as a whole, and has no pod-level resources any more; {again}"
    elif rules.pod_scope and pod.pod_level and not held.pod_level:
        yield (
            "its containers hold CPUs and memory one by one, since it had no pod-level resources when it was "
            f"decided; {again}"
        )
    if held.exclusive_cpus and not rules.static_cpu:
        yield f"it holds CPUs, and cpuManagerPolicy is none now; {again}"
    if held.charged and not rules.static_memory:
        yield f"it holds memory, and memoryManagerPolicy is None now; {again}"
