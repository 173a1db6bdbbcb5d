"""What a pod asks for: its containers, its budget, its overhead. Specs in the same words are read once.

The budget of a pod is ``spec.resources``. API servers before v1.34 drop that field; there the
annotation ``podnuma.dev/resources`` holds the same JSON, gets the same defaults and is refused for
the same reasons. It counts only where ``spec.resources`` is absent.

The pods of a workload ask for the same in the same words. What was read without an error is remembered by
these words, so all of them have the same objects; ``podnuma.allocator.answers`` tells by them that it was
asked before. Only plain specs are remembered: few containers, and texts where texts are stored. Their words
are all that reading looks at, and nothing that can be equal to another type.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import ContainerKind, ContainerRequest, Quantity
from podnuma.allocator.request import CPU, HUGEPAGES, MEMORY, Amounts, is_memory
from podnuma.api import names
from podnuma.api.decoding import ABSENT, FieldErrors, Fields, text
from podnuma.api.pod_defaults import together, with_pod_level_defaults
from podnuma.api.quantity import read_quantity, render_quantity

MAX_CONTAINERS: Final = 512
"""Init and app containers each; a PodAllocation lists no more in all."""

MAX_RESOURCES: Final = 64
"""Resource names of one list; most are none of ours."""

LONGEST_BUDGET: Final = 4096
"""Characters of the budget annotation; annotations may have 256 KiB."""

MOST_KNOWN: Final = 256
"""Specs that are remembered; when there are more, all are forgotten."""

# Of a plain spec: parts and amounts of each, and characters of its annotation.
_MOST_PLAIN: Final = 20
_LONGEST_PLAIN_BUDGET: Final = 512

_POD_LEVEL: Final = re.compile(r"cpu|memory|hugepages-[1-9][0-9]{0,9}(?:Ki|Mi|Gi)", re.ASCII)

_Words = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class AskedResources:
    """What a pod asks for; ``annotated``: its budget is an annotation. Without one both sides are None."""

    containers: tuple[ContainerRequest, ...]
    pod_requests: Amounts | None
    pod_limits: Amounts | None
    overhead: Amounts
    annotated: bool


_known: dict[_Words, AskedResources] = {}


def read_asked_resources(spec: Fields, annotations: Fields) -> AskedResources:
    """Read what a pod asks for; what is wrong with it is noted in the errors of ``spec``."""
    words = _words_of(spec.content, annotations.content)
    known = None if words is None else _known.get(words)
    if known is not None:
        return known
    before = spec.errors.count
    asked = _read_asked(spec, annotations)
    if words is not None and spec.errors.count == before:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[words] = asked
    return asked


def _read_asked(spec: Fields, annotations: Fields) -> AskedResources:
    before = spec.errors.count
    containers = _read_containers(spec)
    budget, annotated = (_read_budget(spec, "resources") if spec.has("resources") else None), False
    if budget is None:
        budget = _read_annotation(annotations, containers)
        annotated = budget is not None
    asked = AskedResources(
        containers,
        budget.requests if budget else None,
        budget.limits if budget else None,
        _read_amounts(spec, "overhead"),
        annotated,
    )
    if budget is not None and spec.errors.count == before:
        _check_budget(budget, containers, spec.errors)
    return asked


def _words_of(spec: Mapping[Any, Any], annotations: Mapping[Any, Any]) -> _Words | None:
    """Return all that is read of a plain spec; None of any other."""
    try:
        found: list[Any] = [
            _amount_words(spec.get("overhead")),
            None if spec.get("resources") is None else _resource_words(spec["resources"]),
            _plain(annotations.get(names.RESOURCES_ANNOTATION), _LONGEST_PLAIN_BUDGET),
        ]
        for field in ("initContainers", "containers"):
            items = spec.get(field)
            if items is not None and type(items) is not list:
                return None
            for item in items or ():
                restart = _plain(item.get("restartPolicy"))
                found.append((field, _plain(item["name"]), restart, _resource_words(item.get("resources"))))
    except (AttributeError, KeyError, TypeError):
        return None
    return None if len(found) > _MOST_PLAIN else tuple(found)


def _resource_words(resources: Any) -> _Words:
    if resources is None:
        return ()
    return _amount_words(resources.get("requests")), _amount_words(resources.get("limits"))


def _amount_words(amounts: Any) -> _Words:
    if amounts is None:
        return ()
    if len(amounts) > _MOST_PLAIN:
        raise TypeError
    return tuple([(_plain(name), _plain(amount)) for name, amount in amounts.items() if _is_ours(name)])


def _plain(value: Any, longest: int = 64) -> str | None:
    """Return a short text, or None as it is. Raises TypeError for all else."""
    if value is None or (type(value) is str and len(value) <= longest):
        return value
    raise TypeError


def is_guaranteed_budget(annotation: str) -> bool:
    """Tell whether the text of a budget annotation makes its pod Guaranteed whatever its containers ask for.

    So it does when it names requests equal to limits for CPU and memory. For a node, which sees the
    annotation of a pod that is about to start and nothing else of its manifest. Never raises.
    """
    if not annotation or len(annotation) > LONGEST_BUDGET:
        return False
    errors = FieldErrors()
    try:
        holder = Fields({"budget": json.loads(annotation)}, "", errors)
    except (ValueError, RecursionError):
        return False
    budget = _read_budget(holder, "budget")
    return not errors.found and all(
        resource in budget.limits and budget.requests.get(resource) == budget.limits[resource]
        for resource in (CPU, MEMORY)
    )


@dataclass(frozen=True, slots=True)
class _Budget:
    """The pod-level resources, and the path they were found at."""

    path: str
    requests: Amounts
    limits: Amounts


def _read_containers(spec: Fields) -> tuple[ContainerRequest, ...]:
    containers = [
        _read_container(item, _init_kind(item)) for item in spec.items("initContainers", MAX_CONTAINERS)
    ]
    containers += [
        _read_container(item, ContainerKind.APP) for item in spec.items("containers", MAX_CONTAINERS)
    ]
    if len(containers) > MAX_CONTAINERS:
        spec.errors.add(
            spec.at("containers"),
            ABSENT,
            f"more than {MAX_CONTAINERS} containers; podnuma leaves such pods alone",
        )
    seen: set[str] = set()
    for container in containers:
        if container.name in seen:
            spec.errors.add(spec.at("containers"), container.name, "two containers have this name")
        seen.add(container.name)
    return tuple(containers)


def _init_kind(item: Fields) -> ContainerKind:
    always = item.optional("restartPolicy", text(64), "") == "Always"
    return ContainerKind.SIDECAR if always else ContainerKind.INIT


def _read_container(item: Fields, kind: ContainerKind) -> ContainerRequest:
    resources = item.fields("resources")
    requests = _read_amounts(resources, "requests")
    limits = _read_amounts(resources, "limits")
    _check_requests(requests, limits, resources.path, item.errors)
    return ContainerRequest(item.required("name", text(63, shortest=1), ""), kind, requests, limits)


def _read_budget(parent: Fields, name: str) -> _Budget:
    resources = parent.fields(name)
    return _Budget(resources.path, _read_amounts(resources, "requests"), _read_amounts(resources, "limits"))


def _read_amounts(parent: Fields, name: str) -> dict[str, Quantity]:
    """Read the amounts of CPU, memory and huge pages in a resource list; other names are not looked at."""
    entries = parent.fields(name)
    ours = {
        key: 0 if value is None else value  # Go reads null as zero
        for key, value in entries.content.items()
        if isinstance(key, str) and _is_ours(key)
    }
    if len(ours) > MAX_RESOURCES:
        parent.errors.add(parent.at(name), ours, f"has more than {MAX_RESOURCES} kinds of memory and CPU")
        return {}
    return Fields({name: ours}, parent.path, parent.errors).mapping(name, read_quantity, MAX_RESOURCES)


def _is_ours(resource: str) -> bool:
    return resource == CPU or is_memory(resource)


def _read_annotation(annotations: Fields, containers: tuple[ContainerRequest, ...]) -> _Budget | None:
    name = names.RESOURCES_ANNOTATION
    written = annotations.optional(name, text(LONGEST_BUDGET), "")
    if not written:
        return None
    path = f"metadata.annotations[{name}]"
    try:
        content = json.loads(written)
    except (ValueError, RecursionError):
        message = 'is not JSON; write for example {"limits": {"cpu": "4", "memory": "8Gi"}}'
        annotations.errors.add(path, written, message)
        return None
    holder = Fields({path: content}, "", annotations.errors)
    resources = holder.fields(path)
    for key in resources.content:
        if key not in ("requests", "limits"):
            annotations.errors.add(path, key, "unknown field; only requests and limits are known")
        elif isinstance(resources.content[key], Mapping):
            for resource in resources.content[key]:
                if not isinstance(resource, str) or not _POD_LEVEL.fullmatch(resource):
                    message = "is not a pod-level resource; only cpu, memory and hugepages-<size> are"
                    annotations.errors.add(f"{path}.{key}", resource, message)
    given = _read_budget(holder, path)
    requests, limits = with_pod_level_defaults(given.requests, given.limits, containers)
    return _Budget(path, requests, limits)


def _check_budget(budget: _Budget, containers: tuple[ContainerRequest, ...], errors: FieldErrors) -> None:
    """Refuse what the API server's validation refuses of a pod-level budget."""
    _check_requests(budget.requests, budget.limits, budget.path, errors)
    for resource, amount in budget.requests.items():
        wanted = together(containers, "requests", resource)
        if wanted.nano > amount.nano:
            message = (
                f"is less than its containers request together, {render_quantity(wanted, resource)}; raise it"
            )
            errors.add(f"{budget.path}.requests[{resource}]", render_quantity(amount, resource), message)
    for resource, amount in budget.limits.items():
        for whose, limit in _limits_below(containers, resource):
            if limit.nano > amount.nano:
                message = f"is less than the limit of {whose}, {render_quantity(limit, resource)}; raise it"
                errors.add(f"{budget.path}.limits[{resource}]", render_quantity(amount, resource), message)


