"""Parts of JSON for readers that raise nothing: what has another type than expected counts as absent."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]


def as_object(value: object) -> Json:
    """Return an object; an empty one if it is something else."""
    return value if isinstance(value, Mapping) else {}


def as_objects(value: object) -> list[Json]:
    """Return the entries of a list as objects; none if it is something else."""
    return [as_object(one) for one in value] if isinstance(value, list) else []


def object_at(parent: object, name: str) -> Json:
    """Return the object in a field; an empty one if there is none."""
    child = parent.get(name) if isinstance(parent, Mapping) else None
    return child if isinstance(child, Mapping) else {}


def objects_at(parent: object, name: str) -> list[Json]:
    """Return the objects in the list in a field; other entries are left out."""
    child = parent.get(name) if isinstance(parent, Mapping) else None
    return [one for one in child if isinstance(one, Mapping)] if isinstance(child, list) else []


def text_at(parent: Json, name: str) -> str:
    """Return the text in a field; an empty one if there is none."""
    value = parent.get(name)
    return value if isinstance(value, str) else ""
