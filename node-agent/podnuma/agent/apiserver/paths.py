"""Addresses at the API server, and the objects applied there."""

from collections.abc import Mapping
from typing import Any

from podnuma.agent.apiserver.client import Json
from podnuma.agent.apiserver.watch import WatchSource
from podnuma.api import names

_ROOT = f"/apis/{names.API_VERSION}"


def allocations_source(node: str) -> WatchSource:
    """Return the PodAllocations of a node, selected by the server."""
    field = f"{names.NODE_NAME_FIELD}={node}"
    return WatchSource("PodAllocations", f"{_ROOT}/{names.POD_ALLOCATION.plural}", {"fieldSelector": field})


def topology_source(node: str) -> WatchSource:
    """Return the one NodeTopology of a node."""
    field = f"metadata.name={node}"
    return WatchSource("NodeTopology", f"{_ROOT}/{names.NODE_TOPOLOGY.plural}", {"fieldSelector": field})


def pods_source(node: str) -> WatchSource:
    """Return the pods bound to a node."""
    return WatchSource("Pods", "/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})


def allocation_status_path(namespace: str, name: str) -> str:
    """Return where the status of a PodAllocation is applied."""
    return f"{_ROOT}/namespaces/{namespace}/{names.POD_ALLOCATION.plural}/{name}/status"


def topology_status_path(node: str) -> str:
    """Return where the status of a NodeTopology is applied."""
    return f"{_ROOT}/{names.NODE_TOPOLOGY.plural}/{node}/status"


def allocation_patch(namespace: str, name: str, uid: str, status: Mapping[str, Any]) -> Json:
    """Return what is applied to the status of one PodAllocation; the UID makes it mean that object only."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POD_ALLOCATION.kind,
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "status": dict(status),
    }


def topology_patch(node: str, uid: str, status: Mapping[str, Any]) -> Json:
    """Return what is applied to the status of the node's NodeTopology."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_TOPOLOGY.kind,
        "metadata": {"name": node, "uid": uid},
        "status": dict(status),
    }
