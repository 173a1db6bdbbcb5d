"""`podnuma plan`: what would happen to these pods on these nodes. Nothing is changed or scheduled.

Pods are decided in the order of their manifests, each on the first node, by name, that admits it,
and what they get is held against the later ones. Decisions are the allocator's own, on the state
that PodAllocations describe, so an answer is the operator's as long as nothing else happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from podnuma.allocator import Admitted, NodeSet, PodGrant, Rejected
from podnuma.allocator.explain.shortage import describe_shortage
from podnuma.api import pod_allocation
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_settings import NodeSettings
from podnuma.api.selector import EVERYTHING
from podnuma.cli.commands import output
from podnuma.cli.commands.options import Context, Files, Kubeconfig, Output, OutputFormat, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.nodes import CandidateNode, candidate_nodes
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, open_source
from podnuma.cli.objects.workloads import PlannedPod, expand
from podnuma.cli.render.wording import columns

app = new_app()

NamespaceLabels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """Why one node refuses a pod: the kubelet's reason and message, and what was asked and free."""

    node: str
    reason: str
    message: str
    explanation: str


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What would happen to one pod. `grant` None: no node admits it, or none manages it (`managed` False).

    `numa`: the NUMA nodes of the CPUs and memory it would hold.
    """

    planned: PlannedPod
    node: str
    grant: PodGrant | None
    refusals: tuple[NodeRefusal, ...]
    managed: bool = True
    numa: NodeSet | None = None

    @property
    def refused(self) -> bool:
        """Whether every node that manages the pod refuses it."""
        return self.managed and self.grant is None


def plan_pods(
    pods: Sequence[PlannedPod], nodes: Sequence[CandidateNode], labels: NamespaceLabels
) -> list[PodPlan]:
    """Decide the pods in turn; `labels` are those of namespaces, for profiles that select by them."""
    return [_place(pod, nodes, labels.get(pod.pod.namespace, {})) for pod in pods]


def _place(planned: PlannedPod, nodes: Sequence[CandidateNode], namespace: Mapping[str, str]) -> PodPlan:
    managing = [one for one in nodes if one.settings.pod_policy.manages(planned.labels, namespace)]
    refusals: list[NodeRefusal] = []
    for candidate in managing:
        match candidate.allocator.decide(planned.pod):
            case Admitted() as admitted:
                candidate.allocator.hold(admitted)
                numa = pod_allocation.numa_nodes(admitted.grant, candidate.allocator.topology)
                return PodPlan(planned, candidate.name, admitted.grant, tuple(refusals), numa=numa)
            case Rejected() as rejected:
                shortage = describe_shortage(candidate.allocator, planned.pod)
                refusals.append(
                    NodeRefusal(candidate.name, rejected.reason.value, rejected.message, shortage)
                )
    return PodPlan(planned, "", None, tuple(refusals), managed=bool(managing))


@app.command("plan")
def plan_manifests(
    manifests: Annotated[
        list[str],
        typer.Option("--filename", "-f", metavar="FILE", help="manifests: file, folder or -; repeatable"),
    ],
    node: Annotated[str, typer.Option(help="on this node only")] = "",
    profile: Annotated[
        str, typer.Option(help="on nodes with this profile; if it is a file, with its settings on all")
    ] = "",
    form: Output = OutputFormat.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell what would happen to these pods, without changing anything."""
    source = open_source(files, kubeconfig, context)
    raise typer.Exit(print_plan(source, manifests, node, profile, form))


def print_plan(
    source: ObjectSource, files: Sequence[str], node: str, profile: str, form: OutputFormat
) -> Exit:
    """Plan the pods in `files`, print what would happen, and return NO if one would be refused."""
    expanded = expand(read_documents(files))
    nodes, labels = _nodes(source, node, profile)
    plans = plan_pods(expanded.pods, nodes, labels)
    for line in (*expanded.skipped, *expanded.guessed, *expanded.not_understood, *expanded.problems):
        output.note(line)
    if form.structured:
        output.dump([plan_data(plan) for plan in plans], form)
    else:
        output.write(plan_text(plans, wide=form is OutputFormat.WIDE))
    if expanded.problems:
        return Exit.INPUT
    return Exit.NO if any(plan.refused for plan in plans) else Exit.OK


def _nodes(source: ObjectSource, node: str, profile: str) -> tuple[list[CandidateNode], NamespaceLabels]:
    topologies, allocations = source.fetch(queries.node_topologies(node), queries.pod_allocations(node))
    instead = None
    if profile and Path(profile).exists():
        instead = _settings(profile)
    elif profile:
        topologies = [one for one in topologies if _profile_of(one) == profile]
    found, problems = candidate_nodes(topologies, allocations, instead)
    for line in (*problems, *(remark for one in found for remark in one.remarks)):
        output.note(line)
    if not found:
        which = f" with profile {profile}" if profile and instead is None else ""
        raise Failure(
            Exit.NOT_FOUND,
            f"no node{which} can be planned on: a NodeTopology with status.hardware is needed; "
            "see `kubectl get nodetopologies`, or `podnuma discover` for a machine outside",
        )
    selecting = any(one.settings.pod_policy.namespace_selector != EVERYTHING for one in found)
    namespaces = source.fetch(queries.namespaces())[0] if selecting else []
    return found, {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces}


def _settings(file: str) -> NodeSettings:
    profiles = [document for document in read_documents([file]) if document.kind == "NodeProfile"]
    if len(profiles) != 1:
        raise Failure(Exit.INPUT, f"{file}: expected one NodeProfile, found {len(profiles)}")
    try:
        return read_node_profile(profiles[0].value).node
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{profiles[0].place}: {one}" for one in error.errors)) from error


def _profile_of(topology: Json) -> str:
    name: str = ((topology.get("spec") or {}).get("profile") or {}).get("name", "")
    return name


def plan_text(plans: Sequence[PodPlan], *, wide: bool) -> str:
    """Write the plans as a table with refusals below; `wide` adds a table of containers."""
    heads = ("POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED")
    text = columns(heads, [_row(plan) for plan in plans])
    if wide:
        heads = ("POD", "CONTAINER", "KIND", "ASSIGNMENT", "CPUS", "MEMS", "QUOTA")
        rows = [row for plan in plans for row in _containers(plan)]
        text += "\n" + columns(heads, rows) if rows else ""
    refused = [plan for plan in plans if plan.refused]
    return text + "".join(
        f"\n{plan.planned.name} on {one.node}: {one.reason}: {one.message}; {one.explanation}\n"
        for plan in refused
        for one in plan.refusals
    )


def _row(plan: PodPlan) -> tuple[str, ...]:
    if not plan.managed:
        return plan.planned.name, "", "not managed", "", "", "", ""
    if plan.grant is None:
        return plan.planned.name, "", "refused", "", "", "", ""
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


def plan_data(plan: PodPlan) -> dict[str, Any]:
    """Return one plan for programs; `allocation` is the spec that the operator would write."""
    allocation = None
    if plan.grant is not None:
        decision = pod_allocation.Decision(admitted=True)
        allocation = pod_allocation.render_spec(plan.grant, plan.node, decision, numa=plan.numa)
    return {
        "pod": plan.planned.name,
        "manifest": plan.planned.place,
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
    }
