"""The metadata of an object, and how an error names the object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.api.decoding import Fields, cut, integer, text


@dataclass(frozen=True, slots=True)
class Metadata:
    """What podnuma reads of an object's metadata; ``created`` is RFC 3339, empty where it is not stored."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    generation: int
    deleted: bool
    created: str = ""


def read_metadata(fields: Fields) -> Metadata:
    """Read the metadata of the object at ``fields``.

    Manifests have no more than a name, or the first part of one that the API server completes.
    """
    metadata = fields.fields("metadata")
    named = "generateName" if metadata.has("generateName") and not metadata.has("name") else "name"
    return Metadata(
        name=metadata.required(named, text(253, shortest=1), ""),
        namespace=metadata.optional("namespace", text(63), ""),
        uid=metadata.optional("uid", text(128), ""),
        resource_version=metadata.optional("resourceVersion", text(128), ""),
        generation=metadata.optional("generation", integer(), 0),
        deleted=metadata.has("deletionTimestamp"),
        created=metadata.optional("creationTimestamp", text(64), ""),
    )


def subject(kind: str, value: Any) -> str:
    """Return the words for an object in an error: kind, namespace and name as far as they can be read."""
    metadata = value.get("metadata") if isinstance(value, Mapping) else None
    if not isinstance(metadata, Mapping):
        return f"{kind} without a name"
    namespace, name = (
        cut(part) if isinstance(part := metadata.get(key), str) else "" for key in ("namespace", "name")
    )
    if not name:
        return f"{kind} without a name" + (f" in {namespace}" if namespace else "")
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
