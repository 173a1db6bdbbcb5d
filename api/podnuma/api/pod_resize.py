"""A pod's resources as its kubelet has allocated them, and a revision that tells two states apart.

A resize in place has three stages: *desired* is the pod's spec, *allocated* what the kubelet has
reserved on the node, *actual* what the cgroups have. Decisions follow what is allocated: what is
only desired may be refused by the kubelet and hold for ever. The kubelet allocates the resize of a
pod as a whole or not at all.

It reports requests only, per container and for the pod (``allocatedResources``). Those of the pod are more
than its budget (kubernetes/kubernetes#139627): the overhead of its runtime class, and what its claims take of
the node, are in them. These are taken off again, unless the sum is just what the spec asks for, and the
kubelet has seen the spec and holds nothing back.

Limits that are desired equal to their requests are taken to be allocated equal to them. Where the kubelet
reports nothing (the container has not started) the spec is what it admitted, unless the pod was resized
before that: then it is as soon as the kubelet has seen that spec (``status.observedGeneration``, where it
reports it) and does not refuse it. ``status.resources`` is not read: it may lack keys, and keeps the old CPU
limit of containers without a quota.

Only CPU and memory can be resized. Nothing here raises: a status was written by a kubelet, and an
amount in it that cannot be read counts as not reported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from podnuma.allocator import ContainerRequest, PodRequest, Quantity
from podnuma.allocator.request import CPU, MEMORY, Amounts, is_memory
from podnuma.api.claimed_resources import claimed_resources
from podnuma.api.quantity import read_quantity
from podnuma.api.stored_json import object_at

PENDING: Final = "PodResizePending"
"""Condition of a pod: the kubelet has not accepted its resize; reason Deferred or Infeasible."""

_RESIZABLE: Final = (CPU, MEMORY)
_DIGITS: Final = 16


def allocated(value: Any, desired: PodRequest) -> PodRequest:
    """Return the pod as the kubelet has allocated it: ``desired``, which its spec says, or another one."""
    status = object_at(value, "status")
    found = dict(_container_amounts(status))
    pod = desired
    if found:
        containers = tuple(
            [
                _allocated_container(container, found[container.name])
                if container.name in found
                else container
                for container in desired.containers
            ]
        )
        if any(now is not before for now, before in zip(containers, desired.containers, strict=True)):
            pod = replace(desired, containers=containers)
    budget, given = desired.pod_requests, _amounts(status.get("allocatedResources"))
    if budget and given:
        pending = bool(kubelet_holds_back(value)) or is_unseen(value)
        given = _without(_beside_budget(status, desired), given, budget, pending=pending)
        requests = _with(budget, {name: given[name] for name in given if name in budget}, keep=True)
        limits = _following(budget, desired.pod_limits or {}, requests)
        if (requests, limits) != (budget, desired.pod_limits):
            pod = replace(pod, pod_requests=requests, pod_limits=limits)
    return pod


def kubelet_holds_back(value: Any) -> str:
    """Return the kubelet's reason and message for not accepting a pod's resize; empty if there is none."""
    conditions = object_at(value, "status").get("conditions")
    for condition in conditions if isinstance(conditions, list) else []:
        if isinstance(condition, Mapping) and condition.get("type") == PENDING:
            if condition.get("status") != "True":
                continue
            words = (condition.get("reason"), condition.get("message"))
            return ": ".join(str(word)[:512] for word in words if word) or PENDING
    return ""


def is_unseen(value: Any) -> bool:
    """Tell whether the kubelet has yet to see a pod's present spec; False where it reports no generation."""
    generation = object_at(value, "metadata").get("generation")
    observed = object_at(value, "status").get("observedGeneration")
    return isinstance(generation, int) and isinstance(observed, int) and 0 < observed < generation


def resources_revision(pod: PodRequest) -> str:
    """Return a short digest of everything that a pod asks for; equal amounts have equal digests."""
    texts = [_line("", pod.pod_requests), _line("", pod.pod_limits)]
    for container in pod.containers:
        texts += [
            container.name,
            _line(container.kind.value, container.requests),
            _line("", container.limits),
        ]
    return sha256("\n".join(texts).encode()).hexdigest()[:_DIGITS]


def _line(head: str, amounts: Amounts | None) -> str:
    if amounts is None:
        return head
    return " ".join([head, "of", *(_text(name, amounts[name]) for name in sorted(amounts))])


def _text(name: str, amount: Quantity) -> str:
    # Of memory it matters how it is written: the kubelet cannot count every spelling.
    return f"{name}={amount.nano}{'?' if is_memory(name) and not amount.representable else ''}"


def _allocated_container(container: ContainerRequest, given: Amounts) -> ContainerRequest:
    """Return a container with what the kubelet has given it; the same object if that is what it asks for."""
    requests = _with(container.requests, given)
    limits = _following(container.requests, container.limits, requests)
    if (requests, limits) == (container.requests, container.limits):
        return container
    return replace(container, requests=requests, limits=limits)


def _container_amounts(status: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[str, Quantity]]]:
    for field in ("initContainerStatuses", "containerStatuses"):
        items = status.get(field)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, Mapping) and isinstance(item.get("name"), str):
                amounts = _amounts(item.get("allocatedResources"))
                if amounts:
                    yield item["name"], amounts


def _beside_budget(status: Mapping[Any, Any], pod: PodRequest) -> dict[str, int]:
    """Return what a pod needs of its node beside its budget, in billionths."""
    claimed = claimed_resources(status)
    overhead = {name: pod.overhead[name].nano for name in pod.overhead}
    return {name: claimed.get(name, 0) + overhead.get(name, 0) for name in {*claimed, *overhead}}


def _without(
    beside: Mapping[str, int], given: Mapping[str, Quantity], budget: Amounts, *, pending: bool
) -> dict[str, Quantity]:
    """Return what was allocated for a budget alone; `pending`: that may be another than the spec's."""
    own = {}
    for name, amount in given.items():
        asked, more = budget.get(name), beside.get(name, 0)
        if not more or amount.nano < more or (amount == asked and not pending):
            own[name] = amount
            continue
        left = Quantity(amount.nano - more)
        # How memory is written matters (`allocator.quantities`), and a sum does not tell that of its parts.
        own[name] = asked if asked == left else left
    return own


def _with(amounts: Amounts, given: Mapping[str, Quantity], *, keep: bool = False) -> Amounts:
    """Return amounts with those of CPU and memory replaced; ``keep`` those that are not given."""
    kept = {name: amount for name, amount in amounts.items() if keep or name not in _RESIZABLE}
    return kept | {name: given[name] for name in _RESIZABLE if name in given}


def _following(requests: Amounts, limits: Amounts, now: Amounts) -> Amounts:
    """Return the limits; those that equalled their requests equal them now."""
    follow = {name for name in _RESIZABLE if name in limits and limits[name] == requests.get(name)}
    changed = {name: now[name] for name in follow if name in now}
    return {name: limit for name, limit in limits.items() if name not in follow} | changed


def _amounts(value: Any) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for name in _RESIZABLE:
        if isinstance(value, Mapping) and name in value:
            try:
                found[name] = read_quantity(value[name])
            except ValueError:
                return {}
    return found