def _limits_below(containers: tuple[ContainerRequest, ...], resource: str) -> Iterator[tuple[str, Quantity]]:
    """Yield the limits that a pod-level limit must reach, and whose they are."""
    for container in containers:
        if container.kind is ContainerKind.APP and resource in container.limits:
            yield f"container {container.name}", container.limits[resource]
    if resource.startswith(HUGEPAGES):
        yield "its containers together", together(containers, "limits", resource)


def _check_requests(requests: Amounts, limits: Amounts, path: str, errors: FieldErrors) -> None:
    for resource, amount in requests.items():
        limit = limits.get(resource)
        where = f"{path}.requests[{resource}]"
        if limit is None:
            if resource.startswith(HUGEPAGES):
                message = "huge pages need a limit as well; set limits to the same"
                errors.add(where, render_quantity(amount, resource), message)
            continue
        if amount.nano > limit.nano:
            message = f"is more than the limit, {render_quantity(limit, resource)}; lower it"
            errors.add(where, render_quantity(amount, resource), message)
        elif resource.startswith(HUGEPAGES) and amount.nano != limit.nano:
            message = (
                f"huge pages cannot be overcommitted; request the limit, {render_quantity(limit, resource)}"
            )
            errors.add(where, render_quantity(amount, resource), message)
