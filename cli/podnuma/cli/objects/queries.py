"""Queries for objects: one object or a collection, the same for a cluster and for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.api import names

Json = dict[str, Any]

PODNUMA_API = f"/apis/{names.API_VERSION}/"


@dataclass(frozen=True, slots=True)
class ObjectQuery:
    """A query for objects of one kind. `name` empty: all of them; `node`: only those on that node."""

    kind: str
    plural: str
    root: str
    namespace: str = ""
    name: str = ""
    node: str = ""

    @property
    def path(self) -> str:
        """The path at the API server."""
        within = f"namespaces/{self.namespace}/" if self.namespace else ""
        return f"{self.root}{within}{self.plural}" + (f"/{self.name}" if self.name else "")

    @property
    def query(self) -> Mapping[str, str]:
        """The query string: the server selects by node."""
        return {"fieldSelector": f"spec.nodeName={self.node}"} if self.node else {}

    @property
    def resource(self) -> str:
        """The resource as `kubectl auth can-i` spells it."""
        group = self.root.split("/")[2] if self.root.startswith("/apis/") else ""
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def label(self) -> str:
        """What to call it in a message."""
        if not self.name:
            return self.resource
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Whether a saved object is an answer."""
        metadata, spec = value.get("metadata") or {}, value.get("spec") or {}
        return (
            value.get("kind") == self.kind
            and self.name in ("", metadata.get("name"))
            and self.namespace in ("", metadata.get("namespace", "default"))
            and self.node in ("", spec.get("nodeName"))
        )


def node_topologies(node: str = "") -> ObjectQuery:
    """Query all NodeTopologies, or that of a node."""
    return ObjectQuery("NodeTopology", names.NODE_TOPOLOGY.plural, PODNUMA_API, name=node)


def pod_allocations(node: str = "") -> ObjectQuery:
    """Query all PodAllocations, or those of one node."""
    return ObjectQuery("PodAllocation", names.POD_ALLOCATION.plural, PODNUMA_API, node=node)


def pod_allocation(namespace: str, pod: str) -> ObjectQuery:
    """Query the PodAllocation of a pod."""
    return ObjectQuery("PodAllocation", names.POD_ALLOCATION.plural, PODNUMA_API, namespace, pod)


def pods(namespace: str = "", name: str = "") -> ObjectQuery:
    """Query all pods, those of a namespace, or one."""
    return ObjectQuery("Pod", "pods", "/api/v1/", namespace, name)


def pod_metrics(namespace: str = "") -> ObjectQuery:
    """Query the current usage of pods, which a metrics server serves."""
    return ObjectQuery("PodMetrics", "pods", "/apis/metrics.k8s.io/v1beta1/", namespace)


def namespaces(name: str = "") -> ObjectQuery:
    """Query all namespaces, or one."""
    return ObjectQuery("Namespace", "namespaces", "/api/v1/", name=name)
