"""Where volumes of pods are already: by their claims and PersistentVolumes, as far as these may be read.

A claim that has no volume yet, or none that is known, keeps a pod off no node.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from podnuma.api.resource_types import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from podnuma.api.scheduling import PodConstraints
from podnuma.api.stored_json import object_at, text_at
from podnuma.api.volumes import VolumeTerms, read_volume_name, read_volume_terms
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.sources import Note, ObjectSource, read_or_note
from podnuma.cli.objects.workloads import PlannedPod

Claim = tuple[str, str]
"""Namespace and name."""


def with_volumes(pods: Sequence[PlannedPod], source: ObjectSource, note: Note) -> tuple[PlannedPod, ...]:
    """Return planned pods with the nodes to which the volumes that they have already can be attached."""
    asked = [[(one.pod.namespace, claim) for claim in one.claims] for one in pods]
    where = _where({claim for claims in asked for claim in claims}, source, note)
    return tuple(
        replace(one, constraints=_attached(one.constraints, claims, where))
        for one, claims in zip(pods, asked, strict=True)
    )


def with_volumes_of(
    pod: PodConstraints, claims: Sequence[Claim], source: ObjectSource, note: Note
) -> PodConstraints:
    """Return the constraints of a pod with these claims, and with the nodes of its volumes."""
    return _attached(pod, claims, _where(claims, source, note))


def _attached(
    pod: PodConstraints, claims: Sequence[Claim], where: dict[Claim, VolumeTerms]
) -> PodConstraints:
    found = tuple(where[claim] for claim in claims if claim in where)
    return replace(pod, attachable=found) if found else pod


def _where(claims: Collection[Claim], source: ObjectSource, note: Note) -> dict[Claim, VolumeTerms]:
    bound: dict[Claim, str] = {}
    for namespace in sorted({namespace for namespace, _ in claims}):
        stored = read_or_note(source, ObjectQuery(PERSISTENT_VOLUME_CLAIM, namespace), note) or ()
        bound |= {(namespace, _name(one)): volume for one in stored if (volume := read_volume_name(one))}
    if not any(claim in bound for claim in claims):
        return {}
    volumes = {_name(one): one for one in read_or_note(source, ObjectQuery(PERSISTENT_VOLUME), note) or ()}
    terms = {claim: read_volume_terms(volumes.get(bound.get(claim, ""))) for claim in claims}
    return {claim: found for claim, found in terms.items() if found is not None}


def _name(value: Json) -> str:
    return text_at(object_at(value, "metadata"), "name")
