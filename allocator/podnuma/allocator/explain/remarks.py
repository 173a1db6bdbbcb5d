"""What is easily overlooked about a decision, as sentences for people.

The steps of an explanation are numbers; these sentences say what they mean: why a pod holds
nothing, which group of NUMA nodes is in the way and who holds it, why a set that fits is
refused. They never contain anything that steps, tables and grants do not say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from podnuma.allocator import nodeset
from podnuma.allocator.eligibility import (
    ExclusiveRequests,
    empty_cpu_pool,
    empty_memory_pool,
    guaranteed_like,
    qos,
)
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import Quantity, format_bytes, format_cpu
from podnuma.allocator.request import CPU, MEMORY, PodRequest, Qos
from podnuma.allocator.topology_hint import TopologyHint

MAX_NAMES = 5


class AdmissionPath(Enum):
    """Which way a pod is served."""

    BUBBLE = "bubble"
    CONTAINERS = "containers"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class MergeSide:
    """One side of a merge: what is wanted ("4 cpu"), what all nodes had free, the hint list, narrowest first.

    `hints` is None when the side has no preference, empty when it cannot serve at all. `least` is
    how many NUMA nodes the request would need on an empty machine, 0 when that is not asked.
    """

    resource: str
    wanted: str
    free: str
    least: int
    hints: tuple[TopologyHint, ...] | None


@dataclass(frozen=True, slots=True)
class MergeStep:
    """One merge. `subject` is "pod" or a container's name; `merged` is None when refused."""

    subject: str
    sides: tuple[MergeSide, ...]
    merged: TopologyHint | None


def remarks(
    node: NodeAllocator, requests: ExclusiveRequests, path: AdmissionPath, steps: Sequence[MergeStep]
) -> Iterator[str]:
    """Yield what should be said about a decision, most important first."""
    yield from _about_requests(node, requests, path)
    for step in steps:
        yield from _about_step(node, step)
    if any(side.resource == MEMORY for step in steps for side in step.sides):
        yield from _about_others(node, requests)
        yield from _about_groups(node)


def _about_others(node: NodeAllocator, requests: ExclusiveRequests) -> Iterator[str]:
    """Name the NUMA nodes on which pages that the pod wants are in use by nobody who was granted them."""
    wanted = {name for sizes in (requests.pod_memory, *requests.memory) for name in sizes or ()}
    for resource in sorted(wanted & node.tables.taken.keys()):
        taken = node.tables.taken[resource]
        sizes = ", ".join(f"{format_bytes(size)} on NUMA node {one}" for one, size in taken.items())
        yield f"{resource}: {sizes} in use by processes or pods to which podnuma granted none of it"


def _about_requests(node: NodeAllocator, requests: ExclusiveRequests, path: AdmissionPath) -> Iterator[str]:
    pod = requests.pod
    if path is AdmissionPath.SHARED:
        found = qos(pod)
        if found is Qos.GUARANTEED:
            yield "pod-level resource managers are off: pods with a budget hold nothing"
        else:
            yield why_not_guaranteed(pod) or (
                f"QoS class {found.value}: only Guaranteed pods hold anything; "
                "the containers run in the node shared pool"
            )
        return
    budget = (pod.pod_requests or {}).get(CPU) if pod.pod_level else None
    if path is AdmissionPath.BUBBLE:
        if budget is not None and not budget.integral:
            yield f"a budget of {format_cpu(budget.milli)} CPUs is not whole: no container gets own CPUs"
        if requests.pod_memory is None:
            yield "the budget's memory is not a plain number of bytes: no memory is bound"
        for problem in (empty_cpu_pool(requests) if requests.pod_cpus else None, empty_memory_pool(requests)):
            if problem:
                yield problem
    elif pod.pod_level:
        shared = [one.name for one, count in zip(pod.containers, requests.cpus, strict=True) if not count]
        if shared and node.rules.static_cpu:
            yield f"only pod scope has pod shared pools; in the node shared pool: {_names(shared)}"


def why_not_guaranteed(pod: PodRequest) -> str:
    """Say what keeps a pod from CPUs of its own that somebody means it to have, and the way out.

    That is its budget, or else the containers that have no limits like their requests. Empty for a pod that
    is Guaranteed, or asks for no CPUs of its own.
    """
    if qos(pod) is not Qos.BURSTABLE:
        return ""
    main = [one.name for one in pod.containers if guaranteed_like(one) and one.requests[CPU].integral]
    if pod.pod_level:
        return _burstable_budget(pod, main)
    without = [one.name for one in pod.containers if not guaranteed_like(one)]
    if not main or not without:
        return ""
    make, get = ("makes" if len(without) == 1 else "make"), ("gets" if len(main) == 1 else "get")
    return (
        f"{_names(without)} without requests equal to limits for CPU and memory {make} "
        f"the pod Burstable, so {_names(main)} {get} no CPUs of {'its' if len(main) == 1 else 'their'} own; "
        "a pod-level budget (spec.resources) makes it Guaranteed"
    )


