"""`podnuma plan`: what would happen to these pods on these nodes. Nothing is changed, nothing scheduled.

Pods are decided in the order of their manifests, each on the first node, by name, that admits it;
what an earlier one got is held for the later ones. Decisions are the allocator's own, on the state
that PodAllocations describe, so an answer is the operator's as long as nothing else happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podnuma.allocator import Admitted, NodeSet, PodGrant, Rejected
from podnuma.api import pod_allocation
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_settings import NodeSettings
from podnuma.api.reading import ApiError
from podnuma.api.selector import EVERYTHING
from podnuma.cli import documents, output, wanted
from podnuma.cli.candidates import Candidate, candidates
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.sources import Json, Source
from podnuma.cli.workloads import Planned, unfold

Labels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one node does not take a pod."""

    node: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would happen to one pod. `grant` None: no node admits it, or none manages it (`managed` False).

    `numa`: the NUMA nodes of what it would hold.
    """

    planned: Planned
    node: str
    grant: PodGrant | None
    refusals: tuple[Refusal, ...]
    managed: bool = True
    numa: NodeSet | None = None

    @property
    def refused(self) -> bool:
        """Whether the pod asks for something that no node can give."""
        return self.managed and self.grant is None


def decide(pods: Sequence[Planned], nodes: Sequence[Candidate], labels: Labels) -> list[Outcome]:
    """Decide every pod in turn; `labels` are those of namespaces, for profiles that select by them."""
    return [_place(pod, nodes, labels.get(pod.pod.namespace, {})) for pod in pods]


def _place(planned: Planned, nodes: Sequence[Candidate], namespace: Mapping[str, str]) -> Outcome:
    managing = [one for one in nodes if one.settings.handling.manages(planned.labels, namespace)]
    refusals: list[Refusal] = []
    for candidate in managing:
        match candidate.node.decide(planned.pod):
            case Admitted() as admitted:
                candidate.node.hold(admitted)
                numa = pod_allocation.numa_nodes(admitted.grant, candidate.node.topology)
                return Outcome(planned, candidate.name, admitted.grant, tuple(refusals), numa=numa)
            case Rejected() as rejected:
                refusals.append(Refusal(candidate.name, rejected.reason.value, rejected.message))
    return Outcome(planned, "", None, tuple(refusals), managed=bool(managing))


def answer(source: Source, files: Sequence[str], node: str, profile: str, form: Form) -> Exit:
    """Plan the pods in `files`, print what would happen, and return NO if one would be refused."""
    unfolded = unfold(documents.read(files))
    nodes, labels = _nodes(source, node, profile)
    outcomes = decide(unfolded.pods, nodes, labels)
    for line in (*unfolded.left_out, *unfolded.problems):
        output.note(line)
    if form.for_programs:
        output.dump([as_data(outcome) for outcome in outcomes], form)
    else:
        output.write(as_text(outcomes, wide=form is Form.WIDE))
    if unfolded.problems:
        return Exit.INPUT
    return Exit.NO if any(outcome.refused for outcome in outcomes) else Exit.OK


def _nodes(source: Source, node: str, profile: str) -> tuple[list[Candidate], Labels]:
    topologies, allocations = source.fetch(wanted.topologies(node), wanted.allocations(node))
    instead = None
    if profile and Path(profile).exists():
        instead = _settings(profile)
    elif profile:
        topologies = [one for one in topologies if _profile_of(one) == profile]
    found, problems = candidates(topologies, allocations, instead)
    for line in (*problems, *(note for one in found for note in one.notes)):
        output.note(line)
    if not found:
        which = f" with profile {profile}" if profile and instead is None else ""
        raise Failure(
            Exit.NOT_FOUND,
            f"no node{which} can be planned on: a NodeTopology with status.hardware is needed; "
            "see `kubectl get nodetopologies`, or `podnuma discover` for a machine outside",
        )
    selecting = any(one.settings.handling.namespace_selector != EVERYTHING for one in found)
    namespaces = source.fetch(wanted.namespaces())[0] if selecting else []
    return found, {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces}


def _settings(file: str) -> NodeSettings:
    profiles = [document for document in documents.read([file]) if document.kind == "NodeProfile"]
    if len(profiles) != 1:
        raise Failure(Exit.INPUT, f"{file}: one NodeProfile is expected, there are {len(profiles)}")
    try:
        return read_node_profile(profiles[0].value).node
    except ApiError as error:
        raise Failure(Exit.INPUT, *(f"{profiles[0].place}: {one}" for one in error.problems)) from error


def _profile_of(topology: Json) -> str:
    name: str = ((topology.get("spec") or {}).get("profile") or {}).get("name", "")
    return name


def as_text(outcomes: Sequence[Outcome], *, wide: bool) -> str:
    """Set the outcomes as a table, refusals below it; `wide` adds a table of containers."""
    heads = ("POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED")
    text = output.columns(heads, [_row(outcome) for outcome in outcomes])
    if wide:
        heads = ("POD", "CONTAINER", "KIND", "ASSIGNMENT", "CPUS", "MEMS", "QUOTA")
        rows = [row for outcome in outcomes for row in _containers(outcome)]
        text += "\n" + output.columns(heads, rows) if rows else ""
    refused = [outcome for outcome in outcomes if outcome.refused]
    return text + "".join(
        f"\n{outcome.planned.name} on {refusal.node}: {refusal.reason}: {refusal.message}\n"
        for outcome in refused
        for refusal in outcome.refusals
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    if not outcome.managed:
        return outcome.planned.name, "", "not managed", "", "", "", ""
    if outcome.grant is None:
        return outcome.planned.name, "", "refused", "", "", "", ""
    summary = pod_allocation.render_summary(outcome.grant, outcome.numa)
    shown = (summary["cpus"], summary["numa"], summary["exclusive"], summary["shared"])
    return outcome.planned.name, outcome.node, "admitted", *shown


def _containers(outcome: Outcome) -> list[tuple[str, ...]]:
    if outcome.grant is None:
        return []
    spec = pod_allocation.render_spec(outcome.grant, outcome.node, pod_allocation.Decision(admitted=True))
    return [
        (
            outcome.planned.name,
            one["name"],
            one["kind"],
            one["assignment"]["cpu"],
            one.get("cpus", "node pool"),
            one.get("memoryNodes", ""),
            "max" if one["cpuQuota"] < 0 else f"{one['cpuQuota']}/{one['cpuPeriod']}",
        )
        for one in spec["containers"]
    ]


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return one outcome for programs; `allocation` is the spec that the operator would write."""
    allocation = None
    if outcome.grant is not None:
        decision = pod_allocation.Decision(admitted=True)
        allocation = pod_allocation.render_spec(outcome.grant, outcome.node, decision, numa=outcome.numa)
    return {
        "pod": outcome.planned.name,
        "manifest": outcome.planned.place,
        "managed": outcome.managed,
        "admitted": outcome.grant is not None,
        "node": outcome.node or None,
        "allocation": allocation,
        "refusals": [
            {"node": one.node, "reason": one.reason, "message": one.message} for one in outcome.refusals
        ],
    }
