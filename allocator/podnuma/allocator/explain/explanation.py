"""Why a pod was placed where it was, or what would have to be different for it to fit.

An Explanation is plain data: what every NUMA node had free, the hints of each side and their
merge, step by step, what was decided, remarks on what is easily overlooked, and
for a refused pod the single changes that would make it fit, smallest first (or, where no single
one does, two that do together). It is made by calling the pieces that `decide` calls, one by
one, on the node as it is; it costs the fast path nothing.

Always true: `decision` is what `NodeAllocator.decide` answers; explaining changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.eligibility import Bytes, ExclusiveRequests, exclusive_requests, qos
from podnuma.allocator.explain.free import FreeRow, free_rows, most_grantable
from podnuma.allocator.explain.remarks import AdmissionPath, MergeSide, MergeStep, remarks
from podnuma.allocator.explain.suggestions import Suggestion, Suggestions, suggest
from podnuma.allocator.merge import HintProvider, ProvidedHints
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.numa_candidates import candidates
from podnuma.allocator.quantities import format_bytes, format_rounded
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.request import CPU, MEMORY, PodRequest, Qos
from podnuma.allocator.scope_container import ContainerScopeAttempt
from podnuma.allocator.scope_pod import pod_hints
from podnuma.allocator.topology_hint import TopologyHint

# Of a hint list as many are kept as 8 NUMA nodes have.
MAX_HINTS = 255


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one decision."""

    decision: Admitted | Rejected
    qos: Qos
    path: AdmissionPath
    free: tuple[FreeRow, ...]
    steps: tuple[MergeStep, ...]
    remarks: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    together: tuple[Suggestion, ...]

    @property
    def smallest(self) -> Suggestion | None:
        """The smallest single change that makes a refused pod fit, if one does."""
        return self.suggestions[0] if self.suggestions else None


def explain(node: NodeAllocator, pod: PodRequest) -> Explanation:
    """Decide about a pod and say why. A pod that is held already is explained as if it were not."""
    fresh = node.without(pod.uid)
    wanted = exclusive_requests(pod, pod_level_managers=node.settings.pod_level_managers)
    decision = fresh.decide(pod)
    path = _path(fresh, wanted)
    steps = tuple(_steps(fresh, wanted, path))
    notes = [*remarks(fresh, wanted, path, steps), *_without_devices(fresh, pod, decision)]
    found = Suggestions((), ())
    if isinstance(decision, Rejected):
        found = suggest(pod, lambda other: isinstance(fresh.decide(other), Admitted), most_grantable(fresh))
    return Explanation(
        decision,
        qos(pod),
        path,
        tuple(free_rows(fresh)),
        steps,
        tuple(notes),
        found.single,
        found.together,
    )


def _without_devices(node: NodeAllocator, pod: PodRequest, decision: Admitted | Rejected) -> Iterator[str]:
    """Say what the pod would have got if it had no devices, where that is something else."""
    if not pod.has_devices:
        return
    bare = replace(pod, containers=tuple(replace(one, devices=()) for one in pod.containers))
    other = node.decide(bare)
    if isinstance(other, Rejected):
        return
    cpus, nodes = other.grant.exclusive_cpus, other.grant.memory_nodes
    if isinstance(decision, Rejected):
        yield "without its devices the pod would fit"
    elif (cpus, nodes) != (decision.grant.exclusive_cpus, decision.grant.memory_nodes):
        on = nodeset.named(nodes | node.topology.nodes_of(cpus))
        what = f"CPUs {cpuset.render(cpus)}" if cpus else "memory"
        yield f"without its devices the pod would have {what} on {on}"


def _path(node: NodeAllocator, wanted: ExclusiveRequests) -> AdmissionPath:
    if not wanted.guaranteed:
        return AdmissionPath.SHARED
    if node.rules.pod_scope and wanted.pod.pod_level:
        return AdmissionPath.BUBBLE
    return AdmissionPath.CONTAINERS


def _steps(node: NodeAllocator, wanted: ExclusiveRequests, path: AdmissionPath) -> Iterator[MergeStep]:
    rules, pod = node.rules, (wanted.pod_cpus, wanted.pod_memory)
    if (path is AdmissionPath.SHARED and not wanted.pod.has_devices) or not rules.aligned:
        return
    serving = ContainerScopeAttempt(rules, node.default_set, node.tables, wanted)
    if rules.pod_scope and rules.has_budget(wanted.pod):
        yield _step(node, serving, "pod", pod, pod_hints(rules, node.default_set, node.tables, wanted))
        return
    if rules.pod_scope:
        yield _step(node, serving, "pod", pod, serving.provided_hints(None))
        return
    attempt = AdmissionAttempt(len(wanted.pod.containers))
    for place, container in enumerate(wanted.pod.containers):
        own = wanted.cpus[place], wanted.memory[place]
        step = _step(node, serving, container.name, own, serving.provided_hints(place))
        yield step
        if step.merged is None:
            return
        try:
            serving.serve(place, step.merged, attempt)
        except Refusal:
            return


def _step(
    node: NodeAllocator,
    serving: ContainerScopeAttempt,
    subject: str,
    wanted: tuple[int, Bytes | None],
    provided: ProvidedHints,
) -> MergeStep:
    rules = node.rules
    cpus, memory = wanted
    sides = []
    if rules.static_cpu and cpus:
        free = (serving.default & ~rules.withheld).bit_count()
        sides.append(_side(node, CPU, (f"{cpus} cpu", f"{free} cpu"), provided.cpu))
    if rules.static_memory and memory:
        have = {name: max(serving.tables.free_on(node.topology.all_nodes, name), 0) for name in memory}
        sides.append(_side(node, MEMORY, (_amounts(memory), _amounts(have, format_rounded)), provided.memory))
    sides += [_side(node, one.resource, (one.wanted, one.free), one) for one in provided.devices]
    merged = rules.merger.merge(
        provided.cpu, provided.memory, impossible=provided.impossible, devices=provided.devices
    )
    return MergeStep(subject, tuple(sides), merged)


def _side(
    node: NodeAllocator, resource: str, texts: tuple[str, str], provider: HintProvider | None
) -> MergeSide:
    wanted, free = texts
    if provider is None:
        # Requested, but without hints: the pod shared pool would be empty.
        return MergeSide(resource, wanted, free, 0, ())
    found = tuple(islice(_hints(node, provider), MAX_HINTS))
    return MergeSide(
        resource, wanted, free, provider.least, None if resource == MEMORY and not found else found
    )


def _amounts(sizes: Bytes, write: Callable[[int], str] = format_bytes) -> str:
    return ", ".join(f"{write(size)} {name}" for name, size in sizes.items())


def _hints(node: NodeAllocator, provider: HintProvider) -> Iterator[TopologyHint]:
    topology = node.rules.topology
    sizes = range(1, len(topology.nodes) + 1)
    ordered = chain.from_iterable(candidates(topology, size, provider.offers(size)) for size in sizes)
    return (TopologyHint(nodes, provider.prefers(nodes)) for nodes in ordered if provider.holds(nodes))
