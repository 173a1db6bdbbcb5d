"""What a question wants to read: one object or a collection, the same for a cluster and for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.api import names

OURS = f"/apis/{names.API_VERSION}/"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Objects of one kind. `name` empty: the whole collection; `node`: only what is on that node."""

    kind: str
    plural: str
    root: str
    namespace: str = ""
    name: str = ""
    node: str = ""

    @property
    def path(self) -> str:
        """The path below the API server."""
        within = f"namespaces/{self.namespace}/" if self.namespace else ""
        return f"{self.root}{within}{self.plural}" + (f"/{self.name}" if self.name else "")

    @property
    def query(self) -> Mapping[str, str]:
        """The server selects by node; both kinds that have one know the field."""
        return {"fieldSelector": f"spec.nodeName={self.node}"} if self.node else {}

    @property
    def resource(self) -> str:
        """The resource as `kubectl auth can-i` spells it."""
        group = self.root.split("/")[2] if self.root.startswith("/apis/") else ""
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def what(self) -> str:
        """What to call it in a sentence."""
        if not self.name:
            return self.resource
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Whether a saved object is wanted."""
        metadata, spec = value.get("metadata") or {}, value.get("spec") or {}
        return (
            value.get("kind") == self.kind
            and self.name in ("", metadata.get("name"))
            and self.namespace in ("", metadata.get("namespace", "default"))
            and self.node in ("", spec.get("nodeName"))
        )


def topologies(node: str = "") -> Wanted:
    """Want all NodeTopologies, or that of a node."""
    return Wanted("NodeTopology", names.NODE_TOPOLOGY.plural, OURS, name=node)


def profiles(name: str = "") -> Wanted:
    """Want all NodeProfiles, or one."""
    return Wanted("NodeProfile", names.NODE_PROFILE.plural, OURS, name=name)


def allocations(node: str = "") -> Wanted:
    """Want all PodAllocations, or those of one node."""
    return Wanted("PodAllocation", names.POD_ALLOCATION.plural, OURS, node=node)


def allocation(namespace: str, pod: str) -> Wanted:
    """Want the PodAllocation of a pod."""
    return Wanted("PodAllocation", names.POD_ALLOCATION.plural, OURS, namespace, pod)


def pods(namespace: str = "", name: str = "") -> Wanted:
    """Want all pods, those of a namespace, or one."""
    return Wanted("Pod", "pods", "/api/v1/", namespace, name)


def pod_metrics(namespace: str = "") -> Wanted:
    """Want what pods use now, where a metrics server tells."""
    return Wanted("PodMetrics", "pods", "/apis/metrics.k8s.io/v1beta1/", namespace)


def namespaces(name: str = "") -> Wanted:
    """Want all namespaces, or one."""
    return Wanted("Namespace", "namespaces", "/api/v1/", name=name)
