"""What the API server fills in when it stores a pod, as far as decisions depend on it.

For pods that were never saved: manifests in ``podnuma plan`` and lines of ``podnuma replay``. A
stored pod comes out unchanged. Rules:

1. A container with a limit and no request for a resource requests its limit.
2. With a pod-level limit for anything, a missing pod-level request for CPU or memory becomes
   what the containers request together, if any of them does, else the pod-level limit.
3. Under a pod-level budget, a missing limit for huge pages becomes the containers' limits
   together, unless there is a pod-level request for them; a missing request follows the limit.
   With the gate PodLevelResourcesFixDefaulting (v1.37, on by default) rule 2 asks for no pod-level limit, and
   a missing pod-level limit becomes what the containers' limits are together, or the pod-level request if
   that is more, where there is such a request and every container has a limit. LimitRanges come first then.
4. Amounts with a fraction are rewritten without one ("1.5Gi" as "1536Mi"), which the kubelet can
   count and the other it cannot (`allocator.quantities`). No amount (`cpu:` with nothing behind it) is zero.

What cannot be understood is left as it is, for ``pod.read_pod`` to name it.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from podnuma.allocator import ContainerKind, ContainerRequest, Quantity
from podnuma.allocator.request import CPU, HUGEPAGES, MEMORY, Amounts, aggregate, is_memory
from podnuma.api.quantity import read_quantity, render_quantity

_CONTAINERS: Final = ("initContainers", "containers")
_OVERCOMMITTED: Final = (CPU, MEMORY)


def with_pod_level_defaults(
    requests: Amounts,
    limits: Amounts,
    containers: tuple[ContainerRequest, ...],
    *,
    fix_defaulting: bool = False,
) -> tuple[dict[str, Quantity], dict[str, Quantity]]:
    """Return pod-level requests and limits with rules 2 and 3 applied; `fix_defaulting`: the gate."""
    requests, limits = dict(requests), dict(limits)
    if not requests and not limits:
        return requests, limits
    for resource in sorted({name for container in containers for name in container.limits}):
        if resource.startswith(HUGEPAGES) and resource not in requests:
            limits.setdefault(resource, together(containers, "limits", resource))
    if limits or fix_defaulting:
        for resource in _OVERCOMMITTED:
            if any(resource in container.requests for container in containers):
                requests.setdefault(resource, together(containers, "requests", resource))
        for resource, amount in limits.items():
            requests.setdefault(resource, amount)
    if fix_defaulting:
        limits |= {
            resource: max(request, together(containers, "limits", resource), key=_nano)
            for resource, request in requests.items()
            if resource not in limits and _all_limited(containers, resource)
        }
    return requests, limits


def with_api_defaults(value: Any, *, fix_defaulting: bool = False) -> Any:
    """Return the JSON of a pod as the API server would store it; the given one is not changed."""
    value = with_container_defaults(value)
    spec = _object(value, "spec")
    budget = _object(spec, "resources")
    if spec is None or budget is None:
        return value
    containers = tuple(
        _container(item, name)
        for name in _CONTAINERS
        if isinstance(spec.get(name), list)
        for item in spec[name]
    )
    filled = _with_budget_defaults(budget, containers, fix_defaulting=fix_defaulting)
    return {**value, "spec": {**spec, "resources": filled}}


def with_container_defaults(value: Any) -> Any:
    """Return the JSON of a pod with rules 1 and 4 applied to its containers."""
    spec = _object(value, "spec")
    if spec is None:
        return value
    filled = {
        name: [_with_container_defaults(item) for item in spec[name]]
        for name in _CONTAINERS
        if isinstance(spec.get(name), list)
    }
    return {**value, "spec": {**spec, **filled}}


def together(
    containers: tuple[ContainerRequest, ...], field: Literal["requests", "limits"], resource: str
) -> Quantity:
    """Return what the containers have of a resource at their peak."""
    amounts = [container.requests if field == "requests" else container.limits for container in containers]
    nanos = [each[resource].nano if resource in each else 0 for each in amounts]
    return Quantity(aggregate(containers, nanos))


def _all_limited(containers: tuple[ContainerRequest, ...], resource: str) -> bool:
    return bool(containers) and all(resource in container.limits for container in containers)


def _nano(amount: Quantity) -> int:
    return amount.nano


def _object(parent: Any, name: str) -> Mapping[Any, Any] | None:
    child = parent.get(name) if isinstance(parent, Mapping) else None
    return child if isinstance(child, Mapping) else None


def _with_container_defaults(item: Any) -> Any:
    resources = _object(item, "resources")
    if resources is None:
        return item
    filled = dict(resources)
    limits = _object(resources, "limits")
    requests = _object(resources, "requests")
    if limits is not None:
        filled["limits"] = _canonical(limits)
    if requests is not None or (limits and resources.get("requests") is None):
        filled["requests"] = _canonical({**(limits or {}), **(requests or {})})
    return {**item, "resources": filled}


def _with_budget_defaults(
    budget: Mapping[Any, Any], containers: tuple[ContainerRequest, ...], *, fix_defaulting: bool
) -> dict[Any, Any]:
    filled = dict(budget)
    given = {name: _object(budget, name) or {} for name in ("requests", "limits")}
    requests, limits = with_pod_level_defaults(
        _amounts(given["requests"]), _amounts(given["limits"]), containers, fix_defaulting=fix_defaulting
    )
    for name, amounts in (("requests", requests), ("limits", limits)):
        # What could not be read stays, so that it is not taken for absent and filled in silently.
        texts = {
            resource: render_quantity(amount, resource)
            for resource, amount in amounts.items()
            if resource not in given[name]
        }
        if texts or _object(budget, name) is not None:
            filled[name] = {**_canonical(given[name]), **texts}
    return filled


def _canonical(amounts: Mapping[Any, Any]) -> dict[Any, Any]:
    result = {resource: "0" if value is None else value for resource, value in amounts.items()}
    for resource, amount in _amounts(amounts).items():
        if "." in str(amounts[resource]):
            result[resource] = render_quantity(amount, resource)
    return result


def _container(item: Any, field: str) -> ContainerRequest:
    resources = _object(item, "resources")
    always = isinstance(item, Mapping) and item.get("restartPolicy") == "Always"
    kind = (
        ContainerKind.APP
        if field == "containers"
        else ContainerKind.SIDECAR
        if always
        else ContainerKind.INIT
    )
    return ContainerRequest(
        "", kind, _amounts(_object(resources, "requests") or {}), _amounts(_object(resources, "limits") or {})
    )


def _amounts(amounts: Mapping[Any, Any]) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for resource, value in amounts.items():
        if isinstance(resource, str) and (resource == CPU or is_memory(resource)):
            try:
                found[resource] = read_quantity(value)
            except ValueError:
                continue
    return found
