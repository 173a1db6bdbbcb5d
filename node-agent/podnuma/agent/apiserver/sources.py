"""What the agent watches at the API server; field selectors leave out what belongs to other nodes."""

from podnuma.agent.apiserver.watch import WatchSource
from podnuma.api import names
from podnuma.api.resource_types import NODE_TOPOLOGY, POD, POD_ALLOCATION, ResourceType


def allocations_source(node: str) -> WatchSource:
    """Return the PodAllocations of a node."""
    return _source("PodAllocations", POD_ALLOCATION, f"{names.NODE_NAME_FIELD}={node}")


def topology_source(node: str) -> WatchSource:
    """Return the one NodeTopology of a node."""
    return _source("NodeTopology", NODE_TOPOLOGY, f"metadata.name={node}")


def pods_source(node: str) -> WatchSource:
    """Return the pods bound to a node."""
    return _source("Pods", POD, f"spec.nodeName={node}")


def _source(name: str, served: ResourceType, field_selector: str) -> WatchSource:
    return WatchSource(name, served.path(), {"fieldSelector": field_selector})
