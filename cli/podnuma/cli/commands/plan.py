"""`podnuma plan`: what would happen to these pods on these nodes. Nothing is changed or scheduled.

A pod is admitted as the API server admits it (`api.pod_admission`) and decided in the order of the manifests
(`pod_plans`), on the state that PodAllocations describe: an answer is the operator's as long as nothing else
happens.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated

import typer
from podnuma.allocator.placement.packing import Packing
from podnuma.api.resource_types import POD
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.asked_nodes import (
    Note,
    learn_classes,
    nodes_to_plan_on,
    pods_on,
    scheduling_view,
)
from podnuma.cli.commands.completion import complete_node, complete_profile
from podnuma.cli.commands.options import Namespace, examples, new_app
from podnuma.cli.commands.plan_quotas import quota_refusals
from podnuma.cli.commands.plan_report import plan_data, plan_summary, plan_text
from podnuma.cli.commands.plan_resize import NewAmounts, answer_resize, parse_containers
from podnuma.cli.commands.pod_plans import PodPlan, plan_pods
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.admission_policies import admission_policies
from podnuma.cli.objects.asked_names import asked_object
from podnuma.cli.objects.controllers import controllers_between
from podnuma.cli.objects.documents import Document, read_documents
from podnuma.cli.objects.running_pods import (
    RunningCount,
    RunningPod,
    count_running,
    owner_of,
    read_running_pods,
)
from podnuma.cli.objects.server_admission import ServerAdmission
from podnuma.cli.objects.sources import ObjectSource, one_namespace
from podnuma.cli.objects.stored_workloads import as_stored
from podnuma.cli.objects.volumes_of_pods import with_volumes
from podnuma.cli.objects.workloads import ExpandedPods, PlannedPod, expand
from podnuma.cli.render.wording import count

app = new_app()

_NAMED = 3


@app.command(
    "plan",
    epilog=examples(
        "podnuma plan -f pods/",
        "podnuma plan -f deployment.yaml --profile profile.yaml",
        "helm template chart | podnuma plan -f - --strict",
        "podnuma plan -f pods/ --from cluster.yaml -o json",
        "podnuma plan -f deployment.yaml --packing Compact -o wide",
        "podnuma plan -f deployment.yaml --server-side",
        "podnuma plan resize database --cpu 6 --container database=4",
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
    asked = asked_object(rest, namespace)
    if asked.type is not POD:
        raise Failure(Exit.USAGE, f"pods are resized one by one: name a pod instead of {asked.label}")
    return asked.namespace, asked.name


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
    if not documents:
        names = ", ".join("standard input" if name == "-" else name for name in files)
        raise Failure(Exit.INPUT, f"{names}: no manifest is there; see what was to write it")
    namespace = one_namespace(source, namespace)
    expanded, plans, beyond_quotas = plan_documents(
        source,
        documents,
        namespace,
        output.note,
        node=node,
        profile=profile,
        packing=packing,
        server_side=server_side,
    )
    missing = beyond_quotas or any(plan.refused or plan.pending for plan in plans)
    code = Exit.NO if missing else Exit.OK
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
) -> tuple[ExpandedPods, list[PodPlan], bool]:
    """Plan the pods of these manifests, and say whether quotas refuse some of them.

    `note` hears what is not considered, guessed or wrong.
    """
    documents, kept = as_stored(documents, source, namespace, note)
    for line in kept:
        note(line)
    computed = admission_policies(source, documents, namespace, note)
    server = ServerAdmission(source, computed) if server_side else None
    expanded = expand(documents, namespace, server or computed)
    _say(expanded, note)
    for line in server.differences if server else ():
        note(f"the API server differs: {line}")
    pods = pods_on(source, node, note)
    view = scheduling_view(source, pods, note)
    expanded = replace(expanded, pods=with_volumes(expanded.pods, source, note))
    constraints = [one.constraints for one in expanded.pods]
    learn_classes(source, view, constraints, note)
    nodes, labels = nodes_to_plan_on(source, node, profile, view, note, constraints)
    if node:
        # Replicas may run on other nodes, too.
        pods = [one for name in _namespaces(expanded) for one in source.fetch(queries.pods(name))[0]]
    between = controllers_between(source, pods, map(owner_of, expanded.pods), note)
    running = count_running(expanded.pods, read_running_pods(pods, between), view)
    holding = {f"{grant.namespace}/{grant.name}" for one in nodes for grant in one.allocator.grants.values()}
    plans = plan_pods(expanded.pods, nodes, labels, view, packing, running)
    _say_what_runs(expanded, running, plans, holding, note)
    refusals = quota_refusals(source, documents, namespace, plans, running, note)
    for line in refusals:
        note(line)
    return expanded, plans, bool(refusals)


def _namespaces(expanded: ExpandedPods) -> list[str]:
    return sorted({one.pod.namespace for one in expanded.pods})


def _say_what_runs(
    expanded: ExpandedPods,
    running: RunningCount,
    plans: Sequence[PodPlan],
    holding: Collection[str],
    note: Note,
) -> None:
    """Say which pods that exist are planned anew, which are more than asked for, and which nobody knows."""
    stalled = {owner_of(plan.planned): plan.planned for plan in plans if plan.stalled}
    if gone := [one for owner, pods in running.replaced_of.items() if owner not in stalled for one in pods]:
        note(
            "planned as if they were gone already, as they ask for something else than the manifest "
            f"or may not stay on their node: {_named(gone)}"
        )
    for owner, pod in stalled.items():
        namespace, kind, name = owner
        alike = sum(owner_of(one) == owner for one in expanded.pods)
        why, way_out = _stalled(kind, pod, alike)
        note(
            f"{kind} {namespace}/{name} could not be rolled out: {why}, and beside "
            f"{_named(running.replaced_of[owner])} no new one has room{way_out}"
        )
    alone = {pod.name for pod in expanded.pods if pod.owner is None}
    if changed := [one for one in running.replaced if one.name in alone]:
        note(f"for a change of a pod that runs: podnuma plan resize {changed[0].name} --cpu CPUS")
    if running.more:
        note(f"more than the manifests ask for, left as they are: {_named(running.more)}")
    seen = {one.name for one in running.every}
    if beside := [pod for pod in expanded.pods if pod.name in holding and pod.name not in seen]:
        note(f"planned beside what a pod of the same name holds that is not known to run: {_named(beside)}")


def _stalled(kind: str, pod: PlannedPod, replicas: int) -> tuple[str, str]:
    """Say why an object of so many replicas keeps its old pods, and what would let one go first."""
    if pod.every_node:
        way_out = (
            "; with maxUnavailable in its place (spec.updateStrategy.rollingUpdate) the old one goes first"
        )
        return "with maxSurge the new pod of a node must be ready before the old one goes", way_out
    if pod.kept_ready > replicas:
        return "all its new pods must be ready before the first old one goes", ""
    field = "canary" if kind == "Rollout" else "rollingUpdate"
    way_out = f"; with spec.strategy.{field}.maxUnavailable: 1 an old one goes first"
    return f"at least {count(pod.kept_ready, 'pod')} of it must be ready all the time", way_out


def _named(pods: Sequence[PlannedPod] | Sequence[RunningPod]) -> str:
    names = list(dict.fromkeys(one.name for one in pods))
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _say(expanded: ExpandedPods, note: Note) -> None:
    lines = (
        *expanded.skipped,
        *expanded.halted,
        *expanded.autoscaled,
        *expanded.guessed,
        *expanded.not_understood,
        *expanded.warned,
        *expanded.problems,
    )
    for line in lines:
        note(line)
    if expanded.not_understood:
        note(f"{count(len(expanded.not_understood), 'object')} not understood; --strict fails on them")
    unseen = sorted({text for pod in expanded.pods for text in pod.constraints.not_considered})
    if unseen:
        note(f"not considered in where pods may go: {', '.join(unseen)}")
