"""The memory of a budget after a resize: on the NUMA nodes it is on, as long as the budget has memory.

A running container's memory is not moved, so that more of it must be free on the very same nodes. Less of it
is accounted at once: that the kernel has it back is up to the containers.
"""

from collections.abc import Iterable

from podnuma.allocator import nodeset, refusal
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import MemoryBlock, PodGrant
from podnuma.allocator.eligibility import NO_BYTES, Bytes, ExclusiveRequests, empty_memory_pool
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.memory.resolve import resolve
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.partition import blocks, cut_memory
from podnuma.allocator.quantities import format_bytes
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology_hint import NO_HINT, TopologyHint

_STRICT = (TopologyManagerPolicy.RESTRICTED, TopologyManagerPolicy.SINGLE_NUMA_NODE)


def resize_bubble_memory(
    rules: Rules,
    tables: NumaMemoryMap,
    requests: ExclusiveRequests,
    held: PodGrant,
    attempt: AdmissionAttempt,
) -> None:
    """Fill in the memory of a pod with a budget. Raises Refusal. `tables` are with what the pod holds now."""
    problem = empty_memory_pool(requests)
    if problem:
        raise refusal.empty_pool(problem)
    budget = requests.pod_memory or {}
    if held.memory:
        nodes = held.memory[0].nodes
        check_room(without(tables, held), nodes, budget, sizes_of(held.memory))
    else:
        nodes = first_memory(rules, tables, budget, attempt.bubble_cpus or 0)
    cut = cut_memory(requests, budget, nodes)
    attempt.bubble_memory = blocks(nodes, budget)
    for assignment, own, memory in zip(attempt.assignments, requests.memory, cut, strict=True):
        assignment.memory = memory
        assignment.memory_assignment = AssignmentType.POD_EXCLUSIVE if own else AssignmentType.POD_SHARED


def without(tables: NumaMemoryMap, held: PodGrant) -> NumaMemoryMap:
    """Return memory tables as they would be without what a pod holds."""
    left = tables.copy()
    for block in held.charged:
        left.give_back(block.nodes, block.resource, block.size)
    return left


def sizes_of(blocks: Iterable[MemoryBlock]) -> Bytes:
    """Return what blocks hold, by resource."""
    return {block.resource: block.size for block in blocks}


def check_room(tables: NumaMemoryMap, nodes: NodeSet, sizes: Bytes, had: Bytes = NO_BYTES) -> None:
    """Raise Refusal unless a set of NUMA nodes has these amounts free.

    What the pod `had` there it keeps, also where there is less by now than is held.
    """
    for resource, size in sizes.items():
        free = max(tables.free_on(nodes, resource), 0)
        if size > max(free, had.get(resource, 0)):
            where = "NUMA nodes" if nodes & (nodes - 1) else "NUMA node"
            raise refusal.unexpected_resize(
                f"needs {format_bytes(size)} of {resource} on {where} {nodeset.render(nodes)}, where "
                f"{format_bytes(free)} can be had; memory that is in use is not moved"
            )


def first_memory(rules: Rules, tables: NumaMemoryMap, sizes: Bytes, cpus: int) -> NodeSet:
    """Return the nodes for memory that a holder had none of before, near its CPUs. Raises Refusal."""
    near = rules.topology.nodes_of(cpus)
    hint = TopologyHint(near, preferred=False) if near and rules.aligned else NO_HINT
    nodes = resolve(tables, sizes, hint, {})
    if near and nodes != near and rules.settings.topology_manager_policy in _STRICT:
        check_room(tables, near, sizes)
        raise refusal.unexpected_resize(
            f"the memory of {nodeset.named(near)}, where its CPUs are, serves other pods "
            "together with that of other nodes"
        )
    return nodes
