"""`podnuma plan`: what would happen to these pods on these nodes. Nothing is changed or scheduled.

Pods are decided in the order of their manifests. A pod is admitted as the API server admits it
(`api.pod_admission`), may go where the scheduler would let it go (`api.scheduling`), and of those nodes gets
the first, by name, that admits it; the scheduler may prefer another one. With a packing it gets the best
one instead (`allocator.placement`). What it gets is held against the later pods. Decisions are the
allocator's own, on the state that PodAllocations describe, so an answer is the operator's as long as nothing
else happens.

    admitted      on the node that is named
    refused       every node that it may go to refuses it
    pending       there is no node that it may go to; the scheduler would leave it pending
    not managed   the nodes that it may go to do not manage it
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from podnuma.allocator import Admitted, NodeSet, PodGrant, Rejected
from podnuma.allocator import explain as explain_decision
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.remarks import why_not_guaranteed
from podnuma.allocator.placement.fleet import Candidate, Fleet
from podnuma.allocator.placement.packing import Packing
from podnuma.api import pod_allocation
from podnuma.api.scheduling import Obstacle
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.asked_nodes import (
    NamespaceLabels,
    Note,
    candidate_data,
    nodes_to_plan_on,
    scheduling_view,
)
from podnuma.cli.commands.completion import complete_node, complete_profile
from podnuma.cli.commands.explain import key_of
from podnuma.cli.commands.options import Namespace, examples, new_app
from podnuma.cli.commands.plan_resize import NewAmounts, answer_resize, parse_containers
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.admission_policies import admission_policies
from podnuma.cli.objects.documents import Document, read_documents
from podnuma.cli.objects.nodes import CandidateNode
from podnuma.cli.objects.scheduling_view import SchedulingView
from podnuma.cli.objects.server_admission import ServerAdmission
from podnuma.cli.objects.sources import ObjectSource, one_namespace
from podnuma.cli.objects.workloads import ExpandedPods, PlannedPod, expand
from podnuma.cli.render.wording import columns, count

app = new_app()

_PODS_SHOWN = 3
_CANDIDATES_SHOWN = 3
_CANDIDATE_HEADS = ("POD", "CANDIDATE", "NUMA NODES", "BREAKS", "GAP", "FREE")
_CANDIDATES_LISTED = 100


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """Why one node refuses a pod: the kubelet's reason and message, and the cause with what would fit."""

    node: str
    reason: str
    message: str
    explanation: str


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What would happen to one pod. `grant` None: no node admits it, or none manages it (`managed` False).

    `numa`: the NUMA nodes of the CPUs and memory it would hold. `left_out`: nodes that it may not go to.
    `candidates`: where a packing was asked for, the nodes that admit it, best first.
    """

    planned: PlannedPod
    node: str
    grant: PodGrant | None
    refusals: tuple[NodeRefusal, ...]
    managed: bool = True
    numa: NodeSet | None = None
    left_out: Mapping[str, Obstacle] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether there is no node that it may go to."""
        return self.managed and self.grant is None and not self.refusals

    @property
    def refused(self) -> bool:
        """Whether every node that it may go to and that manages it refuses it."""
        return self.managed and self.grant is None and bool(self.refusals)

    @property
    def note(self) -> str:
        """What its author should know although it is admitted."""
        if self.grant is None:
            return ""
        return "; ".join(filter(None, (why_not_guaranteed(self.planned.pod), self._of_devices)))

    @property
    def _of_devices(self) -> str:
        """What devices of device plugins may change."""
        if not self.planned.extended or self.grant is None or not self.grant.holds_anything:
            return ""
        return (
            f"its devices of {', '.join(self.planned.extended)} are chosen by the node's kubelet;"
            " CPUs and memory follow them then, as far as topologyManagerPolicy says"
        )

    @property
    def result(self) -> str:
        """The word for it."""
        if not self.managed:
            return "not managed"
        return "refused" if self.refused else "pending" if self.pending else "admitted"


