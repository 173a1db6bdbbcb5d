"""What a ResourceQuota leaves for pods that are to be created, and what it refuses, as the API server counts.

    pods, count/pods                      the number of pods
    cpu, memory, hugepages-SIZE, ...      what pods request, with or without `requests.` before it
    limits.cpu, limits.memory             what their limits are together; not counted here, but said

Where a quota limits CPU or memory, each container has to name it, unless the pod has a budget of its own. A
quota with scopes counts some pods only; which ones is not looked at here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from podnuma.allocator import Quantity
from podnuma.allocator.request import CPU, MEMORY, PodRequest, is_memory
from podnuma.api.pod_needs import PODS, Needs, add
from podnuma.api.quantity import read_quantity, render_quantity
from podnuma.api.stored_json import Json, object_at, text_at

_COUNT: Final = "count/"
_REQUESTS: Final = "requests."
_LIMITS: Final = "limits."
_NAMED: Final = {
    f"{prefix}{resource}": (side, resource)
    for resource in (CPU, MEMORY)
    for prefix, side in (("", "requests"), (_REQUESTS, "requests"), (_LIMITS, "limits"))
}


def beyond_quota(
    quota: Json, new: Sequence[tuple[PodRequest, Needs]], gone: Iterable[Needs] = ()
) -> Iterator[str]:
    """Yield why a quota refuses some of the new pods of its namespace; what is `gone` is free again."""
    if _has_scopes(quota):
        return
    hard = _hard(quota)
    for pod, name in _unnamed([pod for pod, _ in new], hard):
        side, resource = _NAMED[name]
        where = f"{pod.namespace}/{pod.name}"
        yield f"{_whose(quota)} refuses {where}: each container has to name its {side} of {resource}"
    asked: dict[str, int] = {}
    for _, needs in new:
        asked = add(asked, needs)
    for needs in gone:
        asked = add(asked, {name: -amount for name, amount in needs.items()})
    used = object_at(object_at(quota, "status"), "used")
    for name, most in hard.items():
        resource = _counted(name)
        left, more = _nano(most) - _nano(used.get(name)), asked.get(resource, 0)
        if resource and more > max(0, left):
            texts = [render_quantity(Quantity(amount), resource) for amount in (max(0, left), more)]
            yield f"{_whose(quota)} refuses some pods: it has {name} {texts[0]} left, they need {texts[1]}"


def uncounted_in_quota(quota: Json) -> str:
    """Say what of a quota `beyond_quota` does not look at; empty if it looks at all that is about pods."""
    hard = _hard(quota)
    if hard and _has_scopes(quota):
        return f"{_whose(quota)}, which counts some pods only (scopes)"
    unseen = sorted(name for name in hard if not _counted(name))
    return f"{', '.join(unseen)} of {_whose(quota)}" if unseen else ""


def _hard(quota: Json) -> dict[str, Any]:
    """Return what a quota limits that is about pods."""
    hard = object_at(object_at(quota, "status"), "hard") or object_at(object_at(quota, "spec"), "hard")
    return {name: amount for name, amount in hard.items() if _counted(name) or name.startswith(_LIMITS)}


def _has_scopes(quota: Json) -> bool:
    spec = object_at(quota, "spec")
    return bool(spec.get("scopes") or spec.get("scopeSelector"))


def _whose(quota: Json) -> str:
    metadata = object_at(quota, "metadata")
    return f"ResourceQuota {text_at(metadata, 'namespace') or 'default'}/{text_at(metadata, 'name')}"


def _counted(name: str) -> str:
    """Return the resource of pods that an entry of a quota counts as it is counted here; empty for others."""
    if name.startswith(_COUNT):
        return PODS if name == _COUNT + PODS else ""
    if name.startswith(_LIMITS) or "storageclass.storage.k8s.io/" in name:
        return ""
    resource = name.removeprefix(_REQUESTS)
    known = resource in (PODS, CPU, "ephemeral-storage") or is_memory(resource)
    return resource if known or (name.startswith(_REQUESTS) and "/" in resource) else ""


def _unnamed(pods: Iterable[PodRequest], hard: Mapping[str, Any]) -> Iterator[tuple[PodRequest, str]]:
    """Yield pods with a container that does not name what it has to, each once."""
    wanted = sorted(name for name in hard if name in _NAMED)
    for pod in pods:
        missing = (
            name
            for name in wanted
            for container in pod.containers
            if _NAMED[name][1] not in (container.limits if name.startswith(_LIMITS) else container.requests)
        )
        if not pod.pod_level and (name := next(missing, "")):
            yield pod, name


def _nano(amount: Any) -> int:
    try:
        return read_quantity(amount).nano
    except ValueError:
        return 0
