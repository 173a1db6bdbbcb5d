"""Serve the containers of a pod one after the other from the node, each with CPUs and memory of its own.

This is the way of scope "container", of pods without a budget in scope "pod" (one merged hint
for all their containers), and of topology policy none (no hint at all). What one container
took is gone for the next; what an ended init container had can be used again.

The first failure refuses the pod. Only the attempt's own copies are changed.
In the kubelet: topologymanager/scope_container.go, and `Allocate` of both managers.
"""

from podnuma.allocator import device_hints, refusal
from podnuma.allocator.attempt import AdmissionAttempt, ContainerAssignment
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.cpu.pick import check_smt, near
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

    def __init__(
        self, rules: Rules, default: int, tables: NumaMemoryMap, requests: ExclusiveRequests
    ) -> None:
        self.rules = rules
        self.default = default
        self.tables = tables.copy() if rules.static_memory and requests.guaranteed else tables
        self.requests = requests
        self.reusable = ReusableResources()

    def hint(self, place: int | None) -> TopologyHint:
        """Merge the hints of the container at a place, or of the whole pod. Raises Refusal."""
        provided = self.provided_hints(place)
        merged = self.rules.merger.merge(
            provided.cpu, provided.memory, impossible=provided.impossible, devices=provided.devices
        )
        if merged is None:
            pod_level = self.rules.has_budget(self.requests.pod)
            raise refusal.no_locality(pod_level=pod_level, pod_scope=False)
        return merged

    def provided_hints(self, place: int | None) -> ProvidedHints:
        """Return the hints of CPUs, memory and devices, for the container at a place or the whole pod."""
        rules, requests = self.rules, self.requests
        cpu_hints = memory_hints = None
        if place is None:
            cpus, memory = requests.pod_cpus, requests.pod_memory
            devices = device_hints.pod_device_hints(rules.topology, requests.pod)
        else:
            cpus, memory = requests.cpus[place], requests.memory[place]
            devices = device_hints.container_hints(rules.topology, requests.pod.containers[place])
        if cpus and rules.static_cpu:
            free = self.default & ~rules.withheld
            cpu_hints = CpuHints(rules.topology, rules.options, free, self.reusable.cpus, cpus)
        if memory and rules.static_memory:
            memory_hints = MemoryHints(self.tables, memory, self.reusable.memory)
        return ProvidedHints(cpu_hints, memory_hints, False, devices)

    def serve(self, place: int, hint: TopologyHint, attempt: AdmissionAttempt) -> None:
        """Give the container at `place` its CPUs and memory. Raises Refusal."""
        kind = self.requests.pod.containers[place].kind
        assignment = attempt.assignments[place]
        count = self.requests.cpus[place]
        if count and self.rules.static_cpu:
            attempt.serving = ("cpu", "node")
            assignment.cpus = self._cpus(count, hint, kind)
            assignment.cpu_assignment = AssignmentType.NODE_EXCLUSIVE
        attempt.serving = None
        sizes = self.requests.memory[place]
        if self.rules.static_memory and sizes is None:
            raise refusal.memory("failed to represent quantity as int64")
        if sizes and self.rules.static_memory:
            attempt.serving = ("memory", "node")
            self._memory(place, sizes, hint, attempt)
            assignment.memory_assignment = AssignmentType.NODE_EXCLUSIVE
        attempt.serving = None

    def _cpus(self, count: int, hint: TopologyHint, kind: ContainerKind) -> int:
        rules = self.rules
        check_smt(rules.options, count, rules.topology.per_core, self.default & ~rules.withheld_cores)
        available = self.default & ~rules.withheld | self.reusable.cpus
        close = near(rules.topology, rules.options, hint.nodes)
        got = rules.picker.take_aligned(available, close, count, hint.node_count)
        self.default &= ~got
        self.reusable.note_cpus(kind, got)
        return got

    def _memory(self, place: int, sizes: Bytes, hint: TopologyHint, attempt: AdmissionAttempt) -> None:
        nodes = resolve(self.tables, sizes, hint, self.reusable.memory)
        blocks = tuple([MemoryBlock(resource, nodes, size) for resource, size in sizes.items()])
        for block in blocks:
            again = self.reusable.memory.get((nodes, block.resource), 0)
            self.tables.charge(nodes, block.resource, max(0, block.size - again))
        containers = self.requests.pod.containers
        self.reusable.note_memory(containers[place].kind, blocks)
        attempt.assignments[place].memory = blocks
        shrink(_standard_inits(attempt, self.requests, place), blocks)


def _standard_inits(
    attempt: AdmissionAttempt, requests: ExclusiveRequests, place: int
) -> list[ContainerAssignment]:
    return [
        assignment
        for assignment, container in zip(attempt.assignments[:place], requests.pod.containers, strict=False)
        if container.kind is ContainerKind.INIT
    ]


def place_containers(
    rules: Rules, default: int, tables: NumaMemoryMap, requests: ExclusiveRequests, attempt: AdmissionAttempt
) -> None:
    """Fill the attempt container by container. Raises Refusal.

    `default` is the node's default CPU set.
    """
    node = ContainerScopeAttempt(rules, default, tables, requests)
    containers = requests.pod.containers
    shared = node.hint(None) if rules.pod_scope else None
    for place, container in enumerate(containers):
        if shared is not None:
            hint = shared
        elif rules.aligned:
            hint = node.hint(place)
        else:
            hint = NO_HINT
        attempt.hints[container.name] = hint
        node.serve(place, hint, attempt)