def plan_pods(
    pods: Sequence[PlannedPod],
    nodes: Sequence[CandidateNode],
    labels: NamespaceLabels,
    view: SchedulingView | None = None,
    packing: Packing | None = None,
) -> list[PodPlan]:
    """Decide the pods in turn; `labels` are those of namespaces, for profiles that select by them.

    `packing` None: a pod gets the first node by name.
    """
    view = view or SchedulingView()
    fleet = PackedNodes(packing, nodes) if packing is not None else None
    plans: list[PodPlan] = []
    for pod in pods:
        namespace = labels.get(pod.pod.namespace, {})
        # A DaemonSet's pods are one per node; where it may not go it has none.
        places = (
            [[one] for one in nodes if not view.obstacle(pod.constraints, one.name)] if pod.every_node else []
        )
        plans += [_place(pod, place, namespace, view, fleet) for place in places or [list(nodes)]]
    return plans


class PackedNodes:
    """The nodes of a plan, in the order of a packing for each pod."""

    def __init__(self, packing: Packing, nodes: Sequence[CandidateNode]) -> None:
        self._packing = packing
        self._fleet = Fleet()
        for one in nodes:
            self._fleet.update(one.name, one.allocator)

    def ranked(self, planned: PlannedPod, nodes: Sequence[CandidateNode]) -> tuple[Candidate, ...]:
        """Return those of the nodes that admit a pod, best first."""
        names = {one.name for one in nodes}
        return self._fleet.ranking(planned.pod, self._packing, names.__contains__).candidates

    def holds(self, node: CandidateNode) -> None:
        """Take a node as it is after a pod was placed there."""
        self._fleet.update(node.name, node.allocator)


def _place(
    planned: PlannedPod,
    nodes: Sequence[CandidateNode],
    namespace: Mapping[str, str],
    view: SchedulingView,
    fleet: PackedNodes | None,
) -> PodPlan:
    obstacles = {one.name: view.obstacle(planned.constraints, one.name) for one in nodes}
    left_out = {name: found for name, found in obstacles.items() if found is not None}
    open_to = [one for one in nodes if one.name not in left_out]
    managing = [one for one in open_to if one.settings.pod_policy.manages(planned.labels, namespace)]
    refusals: list[NodeRefusal] = []
    candidates = fleet.ranked(planned, managing) if fleet is not None else ()
    if candidates:
        best = candidates[0].node
        managing = [one for one in managing if one.name == best]
    for candidate in managing:
        match candidate.allocator.decide(planned.pod):
            case Admitted() as admitted:
                candidate.allocator.hold(admitted)
                view.bind(planned.constraints, candidate.name)
                if fleet is not None:
                    fleet.holds(candidate)
                numa = pod_allocation.numa_nodes(admitted.grant, candidate.allocator.topology)
                return PodPlan(
                    planned,
                    candidate.name,
                    admitted.grant,
                    tuple(refusals),
                    numa=numa,
                    left_out=left_out,
                    candidates=candidates,
                )
            case Rejected() as rejected:
                found = explain_decision(candidate.allocator, planned.pod)
                cause = brief(candidate.allocator, planned.pod, found)
                refusals.append(NodeRefusal(candidate.name, rejected.reason.value, rejected.message, cause))
    managed = bool(managing) or not open_to
    return PodPlan(planned, "", None, tuple(refusals), managed=managed, left_out=left_out)


