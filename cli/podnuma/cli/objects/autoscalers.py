"""Autoscalers among manifests: how many pods what they scale has at least, and at most. Pure.

    HorizontalPodAutoscaler    minReplicas (1), maxReplicas; off where `replicas` is 0
    ScaledObject (KEDA)        minReplicaCount (0), maxReplicaCount (100), also where `replicas` is 0;
                               its annotation says how many while it is paused

A chart that scales leaves `replicas` out, so that one pod would be planned. Metrics are of running pods: what
they would make of the number between the two bounds is not known.

A VerticalPodAutoscaler gives pods other requests when they are created, by what such pods have used, which no
manifest tells: that is said. They are rarely whole CPUs, with which a container has none for itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from podnuma.api.stored_json import object_at, objects_at
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.queries import group_of

_PAUSED: Final = "autoscaling.keda.sh/paused-replicas"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of autoscaler: the fields of its bounds with their defaults, the kind that it scales."""

    least: tuple[str, int]
    most: tuple[str, int | None]
    target: str = ""
    from_zero: bool = False


_KINDS: Final = {
    ("autoscaling", "HorizontalPodAutoscaler"): _Kind(("minReplicas", 1), ("maxReplicas", None)),
    ("keda.sh", "ScaledObject"): _Kind(
        ("minReplicaCount", 0), ("maxReplicaCount", 100), "Deployment", from_zero=True
    ),
}


def scaled(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents with the replicas that autoscalers among them give, and a line for each change.

    An autoscaler of something that is there is not returned. `namespace`: that of objects which name none.
    """
    documents, lines = _resized(documents, namespace)
    found = {
        target: one
        for one in documents
        if (kind := _kind(one)) is not None and (target := _target(one, kind, namespace))
    }
    kept: list[Document] = []
    done = []
    for one in documents:
        autoscaler = found.get((one.kind, _namespace(one, namespace), one.name))
        kind = None if autoscaler is None else _kind(autoscaler)
        if autoscaler is None or kind is None:
            kept.append(one)
            continue
        done.append(autoscaler)
        before = _number(object_at(one.value, "spec"), "replicas", 1)
        after, bound = _bounded(before, autoscaler, kind)
        kept.append(one if before == after else _with_replicas(one, after))
        if before != after:
            lines.append(
                f"{one.place}: {one.kind} {one.name} is planned with {after} replicas instead of {before}: "
                f"{bound} of {autoscaler.kind} {autoscaler.name}"
            )
    return [one for one in kept if one not in done], lines


def _resized(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents without autoscalers of requests, and a line for each that they change."""
    there = {(one.kind, _namespace(one, namespace), one.name): one for one in documents}
    kept: list[Document] = []
    lines: list[str] = []
    for one in documents:
        group = group_of(one.value) or ""
        of_requests = (group, one.kind) == ("autoscaling.k8s.io", "VerticalPodAutoscaler")
        reference = object_at(object_at(one.value, "spec"), "targetRef")
        target = there.get(
            (str(reference.get("kind")), _namespace(one, namespace), str(reference.get("name")))
        )
        if not of_requests or target is None:
            kept.append(one)
        elif _gives_requests(one):
            lines.append(
                f"{target.place}: {target.kind} {target.name} is planned with the requests of its manifest, "
                f"though VerticalPodAutoscaler {one.name} gives its pods others when they are created, "
                "rarely of whole CPUs"
            )
    return kept, lines


def _gives_requests(autoscaler: Document) -> bool:
    """Whether it changes requests of some container when a pod is created."""
    spec = object_at(autoscaler.value, "spec")
    policies = objects_at(object_at(spec, "resourcePolicy"), "containerPolicies")
    every = next((one for one in policies if one.get("containerName") == "*"), {})
    some = any(one.get("mode") != "Off" for one in policies if one is not every)
    off = object_at(spec, "updatePolicy").get("updateMode") == "Off"
    return not off and (every.get("mode") != "Off" or some)


def _kind(document: Document) -> _Kind | None:
    return _KINDS.get((group_of(document.value) or "", document.kind))


def _target(autoscaler: Document, scaler: _Kind, namespace: str) -> tuple[str, str, str] | None:
    reference = object_at(object_at(autoscaler.value, "spec"), "scaleTargetRef")
    kind, name = reference.get("kind") or scaler.target, reference.get("name")
    if not isinstance(kind, str) or not isinstance(name, str) or not kind:
        return None
    return kind, _namespace(autoscaler, namespace), name


def _namespace(document: Document, namespace: str) -> str:
    return str(object_at(document.value, "metadata").get("namespace") or namespace)


def _bounded(replicas: int, autoscaler: Document, kind: _Kind) -> tuple[int, str]:
    """Return how many replicas there are instead of so many, and the field that says so."""
    spec = object_at(autoscaler.value, "spec")
    paused = object_at(object_at(autoscaler.value, "metadata"), "annotations").get(_PAUSED)
    if kind.from_zero and isinstance(paused, str) and paused.isdecimal():
        return int(paused), _PAUSED
    if replicas == 0 and not kind.from_zero:
        return 0, ""
    least = _number(spec, *kind.least)
    field, default = kind.most
    most = _number(spec, field, max(replicas, least) if default is None else default)
    after = max(least, min(replicas, most))
    return after, kind.least[0] if after > replicas else field


def _number(spec: Mapping[str, Any], name: str, default: int) -> int:
    value = spec.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _with_replicas(document: Document, replicas: int) -> Document:
    spec = {**object_at(document.value, "spec"), "replicas": replicas}
    return replace(document, value={**document.value, "spec": spec})
