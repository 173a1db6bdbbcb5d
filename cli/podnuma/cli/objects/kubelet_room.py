"""Whether a kubelet has room for a resize: what its node has for pods, less what the other pods request.

The kubelet asks this before anything is given, as the scheduler asks it of new pods, and the CPUs that nobody
has exclusively say nothing of it: what Burstable pods request counts as well (kubernetes/kubernetes#134581).
A resize beyond what the node has for pods is refused for good, any other waits until there is room. What
shrinks needs none. Of extended resources nothing can be resized.

Without the Node, as in files, or for whoever may not read it, there is no answer.
"""

from dataclasses import dataclass

from podnuma.allocator import Quantity
from podnuma.allocator.quantities import format_bytes, format_cpu
from podnuma.allocator.request import CPU, MEMORY
from podnuma.api.pod_needs import Needs, read_pod_needs
from podnuma.api.scheduling import read_schedulable_node
from podnuma.api.stored_json import object_at
from podnuma.cli.objects import queries
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.scheduling_view import SchedulingView
from podnuma.cli.objects.sources import Note, ObjectSource, find_if_allowed, read_or_note


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Why a kubelet does not accept a resize; `ever`: it might, when other pods are gone."""

    message: str
    ever: bool


def no_room(source: ObjectSource, before: Json, after: Json, note: Note) -> NoRoom | None:
    """Return why the kubelet of a pod's node has no room for it resized; None if it has, or nobody knows."""
    name = object_at(before, "spec")["nodeName"]
    had, needs = (read_pod_needs(_without_conditions(pod)) for pod in (before, after))
    grown = [resource for resource in (CPU, MEMORY) if needs.get(resource, 0) > had.get(resource, 0)]
    allocatable = _allocatable(source, name, note) if grown else None
    pods = read_or_note(source, queries.pods(node=name), note) if allocatable is not None else None
    if allocatable is None or pods is None:
        return None
    uid = object_at(before, "metadata").get("uid")
    others = [pod for pod in pods if object_at(pod, "metadata").get("uid") != uid]
    requested: Needs = SchedulingView.of((), others).requested.get(name, {})
    for resource in grown:
        has, wants, used = (amounts.get(resource, 0) for amounts in (allocatable, needs, requested))
        there = f"{name} has {resource} {_text(resource, has)} for pods"
        if wants > has:
            text = f"its kubelet refuses it: {there}, and this one requests {_text(resource, wants)}"
            return NoRoom(text, ever=False)
        if wants + used > has:
            rest = f"the others request {_text(resource, used)}, and this one {_text(resource, wants)}"
            return NoRoom(f"its kubelet waits for room: {there}, {rest}", ever=True)
    return None


def _allocatable(source: ObjectSource, name: str, note: Note) -> Needs | None:
    node, why = find_if_allowed(source, queries.nodes(name))
    if why:
        note(f"{why}: whether its kubelet has room is left out")
    return None if node is None else read_schedulable_node(node).allocatable


def _without_conditions(pod: Json) -> Json:
    """Return the pod without what its kubelet said of an earlier resize."""
    return {**pod, "status": {**object_at(pod, "status"), "conditions": []}}


def _text(resource: str, nano: int) -> str:
    amount = Quantity(nano)
    return format_cpu(amount.milli) if resource == CPU else format_bytes(amount.bytes)
