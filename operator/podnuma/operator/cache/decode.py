"""JSON objects from the API server to cached objects; never an exception.

Metadata was checked by the API server and is read as it is. All that users wrote goes through
podnuma.api; an object that it refuses is cached with the reason, so that a bad object is
reported in its own status and affects no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, TypeVar

from podnuma.api import names
from podnuma.api.conditions import stored_conditions
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_claims import read_claim_references
from podnuma.api.device_plugins import read_extended_resources
from podnuma.api.events import Involved
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_topology import operator_part, read_node_topology
from podnuma.api.placement import read_scheduling_state
from podnuma.api.pod import read_mirror, read_pod
from podnuma.api.pod_allocation import PodAllocation, SentSpec, read_accepted_allocation, read_pod_allocation
from podnuma.api.pod_condition import told_refusal
from podnuma.api.pod_needs import Needs, read_pod_needs
from podnuma.api.pod_resize import allocated, is_unseen, kubelet_holds_back, resources_revision
from podnuma.api.scheduling import read_schedulable_node
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
    RequestingPod,
)

Json = Mapping[str, Any]
T = TypeVar("T")

_FINISHED: Final = ("Succeeded", "Failed")
_GUARANTEED: Final = "Guaranteed"
_JUDGED_BY_SPEC: Final = frozenset({names.RESOURCES_ANNOTATION, names.STATIC_POD_MIRROR_ANNOTATION})
_DIGEST: Final = 32  # digits
_LONGEST_VERSION: Final = 19  # digits of a 64-bit number


def resource_version(text: object) -> int:
    """Return a resource version as a number; 0 for what is none."""
    if not isinstance(text, str) or len(text) > _LONGEST_VERSION or not (text.isascii() and text.isdecimal()):
        return 0
    return int(text)


def object_version(value: Json) -> ObjectVersion:
    """Return UID and resourceVersion of an object."""
    metadata = _dict(value.get("metadata"))
    return ObjectVersion(str(metadata.get("uid") or ""), resource_version(metadata.get("resourceVersion")))


def object_key(value: Json) -> ObjectKey:
    """Return namespace and name of an object."""
    metadata = _dict(value.get("metadata"))
    return ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def has_finished(value: Json) -> bool:
    """Tell whether a pod has finished: it holds nothing any more."""
    return _dict(value.get("status")).get("phase") in _FINISHED


def decode_pod(value: Json) -> CachedPod | None:
    """Decode a pod; None if it holds nothing: not bound, finished, or neither Guaranteed nor annotated.

    The class that is stored of a mirror pod is not looked at: the kubelet may have made that object before
    the API server knew pod-level resources.
    """
    if not _JUDGED_BY_SPEC & _dict(_dict(value.get("metadata")).get("annotations")).keys():
        qos = _dict(value.get("status")).get("qosClass")
        if qos is not None and qos != _GUARANTEED:
            return None
    return decode_bound_pod(value)


def decode_bound_pod(value: Json) -> CachedPod | None:
    """Decode any pod that is bound and has not finished."""
    node_name = _dict(value.get("spec")).get("nodeName")
    return None if not node_name or has_finished(value) else _cached_pod(value, str(node_name))


def decode_placeable_pod(value: Json) -> CachedPod | None:
    """Decode any pod that has not finished, bound or not."""
    if has_finished(value):
        return None
    if found := decode_bound_pod(value):
        return replace(found, needs=_needs(value))
    return replace(_cached_pod(value, ""), needs=_needs(value), scheduling=read_scheduling_state(value))


def decode_requesting_pod(value: Json) -> CachedPod | RequestingPod | None:
    """Decode every pod that counts where pods are placed; of one that can hold nothing, what it requests."""
    bound = _dict(value.get("spec")).get("nodeName")
    if not bound:
        return decode_placeable_pod(value)
    found = decode_pod(value)
    if found is not None:
        return replace(found, needs=_needs(value))
    if has_finished(value):
        return None
    return RequestingPod(object_version(value), object_key(value), str(bound), _needs(value))


def _cached_pod(value: Json, node_name: str) -> CachedPod:
    metadata = _dict(value.get("metadata"))
    desired, problem = _try(read_pod, value)
    request = None if desired is None else allocated(value, desired)
    owner = _controller(metadata)
    return CachedPod(
        version=object_version(value),
        key=object_key(value),
        node=node_name,
        created=str(metadata.get("creationTimestamp") or ""),
        labels=_labels(metadata),
        request=request,
        problem=problem,
        controller=_controller_reference(object_key(value).namespace, owner),
        stays=owner.get("kind") in ("DaemonSet", "Node")
        or names.STATIC_POD_MIRROR_ANNOTATION in _dict(metadata.get("annotations")),
        terminating=bool(metadata.get("deletionTimestamp")),
        running=_dict(value.get("status")).get("phase") == "Running",
        mirror=read_mirror(metadata, node_name),
        revision="" if request is None else resources_revision(request),
        held_back=_held_back(value, unallocated=request != desired),
        refusal=told_refusal(value),
        claims=read_claim_references(value),
        extended=read_extended_resources(value),
    )


def _needs(value: Json) -> Needs:
    return _shared_needs(tuple(sorted(read_pod_needs(value).items())))


@lru_cache(4096)
def _shared_needs(amounts: tuple[tuple[str, int], ...]) -> Needs:
    """Return one mapping for all pods that request the same."""
    return MappingProxyType(dict(amounts))


def _held_back(value: Json, *, unallocated: bool) -> str:
    if why := kubelet_holds_back(value):
        return why
    # Before containers have started nothing tells their amounts: then the spec counts once it was seen.
    return "the kubelet has not accepted it yet" if unallocated or is_unseen(value) else ""


def decode_node(value: Json) -> CachedNode:
    """Decode a node."""
    name = object_key(value)
    version = _dict(_dict(value.get("status")).get("nodeInfo")).get("kubeletVersion")
    return CachedNode(
        version=object_version(value),
        key=name,
        node=name.name,
        labels=_labels(_dict(value.get("metadata"))),
        kubelet_version=version[:64] if isinstance(version, str) else "",
    )


def decode_schedulable_node(value: Json) -> CachedNode:
    """Decode a node with what the scheduler looks at."""
    found = decode_node(value)
    return replace(found, schedulable=replace(read_schedulable_node(value), labels=found.labels))


def decode_namespace(value: Json) -> CachedNamespace:
    """Decode a namespace."""
    metadata = _dict(value.get("metadata"))
    return CachedNamespace(
        object_version(value),
        object_key(value),
        "",
        _labels(metadata),
        bool(metadata.get("deletionTimestamp")),
    )


def decode_profile(value: Json) -> CachedProfile:
    """Decode a NodeProfile."""
    model, problem = _try(read_node_profile, value)
    return CachedProfile(
        object_version(value),
        object_key(value),
        "",
        _generation(value),
        model,
        problem,
        stored_conditions(value) if model is None else model.conditions,
        in_brief(_dict(value.get("status"))),
    )


def in_brief(part: Json) -> str:
    """Return a digest of JSON, in which the order of keys does not count."""
    text = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:_DIGEST]


def decode_topology(value: Json) -> CachedTopology:
    """Decode a NodeTopology; it is named after its node."""
    metadata = _dict(value.get("metadata"))
    model, problem = _try(read_node_topology, value)
    name = object_key(value)
    return CachedTopology(
        version=object_version(value),
        key=name,
        node=name.name,
        generation=_generation(value),
        created=str(metadata.get("creationTimestamp") or ""),
        owner=_owner(metadata, "Node"),
        model=model,
        problem=problem,
        conditions=stored_conditions(value) if model is None else model.conditions,
        told=in_brief(operator_part(_dict(value.get("status")))),
    )


def decode_allocation(value: Json, sent: SentSpec | None = None) -> CachedAllocation:
    """Decode a PodAllocation; `sent`: in the answer to a write, what was written."""
    model, problem = _try(partial(read_pod_allocation, sent=sent), value)
    accepted = read_accepted_allocation(value) if model is None else None
    if model is None:
        model, _ = _try(partial(read_pod_allocation, as_it_is=True), value)
    metadata, spec = _dict(value.get("metadata")), _dict(value.get("spec"))
    finalizers = metadata.get("finalizers")
    return CachedAllocation(
        version=object_version(value),
        key=object_key(value),
        node=str(spec.get("nodeName") or "") if accepted is None else accepted.node_name,
        generation=_generation(value),
        owner=_owner(metadata, "Pod"),
        model=None if model is None else _without_copy(model),
        accepted=None if accepted is None else _without_copy(accepted),
        problem=problem,
        finalizers=tuple(map(str, finalizers)) if isinstance(finalizers, list) else (),
        deleting=bool(metadata.get("deletionTimestamp")),
        phase=str(_dict(value.get("status")).get("phase") or ""),
    )


def _without_copy(model: PodAllocation) -> PodAllocation:
    """Return an allocation without the second copy of its spec, which would double what is cached."""
    return replace(model, status=replace(model.status, accepted_spec=None))


def decode_kept_allocation(value: Json) -> CachedAllocation | None:
    """Decode a PodAllocation; None if it is as good as gone: deleted, and only others keep it."""
    allocation = decode_allocation(value)
    return None if allocation.deleting and not allocation.finalized else allocation


DECODERS: Final[Mapping[Kind, Callable[[Json], CachedObject | None]]] = MappingProxyType(
    {
        Kind.POD: decode_pod,
        Kind.NODE: decode_node,
        Kind.NAMESPACE: decode_namespace,
        Kind.PROFILE: decode_profile,
        Kind.TOPOLOGY: decode_topology,
        Kind.ALLOCATION: decode_kept_allocation,
    }
)

PLACING_DECODERS: Final[Mapping[Kind, Callable[[Json], CachedObject | None]]] = MappingProxyType(
    {**DECODERS, Kind.POD: decode_requesting_pod, Kind.NODE: decode_schedulable_node}
)
"""Those of an operator that places pods."""


def _try(read: Callable[[Any], T], value: Json) -> tuple[T | None, str | None]:
    try:
        return read(value), None
    except InvalidObjectError as error:
        return None, str(error)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, (dict, Mapping)) else {}


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


def _controller_reference(namespace: str, owner: Json) -> Involved | None:
    uid = str(owner.get("uid") or "")
    texts = (str(owner.get(field) or "") for field in ("apiVersion", "kind", "name"))
    return _involved(namespace, uid, *texts) if uid else None


@lru_cache(4096)
def _involved(namespace: str, uid: str, api_version: str, kind: str, name: str) -> Involved:
    """Return one object for all pods of a controller."""
    return Involved(api_version, kind, namespace, name, uid)


def _owner(metadata: Json, kind: str) -> str | None:
    return next((str(owner.get("uid")) for owner in _owners(metadata) if owner.get("kind") == kind), None)
