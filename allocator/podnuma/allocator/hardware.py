"""What was discovered of a machine, CPUs and NUMA nodes, and whether it is consistent.

Nothing is worked out here. Ids are the kernel's: they may have gaps, core numbers may repeat in
every socket, sockets may be numbered anyhow. Column i of `distances` belongs to the i-th listed
node, whatever its id (kubernetes/kubernetes#113781).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from podnuma.allocator import cpuset, nodeset


class TopologyError(ValueError):
    """The facts about a machine contradict each other; the text names the CPU or node."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """One online logical CPU. `uncore` is the number of its L3 cache, None if it has none."""

    id: int
    core: int
    socket: int
    node: int
    uncore: int | None = None


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One NUMA node. `memory` in bytes, huge pages included; `hugepages` bytes by resource name."""

    id: int
    memory: int
    hugepages: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    distances: tuple[int, ...] = ()


def in_id_order(nodes: tuple[NumaNode, ...]) -> tuple[NumaNode, ...]:
    """Return the nodes ascending by id, with the columns of their distances in the same order."""
    order = sorted(range(len(nodes)), key=lambda place: nodes[place].id)
    return tuple(
        replace(nodes[place], distances=tuple(nodes[place].distances[column] for column in order))
        if nodes[place].distances
        else nodes[place]
        for place in order
    )


def check_facts(cpus: tuple[Cpu, ...], nodes: tuple[NumaNode, ...]) -> None:
    """Raise TopologyError for facts that cannot be true; CPUs come ascending by id."""
    if not cpus:
        raise TopologyError("the machine has no online CPU")
    seen: set[int] = set()
    for node in nodes:
        if node.id in seen:
            raise TopologyError(f"NUMA node {node.id} is listed twice")
        if not 0 <= node.id <= nodeset.MAX_ID:
            raise TopologyError(f"NUMA node id {node.id} is outside 0-{nodeset.MAX_ID}")
        if node.memory < 0 or any(size < 0 for size in node.hugepages.values()):
            raise TopologyError(f"NUMA node {node.id} has a negative amount of memory")
        if node.distances and len(node.distances) != len(nodes):
            raise TopologyError(
                f"NUMA node {node.id} lists {len(node.distances)} distances for {len(nodes)} nodes"
            )
        seen.add(node.id)
    _check_cpus(cpus, seen)


def _check_cpus(cpus: tuple[Cpu, ...], nodes: set[int]) -> None:
    previous = None
    for cpu in cpus:
        if cpu.id == previous:
            raise TopologyError(f"CPU {cpu.id} is listed twice")
        if not 0 <= cpu.id <= cpuset.MAX_ID:
            raise TopologyError(f"CPU id {cpu.id} is outside 0-{cpuset.MAX_ID}")
        if cpu.node not in nodes:
            raise TopologyError(f"CPU {cpu.id} is on NUMA node {cpu.node}, which is not listed")
        previous = cpu.id
