"""Where volumes of a pod can be attached: the node affinity of the PersistentVolumes of its claims. Pure.

    claim of a name        volumes[].persistentVolumeClaim.claimName
    claim of its own       volumes[].ephemeral: the pod's name and the volume's
    volume of a claim      spec.volumeName of the claim, once it is bound
    nodes of a volume      spec.nodeAffinity.required of the PersistentVolume: one of the terms has to match

A claim without a volume keeps a pod off no node here: the scheduler decides where its volume is made.
Reading never fails: what the API server would not have stored names nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from podnuma.api.scheduling import NodeTerm, read_node_terms
from podnuma.api.stored_json import object_at, objects_at, text_at

VolumeTerms = tuple[NodeTerm, ...]
"""Of these one has to match the node; none at all match nothing."""


def read_claim_names(pod: Any) -> tuple[str, ...]:
    """Return the names of the PersistentVolumeClaims of a pod."""
    return tuple(_claims(object_at(pod, "spec"), text_at(object_at(pod, "metadata"), "name")))


def _claims(spec: Mapping[str, Any], pod: str) -> Iterator[str]:
    for volume in objects_at(spec, "volumes"):
        if name := text_at(object_at(volume, "persistentVolumeClaim"), "claimName"):
            yield name
        elif "ephemeral" in volume:
            yield f"{pod}-{text_at(volume, 'name')}"


def read_volume_name(claim: Any) -> str:
    """Return the name of the PersistentVolume of a PersistentVolumeClaim; empty as long as it has none."""
    return text_at(object_at(claim, "spec"), "volumeName")


def read_volume_terms(volume: Any) -> VolumeTerms | None:
    """Return the node affinity of a PersistentVolume; None: it can be attached to any node."""
    required = object_at(object_at(volume, "spec"), "nodeAffinity").get("required")
    return None if required is None else read_node_terms(required)
