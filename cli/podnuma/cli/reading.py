"""From objects of the API to the picture of a node. Pure.

A map is most wanted when something is wrong: a PodAllocation that cannot be read is named
below the picture, and the rest is drawn. Only a node without known hardware has no picture.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from podnuma.allocator import cpuset
from podnuma.allocator.decision import PodGrant
from podnuma.api import node_topology, pod_allocation
from podnuma.api.node_topology import NodeTopology
from podnuma.api.pod_allocation import Phase
from podnuma.api.reading import ApiError
from podnuma.cli import picture
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.processes import NAMESPACE


def picture_of(topology: Mapping[str, Any], allocations: Sequence[Mapping[str, Any]]) -> picture.Picture:
    """Picture one node. Allocations of other nodes, rejected and released ones are left out."""
    node = topology_of(topology)
    grants, notes = grants_on(node.name, allocations)
    return picture.paint(machine_of(node, notes), grants)


def topology_of(value: Mapping[str, Any]) -> NodeTopology:
    """Read a NodeTopology. Failure(INPUT) names every field that is wrong."""
    try:
        return node_topology.read_node_topology(value)
    except ApiError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.problems)) from error


def machine_of(node: NodeTopology, notes: Sequence[str] = ()) -> picture.Machine:
    """Take hardware and reserved CPUs; Failure(NOT_FOUND) if the agent has not reported any hardware."""
    if node.hardware is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"NodeTopology {node.name}: status.hardware is empty; "
            f"see whether the agent runs there: kubectl -n {NAMESPACE} get pods -o wide",
        )
    wanted = node.node.settings.reserved_system_cpus or cpuset.EMPTY
    return picture.Machine(
        name=node.name,
        topology=node.hardware.topology,
        reserved=node.allocation.reserved if node.allocation else wanted,
        offline=node.hardware.offline,
        notes=tuple(notes),
    )


def grants_on(node: str, allocations: Sequence[Mapping[str, Any]]) -> tuple[list[PodGrant], list[str]]:
    """Read what pods hold on a node, and a note for each allocation that cannot be read."""
    grants, notes = [], []
    for value in allocations:
        if value.get("spec", {}).get("nodeName") != node:
            continue
        try:
            allocation = pod_allocation.read_pod_allocation(value)
        except ApiError as error:
            notes.append(f"not drawn: {error}")
            continue
        if allocation.decision.admitted and allocation.status.phase is not Phase.RELEASED:
            grants.append(allocation.grant)
    return grants, notes
