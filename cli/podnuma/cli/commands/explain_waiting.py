"""`podnuma explain POD` of a pod that is on no node: where it would fit, what excludes the other nodes.

What holds the pod back is in its own status: the scheduler's words, scheduling gates. What podnuma knows
beside them is which of the nodes that the pod may go to would admit it now, the best one first
(`allocator.placement`), and why the others would refuse it. Nothing is reserved by asking. Of a pod for which
something is reserved the nodes are asked as they are without that.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from podnuma.allocator import PodRequest, cpuset, nodeset
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain as explain_decision
from podnuma.allocator.placement.fleet import Candidate, Fleet
from podnuma.allocator.placement.packing import Packing
from podnuma.api.pod_allocation import PodAllocation, numa_in
from podnuma.api.scheduling import Obstacle, read_pod_constraints
from podnuma.api.volumes import read_claim_names
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer
from podnuma.cli.commands.asked_nodes import (
    candidate_data,
    learn_classes,
    nodes_to_plan_on,
    pods_on,
    scheduling_view,
)
from podnuma.cli.exits import Exit
from podnuma.cli.objects.devices_not_chosen import devices_not_chosen
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource
from podnuma.cli.objects.volumes_of_pods import with_volumes_of
from podnuma.cli.render.left_out import not_considered
from podnuma.cli.render.wording import columns, count

_SHOWN = 10
_LISTED = 100
_HEADS = ("NODE", "NUMA NODES", "BREAKS", "GAP", "FREE")


@dataclass(frozen=True, slots=True)
class RefusingNodes:
    """Nodes that would refuse the pod for one reason: how many, the first by name, and the cause there."""

    reason: str
    nodes: int
    example: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a node keeps for a pod that is not bound yet; CPUs and NUMA nodes in list format."""

    node: str
    cpus: str
    numa: str


@dataclass(frozen=True, slots=True)
class WaitingPod:
    """A pod on no node: what is reserved for it, what it waits for, candidates, best first, other nodes."""

    pod: PodRequest
    reserved: Reservation | None
    gates: tuple[str, ...]
    scheduler: str
    candidates: tuple[Candidate, ...]
    refusing: tuple[RefusingNodes, ...]
    excluded: Mapping[Obstacle, int]
    unmanaged: int
    node_selector: Mapping[str, str] = field(default_factory=dict)


def explain_waiting(
    source: ObjectSource, value: Json, pod: PodRequest, profile: str, reserved: PodAllocation | None = None
) -> Answer:
    """Explain a pod that is on no node; NO if no node would admit it."""
    found = waiting_pod(source, value, pod, profile, reserved)
    return Answer(
        output.AnswerKind.WAITING_POD,
        [waiting_data(found)],
        lambda _: waiting_text(found),
        code=Exit.OK if found.candidates else Exit.NO,
    )


def waiting_pod(
    source: ObjectSource, value: Json, pod: PodRequest, profile: str, reserved: PodAllocation | None = None
) -> WaitingPod:
    """Ask every node about a pod."""
    view = scheduling_view(source, pods_on(source, "", output.note), output.note)
    claims = [(pod.namespace, name) for name in read_claim_names(value)]
    constraints = with_volumes_of(read_pod_constraints(value), claims, source, output.note)
    learn_classes(source, view, [constraints], output.note)
    nodes, namespaces = nodes_to_plan_on(source, "", profile, view, output.note, [constraints])
    if constraints.not_considered:
        output.note(f"not considered in where it may go: {', '.join(constraints.not_considered)}")
    if devices := devices_not_chosen(value):
        output.note(devices)
    excluded: Counter[Obstacle] = Counter()
    fleets = {packing: Fleet() for packing in Packing}  # nodes that pack come before nodes that spread
    unmanaged = 0
    managing = {}
    labels = (value.get("metadata") or {}).get("labels") or {}
    for one in nodes:
        if (obstacle := view.obstacle(constraints, one.name)) is not None:
            excluded[obstacle] += 1
        elif not one.settings.pod_policy.manages(labels, namespaces.get(pod.namespace, {})):
            unmanaged += 1
        else:
            managing[one.name] = allocator = one.allocator.without(pod.uid)
            fleets[one.settings.pod_policy.packing].update(one.name, allocator)
    rankings = [fleet.ranking(pod, packing) for packing, fleet in fleets.items()]
    refused = {name: answer for ranking in rankings for name, answer in ranking.refused.items()}
    refusing = []
    for reason, number in Counter(answer.reason for answer in refused.values()).most_common():
        example = min(name for name, answer in refused.items() if answer.reason is reason)
        cause = brief(managing[example], pod, explain_decision(managing[example], pod))
        refusing.append(RefusingNodes(reason.value, number, example, cause))
    return WaitingPod(
        pod=pod,
        reserved=_reservation(reserved) if reserved is not None else None,
        gates=tuple(_gates(value)),
        scheduler=_scheduler_says(value),
        candidates=tuple(one for ranking in rankings for one in ranking.candidates),
        refusing=tuple(refusing),
        excluded=excluded,
        unmanaged=unmanaged,
        node_selector=constraints.node_selector,
    )


