"""Serve the containers of a pod one after the other from the node, each with CPUs and memory of its own.

This is the way of scope "container", of pods without a budget in scope "pod" (one merged hint
for all their containers), and of topology policy none (no hint at all). What one container
took is gone for the next; what an ended init container had can be used again.

The first failure refuses the pod. Nothing but the trial's own copies is changed.
Specification: sections 3.5, 4.6, 5.5 to 5.7.
"""

from podnuma.allocator import refusal
from podnuma.allocator.attempt import AdmissionAttempt, ContainerAssignment
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.cpu.pick import check_smt, near, take_aligned
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.eligibility import Bytes, ExclusiveRequests
from podnuma.allocator.memory.hints import MemoryHints
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.memory.resolve import resolve
from podnuma.allocator.merge import ProvidedHints
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.reuse import ReusableResources, shrink
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology_hint import NO_HINT, TopologyHint


class ContainerScopeAttempt:
    """The node as it would be after the containers served so far."""

    def __init__(self, rules: Rules, default: int, tables: NumaMemoryMap, claims: ExclusiveRequests) -> None:
        self.rules = rules
        self.default = default
        self.tables = tables.copy() if rules.static_memory and claims.guaranteed else tables
        self.claims = claims
        self.left = ReusableResources()

    def hint(self, cpus: int, memory: Bytes | None) -> TopologyHint:
        """Merge the wishes of a container or of a whole pod. Raises Refusal."""
        wishes = self.wishes(cpus, memory)
        merged = self.rules.merger.merge(wishes.cpu, wishes.memory, impossible=wishes.impossible)
        if merged is None:
            raise refusal.no_locality(pod_level=self.claims.pod.pod_level, pod_scope=False)
        return merged

    def wishes(self, cpus: int, memory: Bytes | None) -> ProvidedHints:
        """Return what the two sides wish for a container or for a whole pod."""
        rules = self.rules
        cpu_wish = memory_wish = None
        if cpus and rules.static_cpu:
            free = self.default & ~rules.reserved
            cpu_wish = CpuHints(rules.topology, rules.options, free, self.left.cpus, cpus)
        if memory and rules.static_memory:
            memory_wish = MemoryHints(self.tables, memory, self.left.memory)
        return ProvidedHints(cpu_wish, memory_wish, impossible=False)

    def serve(self, place: int, hint: TopologyHint, trial: AdmissionAttempt) -> None:
        """Give the container at `place` its CPUs and memory. Raises Refusal."""
        kind = self.claims.pod.containers[place].kind
        share = trial.shares[place]
        count = self.claims.cpus[place]
        if count and self.rules.static_cpu:
            trial.serving = ("cpu", "node")
            share.cpus = self._cpus(count, hint, kind)
            share.cpu_assignment = AssignmentType.NODE_EXCLUSIVE
        trial.serving = None
        sizes = self.claims.memory[place]
        if self.rules.static_memory and sizes is None:
            raise refusal.memory("failed to represent quantity as int64")
        if sizes and self.rules.static_memory:
            trial.serving = ("memory", "node")
            self._memory(place, sizes, hint, trial)
            share.memory_assignment = AssignmentType.NODE_EXCLUSIVE
        trial.serving = None

    def _cpus(self, count: int, hint: TopologyHint, kind: ContainerKind) -> int:
        rules = self.rules
        check_smt(rules.options, count, rules.topology.per_core, self.default & ~rules.reserved_cores)
        available = self.default & ~rules.reserved | self.left.cpus
        close = near(rules.topology, rules.options, hint.nodes)
        got = take_aligned(rules.pick, rules.pick_near, available, close, count)
        self.default &= ~got
        self.left.note_cpus(kind, got)
        return got

    def _memory(self, place: int, sizes: Bytes, hint: TopologyHint, trial: AdmissionAttempt) -> None:
        nodes = resolve(self.tables, sizes, hint, self.left.memory)
        blocks = tuple([MemoryBlock(resource, nodes, size) for resource, size in sizes.items()])
        for block in blocks:
            again = self.left.memory.get((nodes, block.resource), 0)
            self.tables.charge(nodes, block.resource, max(0, block.size - again))
        containers = self.claims.pod.containers
        self.left.note_memory(containers[place].kind, blocks)
        trial.shares[place].memory = blocks
        shrink(_standard_inits(trial, self.claims, place), blocks)


def _standard_inits(
    trial: AdmissionAttempt, claims: ExclusiveRequests, place: int
) -> list[ContainerAssignment]:
    return [
        share
        for share, container in zip(trial.shares[:place], claims.pod.containers, strict=False)
        if container.kind is ContainerKind.INIT
    ]


def place_containers(
    rules: Rules, default: int, tables: NumaMemoryMap, claims: ExclusiveRequests, trial: AdmissionAttempt
) -> None:
    """Fill the trial container by container. Raises Refusal.

    `default` is the node's default CPU set.
    """
    node = ContainerScopeAttempt(rules, default, tables, claims)
    containers = claims.pod.containers
    shared = node.hint(claims.pod_cpus, claims.pod_memory) if rules.pod_scope else None
    for place, container in enumerate(containers):
        if shared is not None:
            hint = shared
        elif rules.aligned:
            hint = node.hint(claims.cpus[place], claims.memory[place])
        else:
            hint = NO_HINT
        trial.hints[container.name] = hint
        node.serve(place, hint, trial)
