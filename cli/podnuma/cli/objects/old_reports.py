"""Which PodAllocations no longer say what the kernel has now (`podnuma.api.kernel_reports`)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from podnuma.api.kernel_reports import values_unknown, values_unknown_since
from podnuma.api.pod_allocation import PodAllocation
from podnuma.cli.exits import Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.nodes import read_topology
from podnuma.cli.objects.sources import ObjectSource, read_if_allowed

if TYPE_CHECKING:
    from podnuma.api.node_topology import NodeTopology


def unknown_values(source: ObjectSource, allocations: Iterable[PodAllocation]) -> dict[tuple[str, str], str]:
    """Say why values are unknown, by namespace and name of the pod, as far as their nodes may be read."""
    allocations = list(allocations)
    names = sorted({one.node_name for one in allocations if one.status.containers})
    query = queries.node_topologies(names[0]) if len(names) == 1 else queries.node_topologies()
    nodes: dict[str, NodeTopology | None] = {}
    for value in _readable(source, query) if names else ():
        try:
            nodes[value["metadata"]["name"]] = read_topology(value)
        except Failure:
            nodes[value["metadata"]["name"]] = None
    told = {}
    for one in allocations:
        text = values_unknown(one.status, nodes.get(one.node_name))
        if not text and len(nodes) > 1 and one.node_name not in nodes:
            text = values_unknown_since("NodeGone", "")
        if text:
            told[one.grant.namespace, one.grant.name] = text
    return told


def _readable(source: ObjectSource, query: queries.ObjectQuery) -> list[queries.Json]:
    try:
        return read_if_allowed(source, query)[0] or []
    except Failure:
        return []