def _reservation(stored: PodAllocation) -> Reservation:
    numa = numa_in(stored.summary)
    return Reservation(
        stored.node_name,
        cpuset.render(stored.grant.exclusive_cpus),
        nodeset.render(numa) if numa is not None else "",
    )


def _gates(value: Json) -> Iterator[str]:
    for one in (value.get("spec") or {}).get("schedulingGates") or ():
        if isinstance(one, Mapping):
            yield str(one.get("name") or "")


def _scheduler_says(value: Json) -> str:
    for one in (value.get("status") or {}).get("conditions") or ():
        if isinstance(one, Mapping) and one.get("type") == "PodScheduled" and one.get("status") == "False":
            return str(one.get("message") or one.get("reason") or "")
    return ""


def waiting_text(found: WaitingPod) -> str:
    """Write the answer first, then the candidates, then what excludes the others."""
    fits = len(found.candidates)
    text = f"pod {found.pod.namespace}/{found.pod.name} {_standing(found, fits)}\n"
    if found.gates:
        text += f"held by scheduling gates: {', '.join(found.gates)}\n"
    if found.scheduler:
        text += f"the scheduler says: {found.scheduler}\n"
    if fits:
        text += "\n" + columns(_HEADS, _rows(found.candidates[:_SHOWN]))
        text += f"and {fits - _SHOWN} more\n" if fits > _SHOWN else ""
    for one in found.refusing:
        text += f"\n{count(one.nodes, 'node')} would refuse it: {one.reason}, on {one.example}: "
        text += f"{one.explanation}\n"
    if found.unmanaged:
        text += f"\n{count(found.unmanaged, 'node')} would not manage it\n"
    if found.excluded:
        nowhere = not (found.candidates or found.refusing or found.unmanaged)
        text += f"\n{not_considered(found.excluded, found.node_selector if nowhere else None)}\n"
    return text


def _standing(found: WaitingPod, fits: int) -> str:
    if (reserved := found.reserved) is not None:
        what = f"CPUs {reserved.cpus}" if reserved.cpus else "memory"
        what += f" of NUMA node {reserved.numa}" if reserved.numa else ""
        return f"is not bound yet; reserved for it on {reserved.node}: {what}"
    answer = f"{count(fits, 'node')} would admit it now" if fits else "no node would admit it now"
    return f"is on no node yet; {answer}"


def _rows(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    return [
        (
            one.node,
            *map(str, (one.effect.numa_nodes, one.effect.breaks, one.effect.gap, one.effect.left)),
        )
        for one in candidates
    ]


def waiting_data(found: WaitingPod) -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "namespace": found.pod.namespace,
        "name": found.pod.name,
        "reservation": None if found.reserved is None else asdict(found.reserved),
        "schedulingGates": list(found.gates),
        "scheduler": found.scheduler,
        "candidateNodes": len(found.candidates),
        "candidates": [candidate_data(one) for one in found.candidates[:_LISTED]],
        "refusals": [
            {
                "reason": one.reason,
                "nodes": one.nodes,
                "example": one.example,
                "explanation": one.explanation,
            }
            for one in found.refusing
        ],
        "notConsidered": {one.value: number for one, number in sorted(found.excluded.items())},
        "notManagingNodes": found.unmanaged,
    }
