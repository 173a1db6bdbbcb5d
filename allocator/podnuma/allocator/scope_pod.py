"""Serve a pod with a budget of its own as a whole: one bubble, then its slices and its pool.

One node set is chosen for the budget. The CPU side takes its bubble there and cuts it; then
the memory side does the same. The first failure refuses the pod. The pod's numbers size the
bubble, not the sum of its containers. In the kubelet: topologymanager/scope_pod.go, and
`AllocatePod` of both managers.
"""

from podnuma.allocator import cpuset, device_hints, refusal
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.cpu.pick import check_smt, near
from podnuma.allocator.eligibility import ExclusiveRequests, empty_cpu_pool, empty_memory_pool
from podnuma.allocator.memory.hints import MemoryHints
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.memory.resolve import resolve
from podnuma.allocator.merge import ProvidedHints
from podnuma.allocator.partition import blocks, cut_cpus, cut_memory
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology_hint import TopologyHint


def place_pod(
    rules: Rules, default: int, tables: NumaMemoryMap, requests: ExclusiveRequests, attempt: AdmissionAttempt
) -> None:
    """Fill the attempt with a bubble and its parts. Raises Refusal.

    `default` is the node's default CPU set.
    """
    provided = pod_hints(rules, default, tables, requests)
    hint = rules.merger.merge(
        provided.cpu, provided.memory, impossible=provided.impossible, devices=provided.devices
    )
    if hint is None:
        raise refusal.no_locality(pod_level=True, pod_scope=True)
    for container in requests.pod.containers:
        attempt.hints[container.name] = hint
    if rules.static_cpu and requests.pod_cpus:
        attempt.serving = ("cpu", "pod")
        _place_cpus(rules, default, requests, hint, attempt)
    if rules.static_memory and requests.pod_memory:
        attempt.serving = ("memory", "pod")
        _place_memory(tables, requests, hint, attempt)
    attempt.serving = None


def pod_hints(
    rules: Rules, default: int, tables: NumaMemoryMap, requests: ExclusiveRequests
) -> ProvidedHints:
    """Return the hints for the budget: of CPUs, memory and devices."""
    cpu_hints = memory_hints = None
    impossible = False
    if rules.static_cpu and requests.pod_cpus:
        if empty_cpu_pool(requests):
            impossible = True
        else:
            free = _usable(rules, default & ~rules.withheld, requests)
            cpu_hints = CpuHints(rules.topology, rules.options, free, 0, requests.pod_cpus)
    if rules.static_memory and requests.pod_memory:
        if empty_memory_pool(requests):
            impossible = True
        else:
            memory_hints = MemoryHints(tables, requests.pod_memory, {})
    devices = device_hints.pod_device_hints(rules.topology, requests.pod)
    return ProvidedHints(cpu_hints, memory_hints, impossible, devices)


def _place_cpus(
    rules: Rules, default: int, requests: ExclusiveRequests, hint: TopologyHint, attempt: AdmissionAttempt
) -> None:
    problem = empty_cpu_pool(requests)
    if problem:
        raise refusal.empty_pool(problem)
    count = requests.pod_cpus
    check_smt(rules.options, count, rules.topology.per_core, default & ~rules.withheld_cores)
    close = near(rules.topology, rules.options, hint.nodes)
    nodes = hint.node_count
    free = default & ~rules.withheld
    isolated = rules.isolated_in_use
    pool = 0
    if isolated and (shared := count - _lasting(requests)) > 0:
        # The kernel balances no load on isolated CPUs: what is shared comes from the others.
        pool = rules.picker.take_aligned(free & ~isolated, close, shared, nodes)
        count -= shared
    bubble = pool
    if count:
        bubble |= rules.picker.take_aligned(free & ~pool, close, count, nodes)

    def pick(available: int, wanted: int) -> int:
        apart = available & ~pool
        return rules.picker.take(apart if wanted <= apart.bit_count() else available, wanted, nodes)

    cut = cut_cpus(requests, bubble, pick)
    attempt.bubble_cpus = bubble
    for assignment, own, cpus in zip(attempt.assignments, requests.cpus, cut, strict=True):
        assignment.cpus = cpus if own else cpus & ~isolated or cpus
        assignment.cpu_assignment = AssignmentType.POD_EXCLUSIVE if own else AssignmentType.POD_SHARED


def _usable(rules: Rules, free: int, requests: ExclusiveRequests) -> int:
    """Return the free CPUs less the isolated ones that no NUMA node can use for this pod: what is shared."""
    isolated = free & rules.isolated_in_use
    if not isolated:
        return free
    exclusive = _lasting(requests)
    for _, mask in rules.topology.numa:
        isolated &= ~cpuset.lowest(isolated & mask, exclusive)
    return free & ~isolated


def _lasting(requests: ExclusiveRequests) -> int:
    """Return how many CPUs the containers that stay hold exclusively."""
    containers = zip(requests.cpus, requests.pod.containers, strict=True)
    return sum(own for own, container in containers if container.kind is not ContainerKind.INIT)


def _place_memory(
    tables: NumaMemoryMap, requests: ExclusiveRequests, hint: TopologyHint, attempt: AdmissionAttempt
) -> None:
    problem = empty_memory_pool(requests)
    if problem:
        raise refusal.empty_pool(problem)
    budget = requests.pod_memory or {}
    nodes = resolve(tables, budget, hint, {})
    cut = cut_memory(requests, budget, nodes)
    attempt.bubble_memory = blocks(nodes, budget)
    for assignment, own, memory in zip(attempt.assignments, requests.memory, cut, strict=True):
        assignment.memory = memory
        assignment.memory_assignment = AssignmentType.POD_EXCLUSIVE if own else AssignmentType.POD_SHARED
