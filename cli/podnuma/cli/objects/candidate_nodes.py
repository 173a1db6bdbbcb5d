"""Nodes that can be asked for a decision: their settings, and an allocator that holds what their pods hold.

Made from NodeTopologies and PodAllocations, the objects that the operator restarts from too, so a
question gets the answer that the operator would give. A node without known hardware or settings, or with
settings that do not fit, cannot be asked, and it is said why.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import SettingsError, SettingsProblem
from podnuma.allocator.check import check
from podnuma.allocator.memory.others import others_pages
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.conditions import Status, find
from podnuma.api.node_conditions import NodeCondition, NodeReason
from podnuma.api.node_settings import NodeSettings
from podnuma.api.node_topology import NodeTopology
from podnuma.api.selector import EVERYTHING
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.nodes import grants_on, hardware_of, read_topology
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, read_if_allowed

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class CandidateNode:
    """A node that can be asked for a decision. `remarks`: what of its objects could not be used."""

    name: str
    allocator: NodeAllocator
    settings: NodeSettings
    remarks: tuple[str, ...] = ()


def own_settings(topology: NodeTopology) -> NodeSettings | None:
    """Return the settings that stand in a NodeTopology; None if nobody has written any."""
    return topology.node if topology.has_settings else None


def fitting(topology: NodeTopology, profile: str, settings: NodeSettings) -> NodeSettings:
    """Return the settings of a profile; Failure(INPUT) names it, and what of it does not fit the hardware."""
    hardware = topology.hardware
    if hardware is not None and (problems := check(settings.managers, hardware.topology)):
        raise _unfit(f"NodeProfile {profile}", topology.name, problems)
    return settings


def _unfit(whose: str, node: str, problems: Sequence[SettingsProblem]) -> Failure:
    what = "; ".join(f"spec.{one.field} {one.value!r}: {one.message}" for one in problems)
    return Failure(
        Exit.INPUT, f"{NodeReason.INVALID_SETTINGS}: {whose} cannot be used on node {node}: {what}"
    )


def candidate_nodes(
    topologies: Sequence[Mapping[str, Any]],
    allocations: Sequence[Mapping[str, Any]],
    choose: Callable[[NodeTopology], NodeSettings | None] = own_settings,
) -> tuple[list[CandidateNode], list[str], list[str]]:
    """Return the nodes by name, the names of those without settings, and why others cannot be asked.

    `choose`: the settings to ask a node with.
    """
    found: list[CandidateNode] = []
    unset: list[str] = []
    problems: list[str] = []
    for value in topologies:
        try:
            topology = read_topology(value)
            if (settings := choose(topology)) is None:
                unset.append(topology.name)
            else:
                found.append(candidate_node(topology, allocations, settings))
        except Failure as failure:
            problems += failure.lines
    return sorted(found, key=lambda one: one.name), sorted(unset), problems


def no_settings(nodes: Sequence[str]) -> str:
    """Say that these nodes have no settings, in one line."""
    which, them = f"node {nodes[0]}: no settings are known for this node", "it"
    if len(nodes) > 1:
        more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        which, them = (
            f"no settings are known for {len(nodes)} nodes ({', '.join(nodes[:_NAMED])}{more})",
            "them",
        )
    return f"{which}: nothing would be pinned; apply a NodeProfile that selects {them}"


def candidate_node(
    topology: NodeTopology, allocations: Sequence[Mapping[str, Any]], settings: NodeSettings | None
) -> CandidateNode:
    """Return one node.

    Failure(NOT_FOUND) without settings or hardware, Failure(INPUT) if the settings do not fit it.
    """
    valid = find(topology.conditions, NodeCondition.SETTINGS_VALID)
    if settings is None and valid is not None and valid.status is Status.FALSE:
        raise Failure(Exit.NOT_FOUND, f"{valid.reason}: {valid.message}")
    if settings is None:
        raise Failure(Exit.NOT_FOUND, no_settings([topology.name]))
    hardware = hardware_of(topology)
    grants, remarks = grants_on(topology.name, allocations)
    try:
        allocator, problems = NodeAllocator.restore(settings.managers, hardware.topology, grants)
    except SettingsError as error:
        profile = topology.profile
        whose = f"NodeProfile {profile.name}" if profile is not None else f"NodeTopology {topology.name}"
        raise _unfit(whose, topology.name, error.problems) from error
    allocator.others_have(others_pages(topology.pages_in_use, allocator.grants, allocator.topology))
    remarks += _lines(topology.name, problems)
    return CandidateNode(topology.name, allocator, settings, tuple(remarks))


def is_managed(source: ObjectSource, node: CandidateNode, pod: Json) -> bool:
    """Tell whether a node's settings select a pod; a namespace that may not be read has no labels."""
    metadata = pod.get("metadata") or {}
    spaces: list[Json] | None = []
    if node.settings.pod_policy.namespace_selector != EVERYTHING:
        spaces, _ = read_if_allowed(source, queries.namespaces(metadata.get("namespace", "default")))
    labels = (spaces[0].get("metadata") or {}).get("labels") or {} if spaces else {}
    return node.settings.pod_policy.manages(metadata.get("labels") or {}, labels)


def _lines(node: str, problems: Sequence[SettingsProblem]) -> Iterator[str]:
    for problem in problems:
        yield f"node {node}: {problem.field} {problem.value}: {problem.message}"
