"""`podnuma plan resize`: what a running pod would hold after a resize in place. Nothing is changed.

The answer is the allocator's, on what PodAllocations say that all pods of the node hold now, and what the
node's profile says of resizes; the operator's is the same as long as nothing else happens. So is that of the
kubelet, which has to accept a resize first. What the API server would refuse is refused here as well: another
QoS class, a budget below what its containers request, amounts outside of a LimitRange. As there, a LimitRange
first gives its defaults to all containers without a request or limit, whatever is resized. A budget may stand
in the pod's annotation, of which API server and kubelet know nothing.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from podnuma.allocator import Admitted, PodGrant, PodRequest, Quantity, cpuset
from podnuma.allocator.eligibility import qos
from podnuma.allocator.explain.brief import brief_resize
from podnuma.allocator.resize.decide import ResizeRefused
from podnuma.api import names
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.limit_ranges import outside_range, with_range_defaults
from podnuma.api.pod import read_pod
from podnuma.api.pod_allocation import Decision, ResizeReason, render_spec
from podnuma.api.quantity import read_quantity
from podnuma.api.resize_policy import why_ignored
from podnuma.api.stored_json import object_at
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.candidate_nodes import CandidateNode, candidate_node, is_managed, own_settings
from podnuma.cli.objects.kubelet_room import no_room
from podnuma.cli.objects.nodes import read_topology
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, near_name, read_or_note
from podnuma.cli.render.wording import columns


@dataclass(frozen=True, slots=True)
class NewAmounts:
    """What is to be changed: CPUs and memory of the budget, CPUs of containers by name; empty: nothing."""

    cpu: str = ""
    memory: str = ""
    containers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """What a pod holds (None: nothing), and what it would hold, or why it would not."""

    pod: PodRequest
    node: str
    before: PodGrant | None
    after: PodGrant | None
    reason: ResizeReason | None = None
    message: str = ""


def answer_resize(source: ObjectSource, key: tuple[str, str], new: NewAmounts) -> Answer:
    """Tell what a resize would give; NO if the pod would keep what it has."""
    plan = plan_resize(source, key, new)
    return Answer(
        output.AnswerKind.POD_RESIZE,
        [resize_data(plan)],
        lambda _: resize_text(plan),
        code=Exit.NO if plan.after is None else Exit.OK,
    )


def plan_resize(source: ObjectSource, key: tuple[str, str], new: NewAmounts) -> ResizePlan:
    """Ask the pod's node. Failure names what is missing or would be refused by the API server."""
    value = source.find(queries.pods(*key))
    if value is None:
        near = near_name(source, queries.pods(*key))
        raise Failure(Exit.NOT_FOUND, f"there is no pod {key[0]}/{key[1]}{near}")
    node = (value.get("spec") or {}).get("nodeName") or ""
    if not node:
        raise Failure(
            Exit.NOT_FOUND, f"pod {key[0]}/{key[1]} is on no node yet; only running pods are resized"
        )
    _read(value)
    changed = resized(value, new)
    ranges = _ranges(source, key) if changed["spec"] != value["spec"] else ()
    changed = _filled(changed, ranges)
    after = _read(changed)
    was, now = (qos(_read(_as_the_api_server_reads(one))) for one in (value, changed))
    if was is not now:
        raise Failure(
            Exit.INPUT,
            f"pod {key[0]}/{key[1]} would be {now.value} instead of {was.value}; the API "
            "server refuses another QoS class: name all containers, or the budget",
        )
    _check_ranges(ranges, key, changed)
    candidate = _node(source, node)
    for remark in candidate.remarks:
        output.note(remark)
    allocator = candidate.allocator
    held = allocator.grants.get(after.uid)
    if held is None and not is_managed(source, candidate, value):
        raise Failure(
            Exit.NOT_FOUND,
            f"pod {key[0]}/{key[1]} holds nothing on {node} and is not managed, by management and "
            "selectors of the node's profile: podnuma does nothing for it, whatever it is resized to; see "
            f"`kubectl get nodetopology {node} -o yaml`, spec",
        )
    if held is not None and (ignored := why_ignored(candidate.settings.pod_policy.resize, held, after)):
        return ResizePlan(after, node, held, None, ResizeReason.IGNORED, ignored)
    match allocator.resize(after):
        case Admitted() as answer:
            if room := no_room(source, value, changed, output.note):
                reason = ResizeReason.DEFERRED if room.ever else ResizeReason.INFEASIBLE
                return ResizePlan(after, node, held, None, reason, room.message)
            return ResizePlan(after, node, held, answer.grant)
        case ResizeRefused() as refused:
            reason = ResizeReason.DEFERRED if refused.feasible else ResizeReason.INFEASIBLE
            return ResizePlan(after, node, held, None, reason, brief_resize(allocator, after, refused))


def resized(pod: Json, new: NewAmounts) -> Json:
    """Return the pod with new requests, and limits where these are equal to them or would be below."""
    changed: Json = deepcopy(pod)
    spec = changed["spec"]
    budget = {name: amount for name, amount in (("cpu", new.cpu), ("memory", new.memory)) if amount}
    annotations = changed["metadata"].get("annotations") or {}
    written = annotations.get(names.RESOURCES_ANNOTATION)
    if budget and not (spec.get("resources") or written):
        raise Failure(
            Exit.INPUT,
            "the pod has no budget of its own (spec.resources): name its containers, --container NAME=CPUS",
        )
    resources = spec.get("resources") or json.loads(written or "{}")
    for name, amount in budget.items():
        _change(resources, name, amount)
    if budget and not spec.get("resources"):
        annotations[names.RESOURCES_ANNOTATION] = json.dumps(resources)
    known = {one["name"]: one for one in (*spec.get("initContainers", ()), *spec["containers"])}
    for name, amount in new.containers.items():
        if name not in known:
            raise Failure(Exit.INPUT, f"the pod has no container {name!r}; it has {', '.join(sorted(known))}")
        _change(known[name].setdefault("resources", {}), "cpu", amount)
    return changed


