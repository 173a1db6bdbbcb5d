"""Parts of JSON that an API server stored, for readers that raise nothing: of another type is not there."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]


def as_object(value: object) -> Json:
    """Return an object; an empty one if it is something else."""
    return value if isinstance(value, Mapping) else {}


def as_objects(value: object) -> list[Json]:
    """Return the entries of a list as objects; none if it is something else."""
    return [as_object(one) for one in value] if isinstance(value, list) else []