@app.command(
    "plan",
    epilog=examples(
        "podnuma plan -f pods/",
        "podnuma plan -f deployment.yaml --profile profile.yaml",
        "helm template chart | podnuma plan -f - --strict",
        "podnuma plan -f pods/ --from cluster.yaml -o json",
        "podnuma plan -f deployment.yaml --packing Compact -o wide",
        "podnuma plan -f deployment.yaml --server-side",
        "podnuma plan resize database --cpu 6 --container db=4",
    ),
)
@answering(table=True)
def plan_manifests(
    source: ObjectSource,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[resize POD]", help="what a running pod would hold after a resize in place"),
    ] = None,
    manifests: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", metavar="FILE", help="manifests: file, folder or -; repeatable"),
    ] = None,
    cpu: Annotated[str, typer.Option(metavar="CPUS", help="resize: the pod's budget of CPUs")] = "",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="resize: the pod's budget of memory")] = "",
    container: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CPUS", help="resize: a container's CPUs; repeatable"),
    ] = None,
    node: Annotated[str, typer.Option(help="on this node only", autocompletion=complete_node)] = "",
    profile: Annotated[
        str,
        typer.Option(
            help="on nodes with this profile; if it is a file, with its settings where it selects",
            autocompletion=complete_profile,
        ),
    ] = "",
    packing: Annotated[
        Packing | None,
        typer.Option(
            help="of the nodes that admit a pod take the fullest (Compact) or the emptiest (Spread); "
            "without it the first by name"
        ),
    ] = None,
    namespace: Namespace = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="fail if a kind is guessed or not understood")
    ] = False,
    server_side: Annotated[
        bool,
        typer.Option(
            "--server-side",
            help="have the API server admit the pods in a dry run, and tell where that is not as computed",
        ),
    ] = False,
) -> Answer:
    """Tell what would happen to these pods, without changing anything."""
    if words:
        key = _resized_pod(words, one_namespace(source, namespace))
        return answer_resize(source, key, NewAmounts(cpu, memory, parse_containers(container or ())))
    if not manifests:
        raise Failure(Exit.USAGE, "name manifests with -f FILE, or a pod: podnuma plan resize POD --cpu 6")
    return answer_plan(
        source,
        manifests,
        node,
        profile,
        namespace=namespace,
        strict=strict,
        packing=packing,
        server_side=server_side,
    )


def _resized_pod(words: Sequence[str], namespace: str) -> tuple[str, str]:
    verb, *rest = words
    if verb != "resize":
        raise Failure(
            Exit.USAGE, f"unknown word {verb!r}: manifests are named with -f, a pod with resize POD"
        )
    return key_of(rest, namespace)


def answer_plan(
    source: ObjectSource,
    files: Sequence[str],
    node: str,
    profile: str,
    *,
    namespace: str = "",
    strict: bool = False,
    packing: Packing | None = None,
    server_side: bool = False,
) -> Answer:
    """Plan the pods in `files`; NO if one would not run as asked."""
    documents = read_documents(files)
    namespace = one_namespace(source, namespace)
    expanded, plans = plan_documents(
        source,
        documents,
        namespace,
        output.note,
        node=node,
        profile=profile,
        packing=packing,
        server_side=server_side,
    )
    code = Exit.NO if any(plan.refused or plan.pending for plan in plans) else Exit.OK
    if expanded.problems or (strict and (expanded.guessed or expanded.not_understood)):
        code = Exit.INPUT
    return Answer(
        output.AnswerKind.POD_PLAN,
        [plan_data(plan) for plan in plans],
        lambda style: plan_text(plans, wide=style.wide, headers=style.headers),
        plan_summary(plans),
        code,
    )


def plan_documents(
    source: ObjectSource,
    documents: Sequence[Document],
    namespace: str,
    note: Note,
    *,
    node: str = "",
    profile: str = "",
    packing: Packing | None = None,
    server_side: bool = False,
) -> tuple[ExpandedPods, list[PodPlan]]:
    """Plan the pods of these manifests; `note` hears what is not considered, guessed or wrong."""
    computed = admission_policies(source, documents, namespace, note)
    server = ServerAdmission(source, computed) if server_side else None
    expanded = expand(documents, namespace, server or computed)
    _say(expanded, note)
    for line in server.differences if server else ():
        note(f"the API server differs: {line}")
    view = scheduling_view(source, node, note)
    nodes, labels = nodes_to_plan_on(source, node, profile, view, note)
    return expanded, plan_pods(expanded.pods, nodes, labels, view, packing)