def _burstable_budget(pod: PodRequest, main: Sequence[str]) -> str:
    """Say what a budget lacks; nothing where neither it nor a container looks meant to be Guaranteed."""
    requests, limits = pod.pod_requests or {}, pod.pod_limits or {}
    lacks, equal = [], bool(main)
    for resource, name in ((CPU, "CPU"), (MEMORY, "memory")):
        request, limit = requests.get(resource), limits.get(resource)
        if limit is None or not limit.nano:
            lacks.append(f"no {name} limit")
        elif request is None or not request.nano:
            lacks.append(f"no {name} request")
        elif request != limit:
            asked, most = _written(resource, request), _written(resource, limit)
            lacks.append(f"a {name} request of {asked} below a limit of {most}")
        else:
            equal = True
    if not equal or not lacks:
        return ""
    return (
        f"its pod-level resources have {' and '.join(lacks)}, which makes the pod Burstable: no container "
        "gets CPUs or memory of its own; requests equal to limits, for CPU and memory, make it Guaranteed"
    )


def _written(resource: str, amount: Quantity) -> str:
    return format_cpu(amount.milli) if resource == CPU else format_bytes(amount.units)


def _about_step(node: NodeAllocator, step: MergeStep) -> Iterator[str]:
    for side in step.sides:
        if side.resource == CPU and side.hints == () and side.least:
            yield f"{step.subject} wants {side.wanted}; the whole node has {side.free} free"
        if side.resource == MEMORY and side.hints is None:
            yield (
                f"{step.subject} wants {side.wanted}; no usable set of NUMA nodes has it free, "
                f"the whole node has {side.free}{_held_alone(node)}"
            )
    least = {
        side.resource: side.least for side in step.sides if side.hints and side.resource in (CPU, MEMORY)
    }
    if len(set(least.values())) > 1:
        yield (
            f"{step.subject}: CPUs need {_count(least[CPU])}, memory needs {_count(least[MEMORY])}: "
            "no set of nodes is best for both"
        )
    elif step.merged is None:
        found = list(_about_second_best(node, step))
        yield from found or _about_devices(step)


def _about_devices(step: MergeStep) -> Iterator[str]:
    """Say of every kind of device that it can be served, but not where the rest of the request can."""
    others = [side for side in step.sides if side.resource in (CPU, MEMORY) and side.hints]
    for side in step.sides:
        if side.resource in (CPU, MEMORY):
            continue
        if not side.hints:
            yield f"{step.subject} wants {side.wanted}; {side.free}"
            continue
        near = _best(side)
        for other in others:
            if near.isdisjoint(_best(other)):
                yield (
                    f"{step.subject}: {side.wanted} would be served best on {_sets(near)}, "
                    f"{other.wanted} on {_sets(_best(other))}"
                )


def _best(side: MergeSide) -> frozenset[int]:
    """Return the preferred node sets of a side."""
    return frozenset(hint.nodes or 0 for hint in side.hints or () if hint.preferred)


def _sets(sets: frozenset[int]) -> str:
    listed = " or ".join(nodeset.render(nodes) for nodes in sorted(sets)[:MAX_NAMES])
    if len(sets) == 1:
        return nodeset.named(next(iter(sets)))
    return f"NUMA nodes {listed}" if listed else "no NUMA node"


def _about_second_best(node: NodeAllocator, step: MergeStep) -> Iterator[str]:
    policy = node.settings.topology_manager_policy
    for side in step.sides:
        if side.hints and not any(hint.preferred for hint in side.hints):
            fits = side.hints[0].nodes or 0
            yield (
                f"{step.subject}: {side.wanted} fit on {nodeset.named(fits)}, when empty "
                f"{_count(side.least)} is enough: {policy.value} refuses"
            )
        elif policy is TopologyManagerPolicy.SINGLE_NUMA_NODE and side.least > 1:
            yield f"{step.subject}: {side.wanted} need {_count(side.least)}, {policy.value} allows one"


def _held_alone(node: NodeAllocator) -> str:
    """Name the pods whose memory keeps a NUMA node from serving together with others."""
    held = []
    for one in node.topology.nodes:
        if node.memory_group(one.id).bit_count() == 1 and node.memory_assignments(one.id):
            owners = [
                f"{grant.namespace}/{grant.name}"
                for grant in node.grants.values()
                if any(block.nodes >> one.id & 1 for block in grant.charged)
            ]
            held.append(f"NUMA node {one.id} serves {_names(owners)} alone")
    if not held:
        return ""
    return f"; memory over several NUMA nodes has to wait: {', '.join(held[:MAX_NAMES])}"


def _about_groups(node: NodeAllocator) -> Iterator[str]:
    seen = set()
    for one in node.topology.nodes:
        group = node.memory_group(one.id)
        if group in seen or not node.memory_assignments(one.id):
            continue
        seen.add(group)
        owners = [
            f"{grant.namespace}/{grant.name}"
            for grant in node.grants.values()
            if any(block.nodes == group for block in grant.charged)
        ]
        if group.bit_count() > 1:
            yield (
                f"NUMA nodes {nodeset.render(group)} are one memory group while {_names(owners)} run: "
                "they serve only all together"
            )


def _count(nodes: int) -> str:
    return "one NUMA node" if nodes == 1 else f"{nodes} NUMA nodes"


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(names[:MAX_NAMES])
    return f"{listed} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else listed
