"""A pod as podnuma reads it: who and where it is, and what the allocator decides about.

``read_pod_facts`` is cheap and meant for every pod of a cluster; ``read_pod`` gives the
allocator's request and is called for the few that are decided. Both read what the API server
has stored, defaults filled in; ``pod_defaults`` does that for manifests that were never saved.

The budget of a pod is ``spec.resources``. API servers before v1.34 drop that field; there the
annotation ``podnuma.dev/resources`` holds the same JSON, gets the same defaults and is refused for
the same reasons. It counts only where ``spec.resources`` is absent. The stored QoS class knows
nothing of an annotation, so that of such a pod is computed from the budget.

``status.resources`` is never read: what the kubelet reports there may lack keys after a resize.
"""

import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import ContainerKind, ContainerRequest, PodRequest, Qos, Quantity
from podnuma.allocator.request import CPU, HUGEPAGES, MEMORY, Amounts, is_memory
from podnuma.api import names
from podnuma.api.decoding import ABSENT, FieldErrors, Fields, choice, text
from podnuma.api.object_metadata import Metadata, read_metadata, subject
from podnuma.api.pod_defaults import together, with_pod_level_defaults
from podnuma.api.quantity import read_quantity, render_quantity
from podnuma.api.selector import read_labels

MAX_CONTAINERS: Final = 512
"""Init and app containers each; a PodAllocation lists no more in all."""

MAX_RESOURCES: Final = 64
"""Resource names of one list; most are none of ours."""

LONGEST_BUDGET: Final = 4096
"""Characters of the budget annotation; annotations may have 256 KiB."""

LONGEST_STATIC_UID: Final = 128

POD: Final = "Pod"

_POD_LEVEL: Final = re.compile(r"cpu|memory|hugepages-[1-9][0-9]{0,9}(?:Ki|Mi|Gi)", re.ASCII)


class PodPhase(enum.Enum):
    """The phase in a pod's status."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """Who a pod is and where it stands; ``node_name`` is empty until it is bound."""

    metadata: Metadata
    node_name: str
    phase: PodPhase
    labels: Mapping[str, str]
    static_uid: str

    @property
    def uid(self) -> str:
        """The UID of the API object."""
        return self.metadata.uid

    @property
    def uid_on_node(self) -> str:
        """The UID that names the pod's cgroup: a static pod's differs from its mirror's."""
        return self.static_uid or self.metadata.uid

    @property
    def finished(self) -> bool:
        """Whether all containers have ended for good, so that the pod holds nothing."""
        return self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)

    @property
    def terminating(self) -> bool:
        """Whether the pod has been deleted; it holds what it has until it is finished or gone."""
        return self.metadata.deleted

    @property
    def bound(self) -> bool:
        return bool(self.node_name)


def read_pod_facts(value: Any) -> PodFacts:
    """Read who a pod is and where it stands. Raises ``InvalidObjectError``."""
    errors = FieldErrors()
    fields = Fields.of(value, "", errors)
    metadata = fields.fields("metadata")
    facts = PodFacts(
        metadata=read_metadata(fields),
        node_name=fields.fields("spec").optional("nodeName", text(253), ""),
        phase=fields.fields("status").optional("phase", choice(PodPhase), PodPhase.PENDING),
        labels=read_labels(metadata),
        static_uid=read_mirror(
            metadata.content, fields.fields("spec").optional("nodeName", text(253), "")
        ).uid,
    )
    errors.check(subject(POD, value))
    return facts


def read_pod(value: Any) -> PodRequest:
    """Read what a pod asks for. Raises ``InvalidObjectError`` with everything wrong with it.

    Refused are also pods that the API server would not have stored: static pods and annotations
    bypass its checks, and the allocator relies on them.
    """
    errors = FieldErrors()
    fields = Fields.of(value, "", errors)
    metadata = read_metadata(fields)
    spec = fields.fields("spec")
    status = fields.fields("status")
    containers = _read_containers(spec)
    qos = status.maybe("qosClass", choice(Qos))
    budget = _read_budget(spec, "resources") if spec.has("resources") else None
    if budget is None:
        budget = _read_annotation(fields.fields("metadata").fields("annotations"), containers)
        qos = qos if budget is None else None
    if fields.fields("metadata").fields("annotations").has(names.STATIC_POD_MIRROR_ANNOTATION):
        # The kubelet may have made this object before the API server knew pod-level resources.
        qos = None
    pod = PodRequest(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        containers=containers,
        pod_requests=budget.requests if budget else None,
        pod_limits=budget.limits if budget else None,
        qos=qos,
        overhead=_read_amounts(spec, "overhead"),
    )
    if budget is not None and not errors.found:
        _check_budget(budget, containers, errors)
    errors.check(subject(POD, value))
    return pod


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


@dataclass(frozen=True, slots=True)
class Mirror:
    """Of which static pod a pod is the mirror: its UID on the node, and the UID of the Node that made it."""

    uid: str = ""
    node_uid: str = ""


NO_MIRROR: Final = Mirror()


def read_mirror(metadata: Any, node: str) -> Mirror:
    """Return what a pod on a node says of a static pod; empty for any other pod. Never raises.

    Whoever may create pods can write the annotations, while the kubelet's mirrors are controlled by their
    Node (since v1.17; the API server lets a node make no others). Whether that Node has this UID is not
    looked at here.
    """
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(annotations, Mapping) or names.STATIC_POD_MIRROR_ANNOTATION not in annotations:
        return NO_MIRROR
    uid = annotations.get(names.STATIC_POD_HASH_ANNOTATION)
    owners = metadata.get("ownerReferences")
    made_by = [
        str(owner.get("uid") or "")
        for owner in (owners if isinstance(owners, list) else ())
        if isinstance(owner, Mapping)
        and (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) == ("v1", "Node", node)
        and owner.get("controller") is True
    ]
    if not made_by or not isinstance(uid, str) or len(uid) > LONGEST_STATIC_UID:
        return NO_MIRROR
    return Mirror(uid, made_by[0])


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