def _say(expanded: ExpandedPods, note: Note) -> None:
    lines = (*expanded.skipped, *expanded.guessed, *expanded.not_understood, *expanded.problems)
    for line in lines:
        note(line)
    if expanded.not_understood:
        note(f"{count(len(expanded.not_understood), 'object')} not understood; --strict fails on them")
    unseen = sorted({text for pod in expanded.pods for text in pod.constraints.not_considered})
    if unseen:
        note(f"not considered in where pods may go: {', '.join(unseen)}")


def plan_text(plans: Sequence[PodPlan], *, wide: bool, headers: bool = True) -> str:
    """Write the plans as a table with refusals below; `wide` adds tables of containers and of candidates."""
    heads = ("POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED")
    text = columns(heads, [_row(plan) for plan in plans], headers=headers)
    if wide:
        heads = ("POD", "CONTAINER", "KIND", "ASSIGNMENT", "CPUS", "MEMS", "QUOTA")
        rows = [row for plan in plans for row in _containers(plan)]
        text += "\n" + columns(heads, rows) if rows else ""
        candidates = [row for plan in plans for row in _candidates(plan)]
        text += "\n" + columns(_CANDIDATE_HEADS, candidates) if candidates else ""
    return text + _refusals(plans) + _unpinned(plans) + _left_out(plans) + _sum(plans)


def _refusals(plans: Sequence[PodPlan]) -> str:
    """Say why nodes refuse pods, once for all pods of a workload of which the same is true."""
    alike: dict[tuple[object, NodeRefusal], list[str]] = {}
    for plan in plans:
        for one in plan.refusals if plan.refused else ():
            whose = (plan.planned.place, plan.planned.owner) if plan.planned.owner else plan.planned.name
            alike.setdefault((whose, one), []).append(plan.planned.name)
    return "".join(
        f"\n{pods[0]}{f' and {len(pods) - 1} more' if len(pods) > 1 else ''} on {one.node}: {one.reason}: "
        f"{one.explanation}\n"
        for (_, one), pods in alike.items()
    )


def _unpinned(plans: Sequence[PodPlan]) -> str:
    """Name what keeps admitted pods from the CPUs of their own that a container asks for."""
    # The pods of one manifest are alike: one speaks for all.
    notes = {(plan.planned.place, plan.note): plan.planned.name for plan in plans if plan.note}
    return "".join(f"\n{name}: {note}\n" for (_, note), name in notes.items())


def _left_out(plans: Sequence[PodPlan]) -> str:
    """Say which nodes were not considered and why, once for all pods of which the same is true."""
    alike: dict[str, list[str]] = {}
    for plan in plans:
        # Room runs out as replicas are placed: it is told where it keeps a pod from running.
        why = Counter(
            found.value for found in plan.left_out.values() if plan.pending or found is not Obstacle.RESOURCES
        )
        if why:
            reasons = ", ".join(f"{one} {number}" for one, number in why.items())
            line = f"not considered: {count(sum(why.values()), 'node')}: {reasons}"
            alike.setdefault(line, []).append(plan.planned.name)
    lines = []
    for line, pods in alike.items():
        more = f" and {len(pods) - _PODS_SHOWN} more" if len(pods) > _PODS_SHOWN else ""
        whose = "" if len(pods) == len(plans) else f"{', '.join(pods[:_PODS_SHOWN])}{more}: "
        lines.append(f"\n{whose}{line}\n")
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """What would happen to the pods of one workload together."""

    kind: str
    namespace: str
    name: str
    results: Mapping[str, int]

    @property
    def pods(self) -> int:
        """How many pods it makes."""
        return sum(self.results.values())


def workload_plans(plans: Sequence[PodPlan]) -> list[WorkloadPlan]:
    """Count the results per workload, in the order of the manifests; pods by themselves are none."""
    found: dict[tuple[str, str, str, str], Counter[str]] = {}
    for plan in plans:
        if plan.planned.owner is not None:
            key = (
                plan.planned.place,
                plan.planned.owner[0],
                plan.planned.pod.namespace,
                plan.planned.owner[1],
            )
            found.setdefault(key, Counter())[plan.result] += 1
    return [WorkloadPlan(*key[1:], results=results) for key, results in found.items()]


