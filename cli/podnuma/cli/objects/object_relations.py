"""What objects of the same manifests say of each other: which counts, and which is made by another. Pure.

    there twice      the later one counts, as after `kubectl apply`
    made by another  what is saved from a cluster (`kubectl get all -o yaml`) has a Deployment with its
                     ReplicaSets and their pods: the object that makes the others counts
    a template       that of the Deployment which a Rollout names (`spec.workloadRef`)

A pod whose controller is not there, or makes no pods that are known, counts by itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from podnuma.api.stored_json import object_at, objects_at
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.pod_templates import pod_templates
from podnuma.cli.objects.queries import group_of

Identity = tuple[str, str, str]

_ROLLOUTS: Final = "argoproj.io"
_ROLLOUT: Final = "Rollout"


def last_of_each(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents without those of which there is a later one, and a line for each of these."""
    last = _by_identity(documents, namespace)
    kept: list[Document] = []
    replaced: list[str] = []
    for one in documents:
        identity = one.identity(namespace)
        later = one if identity is None else last[identity]
        if later is one:
            kept.append(one)
        else:
            replaced.append(
                f"{one.place}: {one.kind} {one.name} is also in {later.place}, which counts; left out"
            )
    return kept, replaced


def without_made(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents without those that others of them make, and a line for each of these."""
    known = _by_identity(documents, namespace)
    kept: list[Document] = []
    made: list[str] = []
    for one in documents:
        maker = _controller(one, namespace, known)
        if maker is None or not pod_templates(maker):
            kept.append(one)
        else:
            made.append(
                f"{one.place}: {one.kind} {one.name} is made by {maker.kind} {maker.name} in {maker.place}, "
                "which counts; left out"
            )
    return kept, made


def with_templates(documents: Sequence[Document], namespace: str) -> tuple[list[Document], list[str]]:
    """Return the documents with the templates that they name, and a line for each that is not there."""
    known = _by_identity(documents, namespace)
    found: list[Document] = []
    missing: list[str] = []
    for one in documents:
        spec = object_at(one.value, "spec")
        reference = object_at(spec, "workloadRef")
        if (one.kind, group_of(one.value)) != (_ROLLOUT, _ROLLOUTS) or not reference or "template" in spec:
            found.append(one)
            continue
        named = known.get(_named(one, reference, namespace))
        if named is None:
            kind, name = reference.get("kind") or "object", reference.get("name")
            missing.append(
                f"{one.place}: {one.kind} {one.name} has the template of {kind} {name} (spec.workloadRef), "
                "which is not in these manifests; left out"
            )
            continue
        template = object_at(object_at(named.value, "spec"), "template")
        found.append(replace(one, value={**one.value, "spec": {**spec, "template": template}}))
    return found, missing


def _by_identity(documents: Sequence[Document], namespace: str) -> dict[Identity, Document]:
    return {identity: one for one in documents if (identity := one.identity(namespace))}


def _controller(one: Document, namespace: str, known: dict[Identity, Document]) -> Document | None:
    for owner in objects_at(object_at(one.value, "metadata"), "ownerReferences"):
        if owner.get("controller") is True:
            return known.get(_named(one, owner, namespace))
    return None


def _named(one: Document, reference: Any, namespace: str) -> Identity:
    """Return what tells the object that another one of its namespace names."""
    kind = f"{group_of(dict(reference)) or ''}/{reference.get('kind') or ''}"
    where = object_at(one.value, "metadata").get("namespace") or namespace
    return kind, str(where), str(reference.get("name") or "")
