"""Serve a pod with a budget of its own as a whole: one bubble, then its slices and its pool.

One node set is chosen for the budget. The CPU side takes its bubble there and cuts it; then
the memory side does the same. The first failure refuses the pod. The pod's numbers size the
bubble, not the sum of its containers. Specification: sections 5.6, 6.
"""

from podnuma.allocator import cpuset, refusal
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.cpu.pick import check_smt, near, take_aligned
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
    rules: Rules, default: int, tables: NumaMemoryMap, claims: ExclusiveRequests, trial: AdmissionAttempt
) -> None:
    """Fill the trial with a bubble and its parts. Raises Refusal.

    `default` is the node's default CPU set.
    """
    wishes = pod_wishes(rules, default, tables, claims)
    hint = rules.merger.merge(wishes.cpu, wishes.memory, impossible=wishes.impossible)
    if hint is None:
        raise refusal.no_locality(pod_level=True, pod_scope=True)
    for container in claims.pod.containers:
        trial.hints[container.name] = hint
    if rules.static_cpu and claims.pod_cpus:
        trial.serving = ("cpu", "pod")
        _place_cpus(rules, default, claims, hint, trial)
    if rules.static_memory and claims.pod_memory:
        trial.serving = ("memory", "pod")
        _place_memory(tables, claims, hint, trial)
    trial.serving = None


def pod_wishes(rules: Rules, default: int, tables: NumaMemoryMap, claims: ExclusiveRequests) -> ProvidedHints:
    """Return what the two sides wish for the budget."""
    cpu_wish = memory_wish = None
    impossible = False
    if rules.static_cpu and claims.pod_cpus:
        if empty_cpu_pool(claims):
            impossible = True
        else:
            free = _usable(rules, default & ~rules.reserved, claims)
            cpu_wish = CpuHints(rules.topology, rules.options, free, 0, claims.pod_cpus)
    if rules.static_memory and claims.pod_memory:
        if empty_memory_pool(claims):
            impossible = True
        else:
            memory_wish = MemoryHints(tables, claims.pod_memory, {})
    return ProvidedHints(cpu_wish, memory_wish, impossible)


def _place_cpus(
    rules: Rules, default: int, claims: ExclusiveRequests, hint: TopologyHint, trial: AdmissionAttempt
) -> None:
    problem = empty_cpu_pool(claims)
    if problem:
        raise refusal.empty_pool(problem)
    count = claims.pod_cpus
    check_smt(rules.options, count, rules.topology.per_core, default & ~rules.reserved_cores)
    close = near(rules.topology, rules.options, hint.nodes)
    free = default & ~rules.reserved
    isolated = rules.isolated_in_use
    pool = 0
    if isolated and (shared := count - _lasting(claims)) > 0:
        # The kernel balances no load on isolated CPUs: what is shared comes from the others.
        pool = take_aligned(rules.pick, rules.pick_near, free & ~isolated, close, shared)
        count -= shared
    bubble = pool
    if count:
        bubble |= take_aligned(rules.pick, rules.pick_near, free & ~pool, close, count)

    def pick(available: int, wanted: int) -> int:
        apart = available & ~pool
        return rules.pick(apart if wanted <= apart.bit_count() else available, wanted)

    cut = cut_cpus(claims, bubble, pick)
    trial.bubble_cpus = bubble
    for share, own, cpus in zip(trial.shares, claims.cpus, cut, strict=True):
        share.cpus = cpus if own else cpus & ~isolated or cpus
        share.cpu_assignment = AssignmentType.POD_EXCLUSIVE if own else AssignmentType.POD_SHARED


def _usable(rules: Rules, free: int, claims: ExclusiveRequests) -> int:
    """Return the free CPUs less the isolated ones that no NUMA node can use for this pod: what is shared."""
    isolated = free & rules.isolated_in_use
    if not isolated:
        return free
    exclusive = _lasting(claims)
    for _, mask in rules.topology.numa:
        isolated &= ~cpuset.lowest(isolated & mask, exclusive)
    return free & ~isolated


def _lasting(claims: ExclusiveRequests) -> int:
    """Return how many CPUs the containers that stay hold exclusively."""
    containers = zip(claims.cpus, claims.pod.containers, strict=True)
    return sum(own for own, container in containers if container.kind is not ContainerKind.INIT)


def _place_memory(
    tables: NumaMemoryMap, claims: ExclusiveRequests, hint: TopologyHint, trial: AdmissionAttempt
) -> None:
    problem = empty_memory_pool(claims)
    if problem:
        raise refusal.empty_pool(problem)
    budget = claims.pod_memory or {}
    nodes = resolve(tables, budget, hint, {})
    cut = cut_memory(claims, budget, nodes)
    trial.bubble_memory = blocks(nodes, budget)
    for share, own, memory in zip(trial.shares, claims.memory, cut, strict=True):
        share.memory = memory
        share.memory_assignment = AssignmentType.POD_EXCLUSIVE if own else AssignmentType.POD_SHARED