def _sum(plans: Sequence[PodPlan]) -> str:
    """Say how many pods of a workload fit where not all do, and count the results where they differ."""
    text = ""
    for one in workload_plans(plans):
        fit = one.results.get("admitted", 0)
        if fit < one.pods and one.pods > 1:
            rest = ", ".join(f"{number} {word}" for word, number in one.results.items() if word != "admitted")
            text += (
                f"\n{one.kind} {one.namespace}/{one.name}: {fit} of {count(one.pods, 'pod')} fit, {rest}\n"
            )
    results = Counter(plan.result for plan in plans)
    if len(results) > 1:
        text += "\n" + ", ".join(f"{number} {result}" for result, number in results.items()) + "\n"
    return text


def plan_summary(plans: Sequence[PodPlan]) -> dict[str, Any]:
    """Return the counts for programs: of all pods, and of each workload."""

    def counts(results: Mapping[str, int]) -> dict[str, int]:
        words = {
            "admitted": "admitted",
            "refused": "refused",
            "pending": "pending",
            "notManaged": "not managed",
        }
        return {field: results.get(word, 0) for field, word in words.items()}

    return {
        **counts(Counter(plan.result for plan in plans)),
        "workloads": [
            {"kind": one.kind, "namespace": one.namespace, "name": one.name, **counts(one.results)}
            for one in workload_plans(plans)
        ],
    }


def _row(plan: PodPlan) -> tuple[str, ...]:
    if plan.grant is None:
        return plan.planned.name, "", plan.result, "", "", "", ""
    summary = pod_allocation.render_summary(plan.grant, plan.numa)
    shown = (summary["cpus"], summary["numa"], summary["exclusive"], summary["shared"])
    return plan.planned.name, plan.node, "admitted", *shown


def _containers(plan: PodPlan) -> list[tuple[str, ...]]:
    if plan.grant is None:
        return []
    spec = pod_allocation.render_spec(plan.grant, plan.node, pod_allocation.Decision(admitted=True))
    return [
        (
            plan.planned.name,
            one["name"],
            one["kind"],
            one["assignment"]["cpu"],
            one.get("cpus", "node pool"),
            one.get("memoryNodes", ""),
            "max" if one["cpuQuota"] < 0 else f"{one['cpuQuota']}/{one['cpuPeriod']}",
        )
        for one in spec["containers"]
    ]


def _candidates(plan: PodPlan) -> list[tuple[str, ...]]:
    return [
        (
            plan.planned.name,
            one.node,
            *map(str, (one.effect.numa_nodes, one.effect.breaks, one.effect.gap, one.effect.left)),
        )
        for one in plan.candidates[:_CANDIDATES_SHOWN]
    ]


def plan_data(plan: PodPlan) -> dict[str, Any]:
    """Return one plan for programs; `allocation` is the spec that the operator would write."""
    allocation = None
    if plan.grant is not None:
        decision = pod_allocation.Decision(admitted=True)
        allocation = pod_allocation.render_spec(plan.grant, plan.node, decision, numa=plan.numa)
    return {
        "namespace": plan.planned.pod.namespace,
        "name": plan.planned.pod.name,
        "manifest": plan.planned.place,
        "result": plan.result,
        "managed": plan.managed,
        "admitted": plan.grant is not None,
        "node": plan.node or None,
        "allocation": allocation,
        "refusals": [
            {
                "node": one.node,
                "reason": one.reason,
                "message": one.message,
                "explanation": one.explanation,
            }
            for one in plan.refusals
        ],
        "note": plan.note,
        "candidates": [candidate_data(one) for one in plan.candidates[:_CANDIDATES_LISTED]],
        "notConsidered": {name: found.value for name, found in plan.left_out.items()},
    }
