"""`podnuma explain`: one pod's decision, step by step, and what the kernel has now.

What *is* stands in the PodAllocation: what was decided, what the agent wrote, what the kernel reports.
What *would* be decided now is computed again, on the node as it is without this pod; for a refused pod
this says why, and what would make it fit. About a pod that is not bound all nodes are asked, also when one
has something reserved for it. Of a pod that is gone, what is kept of its refusal is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from podnuma.allocator import PodRequest
from podnuma.allocator.device_hints import with_granted_devices
from podnuma.allocator.explain.explanation import explain as explain_decision
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.kept_refusals import KeptRefusal
from podnuma.api.node_profile import NodeProfile
from podnuma.api.pod import read_pod
from podnuma.api.pod_allocation import PodAllocation, read_pod_allocation
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.api.pod_resize import allocated, kubelet_holds_back
from podnuma.api.resource_types import POD
from podnuma.api.scheduling import read_schedulable_node
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.completion import complete_node, complete_pod, complete_profile
from podnuma.cli.commands.explain_waiting import explain_waiting
from podnuma.cli.commands.explain_workload import explain_workload, refusal_data, refusals_text
from podnuma.cli.commands.options import Namespace, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.admission_policies import admission_policies
from podnuma.cli.objects.asked_names import asked_object
from podnuma.cli.objects.candidate_nodes import (
    CandidateNode,
    candidate_node,
    fitting,
    is_managed,
    own_settings,
)
from podnuma.cli.objects.devices_not_chosen import devices_not_chosen
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.nodes import read_topology
from podnuma.cli.objects.old_reports import unknown_values
from podnuma.cli.objects.profiles import profile_named
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, near_name, one_namespace, read_if_allowed
from podnuma.cli.objects.workload_pods import refusals_of_pod
from podnuma.cli.objects.workloads import first_pod
from podnuma.cli.render.explain_data import explanation_data
from podnuma.cli.render.explain_report import explanation_text
from podnuma.cli.render.pod_explanation import PodExplanation

app = new_app()

_IF_EVICTED = (
    "if it was evicted, explain its workload: deploy/NAME, sts/NAME or job/NAME, "
    "or its manifest: -f FILE --node NODE"
)


@app.command(
    "explain",
    epilog=examples(
        "podnuma explain database",
        "podnuma explain shop/database -o wide",
        "podnuma explain database --watch",
        "podnuma explain deploy/web -n shop",
        "podnuma explain -f pod.yaml --node node-1",
        "podnuma explain -f pod.yaml --node node-1 --profile profile.yaml",
    ),
)
@answering(watch=True)
def explain_pod(
    source: ObjectSource,
    pod: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[POD]",
            help="NAME, NAMESPACE/NAME, pod NAME; a workload as deploy/NAME, sts/NAME or job/NAME",
            autocompletion=complete_pod,
        ),
    ] = None,
    manifests: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", metavar="FILE", help="the pod of a manifest instead, with --node"),
    ] = None,
    namespace: Namespace = "",
    node: Annotated[
        str,
        typer.Option(
            help="what this node would decide, instead of the pod's own", autocompletion=complete_node
        ),
    ] = "",
    profile: Annotated[
        str,
        typer.Option(
            help="what would be decided with this profile, by name or from a file",
            autocompletion=complete_profile,
        ),
    ] = "",
) -> Answer:
    """Explain why a pod is where it is, or why it was refused and what would make it fit."""
    namespace = one_namespace(source, namespace)
    if manifests:
        value = from_manifests(source, manifests, namespace)
        key = (value["metadata"]["namespace"], value["metadata"]["name"])
        return explain_one(source, key, node, value, profile=profile)
    asked = asked_object(pod or [], namespace)
    if asked.type is not POD:
        return explain_workload(source, asked)
    return explain_one(source, (asked.namespace, asked.name), node, profile=profile)


def from_manifests(source: ObjectSource, files: Sequence[str], namespace: str) -> Json:
    """Return the first pod of some manifests, as it would be stored: a refused pod may no longer exist."""
    documents = read_documents(files)
    policies = admission_policies(source, documents, namespace, output.note)
    stored: Json = policies.admit(first_pod(documents, namespace))
    if refused := tuple(policies.refusals(stored)):
        raise Failure(Exit.INPUT, *refused)
    return stored


def explain_one(
    source: ObjectSource,
    key: tuple[str, str],
    node: str,
    manifest: Json | None = None,
    *,
    profile: str = "",
) -> Answer:
    """Explain one pod; NO if it is refused, drifted or not pinned. `node`: ask this one, not its own."""
    if manifest is None and (kept := _refusals_if_gone(source, *key)):
        return _explain_gone(key, kept)
    if manifest is None and not node and (waiting := _waiting(source, *key)) is not None:
        value, reserved = waiting
        try:
            return explain_waiting(source, value, _read(value), profile, reserved)
        except Failure as failure:
            if reserved is None or failure.code is not Exit.FORBIDDEN:
                raise
            output.note(f"other nodes are left out: {failure.lines[0]}")
    explained, remarks = gather(source, *key, node, manifest, profile=profile)
    for remark in remarks:
        output.note(remark)
    return Answer(
        output.AnswerKind.POD_EXPLANATION,
        [explanation_data(explained)],
        lambda style: explanation_text(explained, wide=style.wide),
        code=Exit.OK if explained.healthy else Exit.NO,
    )


def _waiting(source: ObjectSource, namespace: str, name: str) -> tuple[Json, PodAllocation | None] | None:
    """Return a pod that exists and is not bound, with what is reserved for it; None if it is decided."""
    value = source.find(queries.pods(namespace, name))
    if value is None or (value.get("spec") or {}).get("nodeName"):
        return None
    allocation = source.find(queries.pod_allocation(namespace, name))
    if not _node_of(value, allocation):
        return _in_namespace(value, namespace), None
    stored = _stored(allocation)
    if stored is None or not stored.decision.reserved:
        return None
    return _in_namespace(value, namespace), stored


def _refusals_if_gone(source: ObjectSource, namespace: str, name: str) -> Sequence[KeptRefusal]:
    if source.find(queries.pods(namespace, name)) is not None:
        return ()
    return refusals_of_pod(source, namespace, name)


def _explain_gone(key: tuple[str, str], kept: Sequence[KeptRefusal]) -> Answer:
    return Answer(
        output.AnswerKind.POD_REFUSAL,
        [{"namespace": key[0], **refusal_data(one)} for one in kept],
        lambda _: f"pod {key[0]}/{key[1]} is gone; it was refused\n{refusals_text(kept)}",
        code=Exit.NO,
    )


def gather(
    source: ObjectSource,
    namespace: str,
    name: str,
    node: str,
    manifest: Json | None = None,
    *,
    profile: str = "",
) -> tuple[PodExplanation, Sequence[str]]:
    """Read everything about a pod and its node, with remarks on the node. Failure names what is missing."""
    value = manifest or source.find(queries.pods(namespace, name))
    allocation = None if manifest else source.find(queries.pod_allocation(namespace, name))
    if value is None:
        near = near_name(source, queries.pods(namespace, name))
        gone = f"there is no pod {namespace}/{name}"
        raise Failure(Exit.NOT_FOUND, *((gone + near, _IF_EVICTED) if near else (f"{gone}; {_IF_EVICTED}",)))
    where = node or _node_of(value, allocation)
    if not where:
        raise Failure(
            Exit.NOT_FOUND,
            f"pod {namespace}/{name} is on no node yet; name one with --node NODE to see what would happen",
        )
    value = _in_namespace(value, namespace)
    pod = _read(value)
    granted = allocated(value, pod)
    unresized, held_back = None if granted == pod else granted, kubelet_holds_back(value)
    stored = _stored(allocation) if not node or node == _node_of(value, allocation) else None
    unknown = next(iter(unknown_values(source, [stored]).values()), "") if stored is not None else ""
    tried = profile_named(source, profile) if profile else None
    asked = None
    try:
        asked, missing = _asked(source, where, tried)
    except Failure as failure:
        if failure.code not in (Exit.NOT_FOUND, Exit.INPUT):
            raise
        if stored is None or tried is not None:
            text = f"pod {namespace}/{name} gets nothing exclusive: {failure.lines[0]}"
            raise Failure(failure.code, text, *failure.lines[1:]) from failure
        missing = "; ".join(failure.lines)
    if asked is None:
        if stored is None:
            raise Failure(
                Exit.FORBIDDEN, f"nothing is decided about pod {namespace}/{name} yet, and {missing}"
            )
        remark = f"{missing}: what would be decided now is left out"
        return PodExplanation(
            pod,
            managed=True,
            stored=stored,
            node_name=where,
            allocated=unresized,
            held_back=held_back,
            unknown=unknown,
        ), (remark,)
    explained = PodExplanation(
        pod=pod,
        managed=is_managed(source, asked, value),
        stored=stored,
        node_name=asked.name,
        allocated=unresized,
        held_back=held_back,
        unknown=unknown,
        allocator=asked.allocator,
        now=explain_decision(asked.allocator, _with_devices(pod, stored)),
    )
    devices = "" if stored else devices_not_chosen(value)
    return explained, (*asked.remarks, *([devices] if devices else []))


def _with_devices(pod: PodRequest, stored: PodAllocation | None) -> PodRequest:
    """Return the pod with the devices that its decision names; claims and slices are not read here."""
    return pod if stored is None else with_granted_devices(pod, stored.grant)


def _asked(source: ObjectSource, node: str, tried: NodeProfile | None) -> tuple[CandidateNode | None, str]:
    """Return the node with what all its pods hold; None and why, if this user may not read that."""
    try:
        topologies, why = read_if_allowed(source, queries.node_topologies(node))
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        raise Failure(
            Exit.NOT_FOUND,
            f"node {node} is not managed by podnuma: {failure.lines[0]}, so no agent runs there; "
            "see `kubectl get nodeprofiles,nodetopologies`",
        ) from failure
    if topologies is None:
        return None, why
    allocations, why = read_if_allowed(source, queries.pod_allocations(node))
    if allocations is None:
        return None, f"{why} of all namespaces"
    topology = read_topology(topologies[0])
    settings = own_settings(topology)
    if tried is not None:
        settings = fitting(topology, tried.name, tried.settings_on(_kubelet_version(source, node)))
    return candidate_node(topology, allocations, settings), ""


def _kubelet_version(source: ObjectSource, node: str) -> str:
    nodes, _ = read_if_allowed(source, queries.nodes())
    known = map(read_schedulable_node, nodes or ())
    return next((one.kubelet_version for one in known if one.name == node), "")


def _node_of(pod: Json, allocation: Json | None) -> str:
    bound: str = (pod.get("spec") or {}).get("nodeName") or ""
    return bound or ((allocation or {}).get("spec") or {}).get("nodeName", "")


def _in_namespace(pod: Json, namespace: str) -> Json:
    """Fill in the namespace, which a manifest may leave out."""
    return {**pod, "metadata": {"namespace": namespace, **(pod.get("metadata") or {})}}


def _read(value: Mapping[str, Any]) -> PodRequest:
    try:
        return read_pod(with_api_defaults(value))
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.errors)) from error


def _stored(value: Json | None) -> PodAllocation | None:
    if value is None:
        return None
    try:
        return read_pod_allocation(value)
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.errors)) from error
