"""The kinds of objects that the operator reads, and where the API server serves them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from podnuma.api import names


class Kind(enum.Enum):
    """One kind of object."""

    POD = "Pod"
    NODE = "Node"
    NAMESPACE = "Namespace"
    PROFILE = "NodeProfile"
    TOPOLOGY = "NodeTopology"
    ALLOCATION = "PodAllocation"


@dataclass(frozen=True, slots=True)
class Place:
    """Group, version and plural of a kind, and the field selector that keeps what does not matter away."""

    group: str
    version: str
    plural: str
    field_selector: str = ""

    @property
    def collection(self) -> str:
        """Return the path of all objects of the kind."""
        return f"{self._root}/{self.plural}"

    def within(self, namespace: str) -> str:
        """Return the path of a namespace's objects of the kind; of all for an empty namespace."""
        return f"{self._root}/namespaces/{namespace}/{self.plural}" if namespace else self.collection

    def object(self, namespace: str, name: str) -> str:
        """Return the path of one object."""
        return f"{self.within(namespace)}/{name}"

    @property
    def _root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


def _own(resource: names.Resource) -> Place:
    return Place(names.GROUP, names.VERSION, resource.plural)


# Pods that are not bound hold nothing yet, pods that have finished hold nothing any more. The
# API server turns leaving the selection into a DELETED event, which is what it means here.
_BOUND_AND_UNFINISHED: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"

PLACES: Final = MappingProxyType(
    {
        Kind.POD: Place("", "v1", "pods", _BOUND_AND_UNFINISHED),
        Kind.NODE: Place("", "v1", "nodes"),
        Kind.NAMESPACE: Place("", "v1", "namespaces"),
        Kind.PROFILE: _own(names.NODE_PROFILE),
        Kind.TOPOLOGY: _own(names.NODE_TOPOLOGY),
        Kind.ALLOCATION: _own(names.POD_ALLOCATION),
    }
)
