"""Nodes as the command line sees them: hardware, and what pods hold there.

Read from NodeTopologies and PodAllocations. A PodAllocation that cannot be read becomes a remark and the rest
is used; only a node without known hardware cannot be shown. Nothing here decides: `candidate_nodes` does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from podnuma.allocator.decision import PodGrant
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.hardware import Hardware
from podnuma.api.node_topology import NodeTopology, read_node_topology
from podnuma.api.pod_allocation import read_accepted_allocation, read_pod_allocation
from podnuma.cli.exits import INSTALL_NAMESPACE, Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.asked_names import checked_name
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import FileSource, ObjectSource, near_name

_NO_AGENT = (
    "the agent of a node makes it when it starts: "
    f"kubectl -n {INSTALL_NAMESPACE} get pods -o wide shows where agents run"
)
_NOT_SAVED = "`kubectl get nodetopologies -o yaml` saves them, `podnuma discover` writes that of a machine"


def find_topologies(source: ObjectSource, names: Sequence[str], labels: str) -> list[Json]:
    """Return NodeTopologies by name: those that are named, else all; of these those of nodes with labels.

    Failure(NOT_FOUND) if there is none, with what makes one.
    """
    asked = [queries.node_topologies(checked_name("node", name)) for name in names] or [
        queries.node_topologies()
    ]
    try:
        found = [value for values in source.fetch(*asked) for value in values]
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        missing = next((one for one in asked if one.name and source.find(one) is None), None)
        near = near_name(source, missing) if missing else ""
        raise Failure(failure.code, failure.lines[0] + near, *failure.lines[1:]) from failure
    if labels:
        wanted = {one["metadata"]["name"] for one in source.fetch(queries.nodes(labels=labels))[0]}
        found = [one for one in found if one["metadata"]["name"] in wanted]
    if not found:
        raise _none_found(source, labels)
    return sorted(found, key=lambda one: str(one["metadata"]["name"]))


def _none_found(source: ObjectSource, labels: str) -> Failure:
    which = f" of a node that {labels} selects" if labels else ""
    if isinstance(source, FileSource):
        return Failure(Exit.NOT_FOUND, f"there is no NodeTopology{which} in {source.label}; {_NOT_SAVED}")
    return Failure(Exit.NOT_FOUND, f"there is no NodeTopology{which}; {_NO_AGENT}")


def read_topology(value: Mapping[str, Any]) -> NodeTopology:
    """Read a NodeTopology. Failure(INPUT) names every field that is wrong."""
    try:
        return read_node_topology(value)
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.errors)) from error


def hardware_of(node: NodeTopology) -> Hardware:
    """Return the node's hardware; Failure(NOT_FOUND) if the agent has not reported any."""
    if node.hardware is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"NodeTopology {node.name}: status.hardware is empty; "
            f"check whether the agent runs there: kubectl -n {INSTALL_NAMESPACE} get pods -o wide",
        )
    return node.hardware


def grants_on(node: str, allocations: Sequence[Mapping[str, Any]]) -> tuple[list[PodGrant], list[str]]:
    """Read what pods hold on a node, and a remark for each allocation that cannot be read.

    Of one whose spec is not what was decided it is what the agent acts on.
    """
    grants, remarks = [], []
    for value in allocations:
        if value.get("spec", {}).get("nodeName") != node:
            continue
        try:
            allocation = read_pod_allocation(value)
        except InvalidObjectError as error:
            accepted = read_accepted_allocation(value)
            said = "not drawn" if accepted is None else "drawn as its agent acts on it"
            remarks.append(f"{said}: {error}")
            if accepted is None:
                continue
            allocation = accepted
        if allocation.decision.admitted and not allocation.status.phase.given_back:
            grants.append(allocation.grant)
    return grants, remarks