def _change(resources: dict[str, Any], name: str, amount: str) -> None:
    """Set a request, and the limit with it where they are equal or the limit would be below."""
    for side in ("requests", "limits"):
        resources[side] = dict(resources.get(side) or {})
    requests, limits = resources["requests"], resources["limits"]
    before, limit, now = _amount(requests.get(name)), _amount(limits.get(name)), _amount(amount)
    requests[name] = amount
    below = limit is not None and now is not None and limit.nano < now.nano
    if before is None or before == limit or below:
        limits[name] = amount


def _amount(value: Any) -> Quantity | None:
    try:
        return None if value is None else read_quantity(value)
    except ValueError:
        return None  # named when the pod is read


def _as_the_api_server_reads(value: Json) -> Json:
    """Return the pod without the annotation that may have its budget: the API server classes it without."""
    metadata = value["metadata"]
    others = {
        name: text
        for name, text in (metadata.get("annotations") or {}).items()
        if name != names.RESOURCES_ANNOTATION
    }
    return {**value, "metadata": {**metadata, "annotations": others}}


def parse_containers(words: Sequence[str]) -> dict[str, str]:
    """Read NAME=CPUS. Failure names what is not."""
    found = {}
    for word in words:
        name, equals, amount = word.partition("=")
        if not (name and equals and amount):
            raise Failure(Exit.USAGE, f"--container {word!r}: write NAME=CPUS, for example database=4")
        found[name] = amount
    return found


def resize_text(plan: ResizePlan) -> str:
    """Write the plan for people: each container's CPUs, what it gets and what it gives up."""
    head = f"pod {plan.pod.namespace}/{plan.pod.name} on {plan.node}: "
    if plan.after is None:
        reason = plan.reason.value if plan.reason is not None else ""
        return f"{head}{reason}, it would keep what it has: {plan.message}\n"
    rows = [_row("pod", _whole(plan.before), _whole(plan.after))]
    before = {one.name: one.cpus or 0 for one in plan.before.containers} if plan.before is not None else {}
    rows += [_row(one.name, before.get(one.name, 0), one.cpus or 0) for one in plan.after.containers]
    return f"{head}followed\n" + columns(("", "HAS", "WOULD HAVE", "GETS", "GIVES UP"), rows)


def resize_data(plan: ResizePlan) -> dict[str, Any]:
    """Return the plan for programs."""
    return {
        "namespace": plan.pod.namespace,
        "name": plan.pod.name,
        "node": plan.node,
        "followed": plan.after is not None,
        "reason": None if plan.reason is None else plan.reason.value,
        "message": plan.message,
        "before": _spec(plan.before, plan.node),
        "after": _spec(plan.after, plan.node),
    }


def _spec(grant: PodGrant | None, node: str) -> dict[str, Any] | None:
    return None if grant is None else render_spec(grant, node, Decision(admitted=True))


def _whole(grant: PodGrant | None) -> int:
    return 0 if grant is None else grant.exclusive_cpus


def _row(name: str, before: int, after: int) -> tuple[str, ...]:
    shown = [cpuset.render(cpus) or "-" for cpus in (before, after, after & ~before, before & ~after)]
    return (name, *shown)


def _node(source: ObjectSource, node: str) -> CandidateNode:
    topologies, allocations = source.fetch(queries.node_topologies(node), queries.pod_allocations(node))
    if not topologies:
        raise Failure(Exit.NOT_FOUND, f"node {node} has no NodeTopology: podnuma does not manage it")
    topology = read_topology(topologies[0])
    return candidate_node(topology, allocations, own_settings(topology))


def _ranges(source: ObjectSource, key: tuple[str, str]) -> Sequence[Json]:
    return read_or_note(source, queries.limit_ranges(key[0]), output.note) or ()


def _filled(pod: Json, ranges: Sequence[Json]) -> Json:
    """Return the pod with the defaults of the LimitRanges, and note which containers get some."""
    spec = pod["spec"]
    for one in ranges:
        given = with_range_defaults(spec, one)
        named = [
            str(after.get("name"))
            for part in ("initContainers", "containers")
            for before, after in zip(spec.get(part) or (), given.get(part) or (), strict=True)
            if before != after
        ]
        if named:
            output.note(
                f"LimitRange {object_at(one, 'metadata').get('name') or ''} gives its defaults to "
                f"{', '.join(named)}: the API server fills in all containers at each resize"
            )
        spec = given
    return {**pod, "spec": spec}


def _check_ranges(ranges: Sequence[Json], key: tuple[str, str], changed: Json) -> None:
    if refused := [line for one in ranges for line in outside_range(changed["spec"], one)]:
        raise Failure(Exit.INPUT, *(f"pod {key[0]}/{key[1]}, {line}" for line in refused))


def _read(value: Json) -> PodRequest:
    # The class that is stored is that of the old amounts.
    fresh = {**value, "status": {}}
    try:
        return read_pod(fresh)
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.errors)) from error
