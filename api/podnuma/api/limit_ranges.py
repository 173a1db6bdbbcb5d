"""What a LimitRange gives to the containers of a pod, and what of a pod it refuses, as LimitRanger does.

    default, defaultRequest    for containers that name no limit or request; without them a limit is the
                               maximum, and a request the default limit or the minimum
    min, max                   request and limit are within; a minimum wants a request, a maximum a limit
    maxLimitRequestRatio       the limit is at most so many times the request; neither is missing or zero

A limit of type Container is for each container, one of type Pod for what they have together at their peak; in
its place CPU and memory of the pod-level budget count, huge pages of that do not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from podnuma.allocator import ContainerKind, ContainerRequest, Quantity
from podnuma.allocator.quantities import NANO
from podnuma.allocator.request import CPU, MEMORY, aggregate
from podnuma.api.quantity import read_quantity, render_quantity
from podnuma.api.stored_json import Json, as_objects, object_at

_CONTAINERS: Final = ("initContainers", "containers")
_BUDGETED: Final = (CPU, MEMORY)


def with_range_defaults(spec: Json, limit_range: Json) -> dict[str, Any]:
    """Return the spec of a pod whose containers have the defaults of a LimitRange."""
    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for item in _limits(limit_range, "Container"):
        default = {**object_at(item, "max"), **object_at(item, "default")}
        limits |= default
        requests |= {**object_at(item, "min"), **default, **object_at(item, "defaultRequest")}
    filled = dict(spec)
    for name in _CONTAINERS:
        if isinstance(filled.get(name), list):
            filled[name] = [_with_limits(item, requests, limits) for item in filled[name]]
    return filled


def outside_range(spec: Json, limit_range: Json) -> Iterator[str]:
    """Yield why a LimitRange refuses a pod of this spec, which has its defaults."""
    whose = f"LimitRange {object_at(limit_range, 'metadata').get('name') or ''}"
    for item in _limits(limit_range, "Container"):
        for part in _CONTAINERS:
            for index, container in enumerate(_list(spec, part)):
                resources = object_at(container, "resources")
                requests, limits = object_at(resources, "requests"), object_at(resources, "limits")
                yield from _outside(requests, limits, item, f"spec.{part}[{index}].resources: {whose}")
    for item in _limits(limit_range, "Pod"):
        requests, limits = _together(spec, "requests"), _together(spec, "limits")
        yield from _outside(requests, limits, item, f"spec: {whose} for the pod as a whole")


def _with_limits(container: Any, requests: Json, limits: Json) -> Any:
    if not isinstance(container, Mapping) or not (requests or limits):
        return container
    resources = object_at(container, "resources")
    filled = {
        **resources,
        "requests": {**requests, **object_at(resources, "requests")},
        "limits": {**limits, **object_at(resources, "limits")},
    }
    return {**container, "resources": {name: value for name, value in filled.items() if value}}


def _outside(requests: Json, limits: Json, item: Json, where: str) -> Iterator[str]:
    for resource, least in object_at(item, "min").items():
        for given, word in ((requests.get(resource), "request"), (limits.get(resource), "limit")):
            if given is not None and _amount(given).nano < _amount(least).nano:
                yield f"{where}: the {word} of {given} {resource} is below the minimum of {least}"
        if resource not in requests:
            yield f"{where}: no {resource} is requested, and the minimum is {least}"
    for resource, most in object_at(item, "max").items():
        for given, word in ((requests.get(resource), "request"), (limits.get(resource), "limit")):
            if given is not None and _amount(given).nano > _amount(most).nano:
                yield f"{where}: the {word} of {given} {resource} is above the maximum of {most}"
        if resource not in limits:
            yield f"{where}: there is no limit of {resource}, and the maximum is {most}"
    yield from _above_ratio(requests, limits, item, where)


def _above_ratio(requests: Json, limits: Json, item: Json, where: str) -> Iterator[str]:
    for resource, ratio in object_at(item, "maxLimitRequestRatio").items():
        request, limit = (_amount(given.get(resource)).nano for given in (requests, limits))
        if not request or not limit:
            word = "limit" if request else "request"
            yield f"{where}: there is no {word} of {resource}, and a limit is at most {ratio} times a request"
        elif limit * NANO > request * _amount(ratio).nano:
            written = f"{limits[resource]} {resource} is more than {ratio} times the request"
            yield f"{where}: the limit of {written} of {requests[resource]}"


def _together(spec: Json, name: str) -> dict[str, str]:
    """Return what the containers of a pod request, or may have, together."""
    kinds: list[ContainerRequest] = []
    asked: list[Json] = []
    for part in _CONTAINERS:
        for one in _list(spec, part):
            sidecar = one.get("restartPolicy") == "Always"
            kind = ContainerKind.SIDECAR if sidecar else ContainerKind.INIT
            kinds.append(ContainerRequest("", ContainerKind.APP if part == "containers" else kind))
            asked.append(object_at(object_at(one, "resources"), name))
    sums = {
        resource: aggregate(tuple(kinds), [_amount(one.get(resource)).nano for one in asked])
        for resource in {resource for one in asked for resource in one}
    }
    found = {resource: render_quantity(Quantity(amount), resource) for resource, amount in sums.items()}
    budget = object_at(object_at(spec, "resources"), name)
    return found | {resource: budget[resource] for resource in _BUDGETED if resource in budget}


def _limits(limit_range: Json, kind: str) -> list[Json]:
    return [item for item in _list(object_at(limit_range, "spec"), "limits") if item.get("type") == kind]


def _amount(value: Any) -> Quantity:
    try:
        return read_quantity(value)
    except ValueError:
        return Quantity(0)


def _list(parent: Json, name: str) -> list[Json]:
    return as_objects(parent.get(name))
