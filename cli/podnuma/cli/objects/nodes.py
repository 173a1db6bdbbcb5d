"""Nodes as the allocator sees them now: hardware, settings, and what pods hold there.

Taken from NodeTopologies and PodAllocations, the same objects the operator restarts from, so a
question gets the answer that the operator would give.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import Node, Problem, SettingsError
from podnuma.api.node_settings import NodeSettings
from podnuma.api.node_topology import NodeTopology
from podnuma.cli import reading
from podnuma.cli.exits import Exit, Failure


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that can be asked. `notes` say what of its objects could not be used."""

    name: str
    node: Node
    settings: NodeSettings
    notes: tuple[str, ...] = ()


def candidates(
    topologies: Sequence[Mapping[str, Any]],
    allocations: Sequence[Mapping[str, Any]],
    instead: NodeSettings | None = None,
) -> tuple[list[Candidate], list[str]]:
    """Return the nodes by name, and why others cannot be asked. `instead`: settings to try on all of them."""
    found: list[Candidate] = []
    problems: list[str] = []
    for value in topologies:
        try:
            topology = reading.topology_of(value)
            found.append(candidate(topology, allocations, instead or topology.node))
        except Failure as failure:
            problems += failure.lines
    return sorted(found, key=lambda one: one.name), problems


def candidate(
    topology: NodeTopology, allocations: Sequence[Mapping[str, Any]], settings: NodeSettings
) -> Candidate:
    """Return one node. Failure(NOT_FOUND) without hardware, Failure(INPUT) if the settings do not fit it."""
    machine = reading.machine_of(topology)
    grants, notes = reading.grants_on(topology.name, allocations)
    try:
        node, problems = Node.restore(settings.settings, machine.topology, grants)
    except SettingsError as error:
        raise Failure(Exit.INPUT, *_lines(topology.name, error.problems)) from error
    notes += _lines(topology.name, problems)
    return Candidate(topology.name, node, settings, tuple(notes))


def _lines(node: str, problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems:
        yield f"node {node}: {problem.field} {problem.value}: {problem.message}"
