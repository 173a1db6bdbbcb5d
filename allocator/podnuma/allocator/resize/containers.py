"""CPUs and memory of single containers after a resize, where each has its own from the node.

What a container keeps it keeps in place. What one gives up another of the pod can have, and so it can the
CPUs of those that never run at the same time: an init container has ended before anything behind it starts.
A container grows on its own NUMA nodes; in scope "pod" on those of the whole pod.

Always true: containers that can run at the same time have no CPU in common.
"""

from podnuma.allocator import refusal
from podnuma.allocator.attempt import AdmissionAttempt, ContainerAssignment
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.pick import check_smt
from podnuma.allocator.decision import MemoryBlock, PodGrant
from podnuma.allocator.device_hints import DeviceHints, container_hints, pod_device_hints
from podnuma.allocator.eligibility import Bytes, ExclusiveRequests
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.resize.growth import more_cpus
from podnuma.allocator.resize.memory import check_room, first_memory, sizes_of, without
from podnuma.allocator.reuse import ReusableResources, shrink
from podnuma.allocator.rules import Rules


def resize_container_cpus(
    rules: Rules, free: int, requests: ExclusiveRequests, held: PodGrant, attempt: AdmissionAttempt
) -> None:
    """Fill in the CPUs of every container. Raises Refusal. `free` as for `bubble.resize_bubble`."""
    kept = []
    for container, count in zip(held.containers, requests.cpus, strict=True):
        own = container.cpus or 0 if container.cpu_assignment is AssignmentType.NODE_EXCLUSIVE else 0
        kept.append(own if own.bit_count() <= count else rules.picker.take(own, count))
    free |= held.exclusive_cpus & rules.managed_cpus & ~rules.withheld
    for cpus in kept:
        free &= ~cpus
    for place, count in enumerate(requests.cpus):
        if not count:
            continue
        idle = _idle(requests, kept, place) & rules.managed_cpus & ~rules.withheld
        had = held.containers[place].cpus
        if had is None or had.bit_count() != count:
            mine = (free | kept[place] | idle) & ~rules.withheld_cores
            check_smt(rules.options, count, rules.topology.per_core, mine)
        missing = count - kept[place].bit_count()
        if missing:
            near = held.exclusive_cpus if rules.pod_scope else kept[place]
            nodes = held.memory_nodes if rules.pod_scope else held.containers[place].memory_nodes or 0
            # What the pod has already is taken first.
            here = idle & rules.topology.cpus_on(rules.topology.nodes_of(near) | nodes)
            again = rules.picker.take(here, min(missing, here.bit_count()))
            kept[place] |= again
            if missing := missing - again.bit_count():
                room, devices = free | idle & ~again, _devices(rules, requests, place)
                got = more_cpus(rules, room, near | again, nodes, missing, devices)
                kept[place] |= got
                free &= ~got
        attempt.assignments[place].cpus = kept[place]
        attempt.assignments[place].cpu_assignment = AssignmentType.NODE_EXCLUSIVE


def _devices(rules: Rules, requests: ExclusiveRequests, place: int) -> tuple[DeviceHints, ...]:
    """Return the hints of a container's devices, or of the pod's where that is placed as a whole."""
    if rules.pod_scope:
        return pod_device_hints(rules.topology, requests.pod)
    return container_hints(rules.topology, requests.pod.containers[place])


def _idle(requests: ExclusiveRequests, kept: list[int], place: int) -> int:
    """Return the CPUs of the pod's other containers that nobody has who can run beside the one at `place`.

    Of two containers the earlier one has ended when the other starts, if it is an init container.
    """
    idle = taken = 0
    for other, cpus in enumerate(kept):
        earlier = requests.pod.containers[min(place, other)]
        if other != place and earlier.kind is ContainerKind.INIT:
            idle |= cpus
        else:
            taken |= cpus
    return idle & ~taken


def resize_container_memory(
    rules: Rules,
    tables: NumaMemoryMap,
    requests: ExclusiveRequests,
    held: PodGrant,
    attempt: AdmissionAttempt,
) -> None:
    """Fill in the memory of every container. Raises Refusal. `tables` are with what the pod holds now."""
    places = _memory_nodes(rules, tables.copy(), requests, held, attempt)
    left = without(tables, held)
    kept = _kept_sizes(requests, held)
    reusable = ReusableResources()
    inits: list[ContainerAssignment] = []
    for place, container in enumerate(requests.pod.containers):
        assignment, nodes = attempt.assignments[place], places.get(place)
        if nodes is not None:
            sizes = requests.memory[place] or {}
            needed = {
                resource: max(0, size - reusable.memory.get((nodes, resource), 0))
                for resource, size in sizes.items()
            }
            check_room(left, nodes, needed, kept[place])
            blocks = tuple([MemoryBlock(resource, nodes, size) for resource, size in sizes.items()])
            for resource, size in needed.items():
                left.charge(nodes, resource, size)
            reusable.note_memory(container.kind, blocks)
            assignment.memory = blocks
            assignment.memory_assignment = AssignmentType.NODE_EXCLUSIVE
            shrink(inits, blocks)
        if container.kind is ContainerKind.INIT:
            inits.append(assignment)


def _kept_sizes(requests: ExclusiveRequests, held: PodGrant) -> list[Bytes]:
    """Return what each container has of the resources of which no container of the pod gets more."""
    had = [sizes_of(container.memory) for container in held.containers]
    pairs = list(zip(requests.memory, had, strict=True))
    grows = {
        resource
        for sizes, own in pairs
        for resource, size in (sizes or {}).items()
        if size > own.get(resource, 0)
    }
    return [{resource: size for resource, size in own.items() if resource not in grows} for own in had]


def _memory_nodes(
    rules: Rules,
    tables: NumaMemoryMap,
    requests: ExclusiveRequests,
    held: PodGrant,
    attempt: AdmissionAttempt,
) -> dict[int, NodeSet]:
    """Return the NUMA nodes of the containers that get memory: those they have, or the first ones."""
    found = {}
    for place, sizes in enumerate(requests.memory):
        if sizes is None:
            raise refusal.memory("failed to represent quantity as int64")
        if sizes:
            nodes = held.containers[place].memory_nodes
            if nodes is None:
                nodes = first_memory(rules, tables, sizes, attempt.assignments[place].cpus or 0)
                for resource, size in sizes.items():
                    tables.charge(nodes, resource, size)
            found[place] = nodes
    return found
