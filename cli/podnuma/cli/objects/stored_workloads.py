"""What is stored of the objects of manifests, as far as applying the manifests leaves it as it is.

    replicas    who leaves them out of a manifest leaves them to an autoscaler: the object keeps those that it
                has. Not where `kubectl apply` has set them before: it takes back what is gone from a
                manifest, and one is left
    jobs        one that has finished makes no more pods, one that is under way those that are missing. Helm
                and Argo CD delete a Job that is a hook of theirs, and make it anew

An object that is not there, or that this user may not read, counts as its manifest says.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeGuard

from podnuma.api.resource_types import (
    DEPLOYMENT,
    JOB,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    ResourceType,
)
from podnuma.api.stored_json import object_at, objects_at
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.queries import ObjectQuery, group_of
from podnuma.cli.objects.sources import ObjectSource, read_or_note

_ROLLOUT: Final = ResourceType("argoproj.io", "v1alpha1", "Rollout", "rollouts", namespaced=True)
_READ: Final = {
    (one.group, one.kind): one
    for one in (DEPLOYMENT, STATEFUL_SET, REPLICA_SET, REPLICATION_CONTROLLER, _ROLLOUT, JOB)
}
_HOOKS: Final = ("helm.sh/hook", "argocd.argoproj.io/hook")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ENDS: Final = ("Complete", "Failed")

Json = Mapping[str, Any]
Note = Callable[[str], None]
Identity = tuple[str, str, str]


def as_stored(
    documents: Sequence[Document], source: ObjectSource, namespace: str, note: Note
) -> tuple[list[Document], list[str]]:
    """Return the documents with what is stored of them, and a line for each that makes other pods by it.

    `namespace`: that of objects which name none.
    """
    stored = _stored(documents, source, namespace, note)
    found: list[Document] = []
    lines: list[str] = []
    for one in documents:
        known = stored.get(_identity(one, namespace))
        kept, line = (one, "") if known is None else _kept(one, known)
        found += [] if kept is None else [kept]
        lines += [f"{one.place}: {one.kind} {one.name} {line}"] if line else []
    return found, lines


def _stored(
    documents: Sequence[Document], source: ObjectSource, namespace: str, note: Note
) -> dict[Identity, Json]:
    asked = {
        ObjectQuery(served, _identity(one, namespace)[1]): None
        for one in documents
        if one.name and (served := _type(one)) is not None
    }
    queries = list(asked)
    try:
        answers: Sequence[Sequence[Json]] = source.fetch(*queries) if queries else []
    except Failure:
        answers = [_read_one(source, query, note) for query in queries]
    return {
        (query.type.kind, query.namespace, str(object_at(value, "metadata").get("name") or "")): value
        for query, values in zip(queries, answers, strict=True)
        for value in values
    }


def _read_one(source: ObjectSource, query: ObjectQuery, note: Note) -> Sequence[Json]:
    try:
        return read_or_note(source, query, note) or ()
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        return ()  # a kind that this cluster does not have


def _type(document: Document) -> ResourceType | None:
    """Return as what a document is stored, if it matters."""
    served = _READ.get((group_of(document.value) or "", document.kind))
    if served is JOB:
        annotations = object_at(object_at(document.value, "metadata"), "annotations")
        return None if any(annotations.get(hook) for hook in _HOOKS) else JOB
    says = object_at(document.value, "spec").get("replicas") is not None
    return None if says else served


def _identity(document: Document, namespace: str) -> Identity:
    named = object_at(document.value, "metadata").get("namespace") or namespace
    return document.kind, str(named), document.name


def _kept(document: Document, stored: Json) -> tuple[Document | None, str]:
    """Return a document with what is stored, None if it makes no more pods, and what to say of it."""
    if document.kind == JOB.kind:
        return _job(document, stored)
    replicas = object_at(stored, "spec").get("replicas")
    if not _is_number(replicas) or replicas == 1 or _was_applied(stored):
        return document, ""
    said = f"is planned with the {replicas} replicas that it has: the manifest leaves them out"
    return _with_spec(document, replicas=replicas), said


def _job(document: Document, stored: Json) -> tuple[Document | None, str]:
    status = object_at(stored, "status")
    for one in objects_at(status, "conditions"):
        if one.get("type") in _ENDS and one.get("status") == "True":
            return None, "has finished: it makes no more pods; left out"
    spec = object_at(document.value, "spec")
    whole, at_once, done = spec.get("completions"), spec.get("parallelism", 1), status.get("succeeded")
    if not (_is_number(whole) and _is_number(at_once) and _is_number(done)):
        return document, ""
    left = max(0, whole - done)
    if left >= min(at_once, whole):
        return document, ""
    said = f"is planned with what is left of it: {done} of its {whole} pods have succeeded"
    return _with_spec(document, parallelism=left), said


def _was_applied(stored: Json) -> bool:
    """Whether `kubectl apply` has set the replicas of a stored object."""
    written = object_at(object_at(stored, "metadata"), "annotations").get(_LAST_APPLIED)
    try:
        applied = json.loads(written) if isinstance(written, str) else {}
    except (ValueError, RecursionError):
        return False
    return isinstance(applied, Mapping) and object_at(applied, "spec").get("replicas") is not None


def _with_spec(document: Document, **fields: int) -> Document:
    spec = {**object_at(document.value, "spec"), **fields}
    return replace(document, value={**document.value, "spec": spec})


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
