"""The kinds of objects that the operator keeps in its cache."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

from podnuma.api import resource_types


class Kind(enum.Enum):
    """One kind of object; the value is its type at the API server."""

    POD = resource_types.POD
    NODE = resource_types.NODE
    NAMESPACE = resource_types.NAMESPACE
    PROFILE = resource_types.NODE_PROFILE
    TOPOLOGY = resource_types.NODE_TOPOLOGY
    ALLOCATION = resource_types.POD_ALLOCATION


# Pods that are not bound hold nothing yet, pods that have finished hold nothing any more. The
# API server turns leaving the selection into a DELETED event, which is what it means here.
FIELD_SELECTORS: Final = MappingProxyType(
    {Kind.POD: "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"}
)
"""What the API server is asked to leave out, by kind."""

PLACING_FIELD_SELECTORS: Final = MappingProxyType({Kind.POD: "status.phase!=Succeeded,status.phase!=Failed"})
"""The same for an operator that places pods: it needs those that are not bound yet."""
