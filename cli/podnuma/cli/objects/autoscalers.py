"""HorizontalPodAutoscalers among manifests: how many pods what they scale has at least, and at most. Pure.

A chart that scales leaves `replicas` out, so that one pod would be planned. Where they say 0 the autoscaler
is off. Metrics are of running pods: what they would make of the number between the two bounds is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from podnuma.api.stored_json import object_at
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.queries import group_of

_KIND: Final = "HorizontalPodAutoscaler"
_GROUP: Final = "autoscaling"


def scaled(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents with the replicas that autoscalers among them give, and a line for each change.

    An autoscaler of something that is there is not returned. `namespace`: that of objects which name none.
    """
    found = {
        target: one
        for one in documents
        if one.kind == _KIND and group_of(one.value) == _GROUP and (target := _target(one, namespace))
    }
    kept: list[Document] = []
    lines: list[str] = []
    done = []
    for one in documents:
        autoscaler = found.get((one.kind, _namespace(one, namespace), one.name))
        if autoscaler is None:
            kept.append(one)
            continue
        done.append(autoscaler)
        before, after = _replicas(one), _between(_replicas(one), object_at(autoscaler.value, "spec"))
        kept.append(one if before == after else _with_replicas(one, after))
        if before != after:
            bound = "minReplicas" if after > before else "maxReplicas"
            lines.append(
                f"{one.place}: {one.kind} {one.name} is planned with {after} replicas instead of {before}: "
                f"{bound} of {_KIND} {autoscaler.name}"
            )
    return [one for one in kept if one not in done], lines


def _target(autoscaler: Document, namespace: str) -> tuple[str, str, str] | None:
    reference = object_at(object_at(autoscaler.value, "spec"), "scaleTargetRef")
    kind, name = reference.get("kind"), reference.get("name")
    if not isinstance(kind, str) or not isinstance(name, str):
        return None
    return kind, _namespace(autoscaler, namespace), name


def _namespace(document: Document, namespace: str) -> str:
    return str(object_at(document.value, "metadata").get("namespace") or namespace)


def _replicas(document: Document) -> int:
    return _number(object_at(document.value, "spec"), "replicas", 1)


def _between(replicas: int, spec: Mapping[str, Any]) -> int:
    if replicas == 0:
        return 0
    least = _number(spec, "minReplicas", 1)
    return max(least, min(replicas, _number(spec, "maxReplicas", max(replicas, least))))


def _number(spec: Mapping[str, Any], name: str, default: int) -> int:
    value = spec.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _with_replicas(document: Document, replicas: int) -> Document:
    spec = {**object_at(document.value, "spec"), "replicas": replicas}
    return replace(document, value={**document.value, "spec": spec})
