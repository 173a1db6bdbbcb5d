"""What a pod requests of its node, as the scheduler counts it (component-helpers' `PodRequests`, v1.37).

A pod requests what its containers need at their peak or, where it names it, what its budget says; what its
claims take of the node (``claimed_resources``); and its overhead.

A resize in place has three stages, and a kubelet takes the containers of a pod from one to the next together
(kubernetes/kubernetes#140046). So the largest of three sums counts: what they ask for, what the kubelet has
allocated to them, and what they have. A resize that the kubelet calls infeasible is not counted. Where the
status has both sums of the pod as a whole, these count; the overhead is in them and is counted once more,
there as here (kubernetes/kubernetes#139627).

Not as there: a container of which a kubelet has reported nothing counts with what it asks for, also beside a
resize that is infeasible.

Reading never fails: what the API server would not have stored requests nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from podnuma.allocator import ContainerKind, ContainerRequest, Quantity
from podnuma.allocator.quantities import NANO
from podnuma.allocator.request import CPU, aggregate, is_memory
from podnuma.api.claimed_resources import claimed_resources
from podnuma.api.pod_resize import PENDING
from podnuma.api.quantity import read_quantity
from podnuma.api.stored_json import Json, object_at, objects_at, text_at

Needs = Mapping[str, int]
"""Amounts by resource name, in billionths."""

PODS: Final = "pods"


def add(first: Needs, second: Needs) -> dict[str, int]:
    """Add amounts."""
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def read_pod_needs(value: Any) -> dict[str, int]:
    """Read what a pod requests of its node."""
    spec, status = object_at(value, "spec"), object_at(value, "status")
    infeasible = _is_infeasible(status)
    kinds, asked, allocated, present = _read_containers(spec, status)
    told = _told(status)
    claimed = claimed_resources(status)
    sums = [told] if told else [add(_peak(kinds, allocated), claimed), _peak(kinds, present)]
    if not infeasible or not any(sums):
        sums.append(add(_peak(kinds, asked), claimed))
    needs = _largest(sums)
    budget = read_amounts(object_at(spec, "resources"), "requests")
    if budget and (counted := _counted_of_budget(status)):
        budget = _largest([counted] if infeasible else [budget, counted])
    needs |= {
        resource: amount for resource, amount in budget.items() if resource == CPU or is_memory(resource)
    }
    return {**add(needs, read_amounts(spec, "overhead")), PODS: NANO}


def read_amounts(parent: Json, name: str) -> dict[str, int]:
    """Read a list of resources, without those whose amount cannot be read."""
    found: dict[str, int] = {}
    for resource, value in object_at(parent, name).items():
        try:
            amount: Quantity = read_quantity(value)
        except ValueError:
            continue
        found[resource] = amount.nano
    return found


_Containers = tuple[tuple[ContainerRequest, ...], list[Needs], list[Needs], list[Needs]]


def _read_containers(spec: Json, status: Json) -> _Containers:
    """Return of each container its kind, and what it asks for, what is allocated to it and what it has."""
    statuses = {
        text_at(one, "name"): one
        for name in ("initContainerStatuses", "containerStatuses")
        for one in objects_at(status, name)
    }
    kinds: list[ContainerRequest] = []
    asked: list[Needs] = []
    allocated: list[Needs] = []
    present: list[Needs] = []
    for name in ("initContainers", "containers"):
        for one in objects_at(spec, name):
            always = text_at(one, "restartPolicy") == "Always"
            kind = ContainerKind.SIDECAR if always else ContainerKind.INIT
            kinds.append(ContainerRequest("", ContainerKind.APP if name == "containers" else kind))
            asked.append(read_amounts(object_at(one, "resources"), "requests"))
            reported = statuses.get(text_at(one, "name"), {})
            allocated.append(read_amounts(reported, "allocatedResources") or asked[-1])
            present.append(read_amounts(object_at(reported, "resources"), "requests") or allocated[-1])
    return tuple(kinds), asked, allocated, present


def _peak(kinds: tuple[ContainerRequest, ...], amounts: list[Needs]) -> dict[str, int]:
    return {
        resource: aggregate(kinds, [one.get(resource, 0) for one in amounts])
        for resource in {resource for one in amounts for resource in one}
    }


def _told(status: Json) -> dict[str, int]:
    """Return what the status says of the pod as a whole; nothing if it does not say both."""
    given = read_amounts(status, "allocatedResources")
    present = read_amounts(object_at(status, "resources"), "requests")
    return _largest([given, present]) if given and present else {}


def _counted_of_budget(status: Json) -> dict[str, int]:
    """Return what of a status counts with a budget; nothing where it does not say what the pod has."""
    if not isinstance(status.get("resources"), Mapping):
        return {}
    present = read_amounts(object_at(status, "resources"), "requests")
    return _largest([present, read_amounts(status, "allocatedResources")])


def _largest(amounts: Iterable[Needs]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for one in amounts:
        for name, amount in one.items():
            largest[name] = max(largest.get(name, 0), amount)
    return largest


def _is_infeasible(status: Json) -> bool:
    return any(
        (text_at(one, "type"), text_at(one, "status"), text_at(one, "reason"))
        == (PENDING, "True", "Infeasible")
        for one in objects_at(status, "conditions")
    )
