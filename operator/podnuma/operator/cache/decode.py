"""One JSON object in, one record out; never an exception.

Metadata was checked by the API server and is read as it is. Everything that a person or a
tenant wrote goes through podnuma.api, and what it refuses becomes a record with the reason:
a bad object is reported where it stands and hinders no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from podnuma.api import names
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_topology import read_node_topology
from podnuma.api.pod import read_pod, static_uid
from podnuma.api.pod_allocation import read_pod_allocation
from podnuma.api.reading import ApiError
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import (
    NO_LABELS,
    CachedAllocation,
    CachedNamespace,
    CachedNode,
    CachedObject,
    CachedPod,
    CachedProfile,
    CachedTopology,
    ObjectKey,
    ObjectVersion,
)

Json = Mapping[str, Any]
T = TypeVar("T")

_FINISHED: Final = ("Succeeded", "Failed")
_GUARANTEED: Final = "Guaranteed"
_LONGEST_VERSION: Final = 19  # digits of a 64-bit number


def version(text: object) -> int:
    """Return a resource version as a number; 0 for what is none."""
    if not isinstance(text, str) or len(text) > _LONGEST_VERSION or not (text.isascii() and text.isdecimal()):
        return 0
    return int(text)


def stamp(value: Json) -> ObjectVersion:
    """Return which object this is, and in which state."""
    metadata = _dict(value.get("metadata"))
    return ObjectVersion(str(metadata.get("uid") or ""), version(metadata.get("resourceVersion")))


def key(value: Json) -> ObjectKey:
    """Return namespace and name."""
    metadata = _dict(value.get("metadata"))
    return ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def finished(value: Json) -> bool:
    """Tell whether a pod has ended: it holds nothing any more."""
    return _dict(value.get("status")).get("phase") in _FINISHED


def pod(value: Json) -> CachedPod | None:
    """Read a pod; None for one that holds nothing: not bound, finished, not Guaranteed and not annotated."""
    if names.RESOURCES_ANNOTATION not in _dict(_dict(value.get("metadata")).get("annotations")):
        qos = _dict(value.get("status")).get("qosClass")
        if qos is not None and qos != _GUARANTEED:
            return None
    return bound_pod(value)


def bound_pod(value: Json) -> CachedPod | None:
    """Read any pod that is bound and has not finished."""
    metadata = _dict(value.get("metadata"))
    node_name = _dict(value.get("spec")).get("nodeName")
    if not node_name or finished(value):
        return None
    request, problem = _try(read_pod, value)
    owner = _controller(metadata)
    return CachedPod(
        stamp=stamp(value),
        key=key(value),
        node=str(node_name),
        created=str(metadata.get("creationTimestamp") or ""),
        labels=_labels(metadata),
        request=request,
        problem=problem,
        controller=str(owner.get("uid") or "") or None,
        stays=owner.get("kind") in ("DaemonSet", "Node")
        or names.STATIC_POD_MIRROR_ANNOTATION in _dict(metadata.get("annotations")),
        terminating=bool(metadata.get("deletionTimestamp")),
        static_uid=static_uid(metadata.get("annotations")),
    )


def node(value: Json) -> CachedNode:
    """Read a node."""
    name = key(value)
    return CachedNode(stamp(value), name, name.name, _labels(_dict(value.get("metadata"))))


def namespace(value: Json) -> CachedNamespace:
    """Read a namespace."""
    metadata = _dict(value.get("metadata"))
    return CachedNamespace(
        stamp(value), key(value), "", _labels(metadata), bool(metadata.get("deletionTimestamp"))
    )


def profile(value: Json) -> CachedProfile:
    """Read a NodeProfile."""
    model, problem = _try(read_node_profile, value)
    return CachedProfile(stamp(value), key(value), "", _generation(value), model, problem)


def topology(value: Json) -> CachedTopology:
    """Read a NodeTopology; it is named after its node."""
    metadata = _dict(value.get("metadata"))
    model, problem = _try(read_node_topology, value)
    name = key(value)
    return CachedTopology(
        stamp=stamp(value),
        key=name,
        node=name.name,
        generation=_generation(value),
        created=str(metadata.get("creationTimestamp") or ""),
        owner=_owner(metadata, "Node"),
        model=model,
        problem=problem,
    )


def allocation(value: Json) -> CachedAllocation:
    """Read a PodAllocation."""
    model, problem = _try(read_pod_allocation, value)
    spec = _dict(value.get("spec"))
    return CachedAllocation(
        stamp=stamp(value),
        key=key(value),
        node=str(spec.get("nodeName") or ""),
        generation=_generation(value),
        owner=_owner(_dict(value.get("metadata")), "Pod"),
        model=model,
        problem=problem,
    )


READERS: Final[Mapping[Kind, Callable[[Json], CachedObject | None]]] = MappingProxyType(
    {
        Kind.POD: pod,
        Kind.NODE: node,
        Kind.NAMESPACE: namespace,
        Kind.PROFILE: profile,
        Kind.TOPOLOGY: topology,
        Kind.ALLOCATION: allocation,
    }
)


def _try(read: Callable[[Any], T], value: Json) -> tuple[T | None, str | None]:
    try:
        return read(value), None
    except ApiError as error:
        return None, str(error)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _labels(metadata: Json) -> Mapping[str, str]:
    labels = _dict(metadata.get("labels"))
    return {str(name): str(text) for name, text in labels.items()} if labels else NO_LABELS


def _generation(value: Json) -> int:
    generation = _dict(value.get("metadata")).get("generation")
    return generation if isinstance(generation, int) else 0


def _owners(metadata: Json) -> list[Mapping[str, Any]]:
    owners = metadata.get("ownerReferences")
    return [_dict(owner) for owner in owners] if isinstance(owners, list) else []


def _controller(metadata: Json) -> Mapping[str, Any]:
    return next((owner for owner in _owners(metadata) if owner.get("controller") is True), {})


def _owner(metadata: Json, kind: str) -> str | None:
    return next((str(owner.get("uid")) for owner in _owners(metadata) if owner.get("kind") == kind), None)
