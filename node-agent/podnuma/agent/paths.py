"""Addresses at the API server, and the objects applied there."""

from collections.abc import Mapping
from typing import Any

from podnuma.agent.kube import Json
from podnuma.agent.watch import Source
from podnuma.api import names

_ROOT = f"/apis/{names.API_VERSION}"


def allocations_of(node: str) -> Source:
    """Return the PodAllocations of a node, selected by the server."""
    field = f"{names.NODE_NAME_FIELD}={node}"
    return Source("PodAllocations", f"{_ROOT}/{names.POD_ALLOCATION.plural}", {"fieldSelector": field})


def topology_of(node: str) -> Source:
    """Return the one NodeTopology of a node."""
    field = f"metadata.name={node}"
    return Source("NodeTopology", f"{_ROOT}/{names.NODE_TOPOLOGY.plural}", {"fieldSelector": field})


def pods_of(node: str) -> Source:
    """Return the pods bound to a node."""
    return Source("Pods", "/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})


def allocation_status(namespace: str, name: str) -> str:
    """Return where the status of a PodAllocation is applied."""
    return f"{_ROOT}/namespaces/{namespace}/{names.POD_ALLOCATION.plural}/{name}/status"


def topology_status(node: str) -> str:
    """Return where the status of a NodeTopology is applied."""
    return f"{_ROOT}/{names.NODE_TOPOLOGY.plural}/{node}/status"


def allocation_body(namespace: str, name: str, uid: str, status: Mapping[str, Any]) -> Json:
    """Return what is applied to the status of one PodAllocation; the UID makes it mean that object only."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POD_ALLOCATION.kind,
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "status": dict(status),
    }


def topology_body(node: str, uid: str, status: Mapping[str, Any]) -> Json:
    """Return what is applied to the status of the node's NodeTopology."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_TOPOLOGY.kind,
        "metadata": {"name": node, "uid": uid},
        "status": dict(status),
    }
