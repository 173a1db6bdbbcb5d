"""What the operator has given out on a node: ``status.allocation`` of its NodeTopology, and its summary."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.allocator import AssignmentCounts, AssignmentType, CpuSet, cpuset, quantities
from podnuma.api import names
from podnuma.api.decoding import Fields, integer, parsed
from podnuma.api.hardware import LONGEST_LIST, MAX_GROUPS
from podnuma.api.quantity import read_bytes

RESOURCES: Final = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class NodeFree:
    """What is free on one NUMA node; bytes by resource name ("memory", "hugepages-2Mi"), never below zero.

    ``overcommitted`` has what pods hold beyond what there is, by resource name, always above zero:
    settings or hardware changed while they ran, or others took huge pages that pods hold.
    """

    id: int
    cpus: CpuSet
    memory: Mapping[str, int] = field(default_factory=dict)
    overcommitted: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, node: int, cpus: CpuSet, balance: Mapping[str, int]) -> "NodeFree":
        """Split what there is less what is held, which may be below zero, by resource name."""
        return cls(
            node,
            cpus,
            {name: max(size, 0) for name, size in balance.items()},
            {name: -size for name, size in balance.items() if size < 0},
        )


@dataclass(frozen=True, slots=True)
class NodeAllocation:
    """What the operator has given out on a node."""

    reserved: CpuSet
    exclusive: CpuSet
    shared_pool: CpuSet
    pods: int
    rejected: int
    nodes: tuple[NodeFree, ...] = ()
    assignments: AssignmentCounts = field(default_factory=dict)


def read_node_allocation(fields: Fields) -> NodeAllocation:
    """Read what the operator tells. A part that somebody removed is no zero: it is told anew."""
    read_cpus = parsed(cpuset.parse, LONGEST_LIST)
    return NodeAllocation(
        reserved=fields.required("reservedCPUs", read_cpus, cpuset.EMPTY),
        exclusive=fields.required("exclusiveCPUs", read_cpus, cpuset.EMPTY),
        shared_pool=fields.required("sharedPool", read_cpus, cpuset.EMPTY),
        pods=fields.required("pods", integer(0, 2**31 - 1), 0),
        rejected=fields.required("rejected", integer(0, 2**31 - 1), 0),
        nodes=tuple(
            NodeFree(
                id=item.required("id", integer(0, MAX_GROUPS - 1), 0),
                cpus=item.required("freeCPUs", read_cpus, cpuset.EMPTY),
                memory=item.mapping("freeMemory", read_bytes, 9),
                overcommitted=item.mapping("overcommittedMemory", read_bytes, 9),
            )
            for item in fields.items("numaNodes", MAX_GROUPS)
        ),
        assignments=read_assignments(fields.fields("assignmentCounts")),
    )


def render_node_allocation(allocation: NodeAllocation) -> dict[str, Any]:
    """Render the JSON of ``status.allocation``."""
    return {
        "reservedCPUs": cpuset.render(allocation.reserved),
        "exclusiveCPUs": cpuset.render(allocation.exclusive),
        "sharedPool": cpuset.render(allocation.shared_pool),
        "pods": allocation.pods,
        "rejected": allocation.rejected,
        "numaNodes": [
            {
                "id": node.id,
                "freeCPUs": cpuset.render(node.cpus),
                "freeMemory": _render_sizes(node.memory),
                **({"overcommittedMemory": _render_sizes(node.overcommitted)} if node.overcommitted else {}),
            }
            for node in allocation.nodes
        ],
        "assignmentCounts": render_assignments(allocation.assignments),
    }


def allocation_summary(allocation: NodeAllocation) -> dict[str, str]:
    """Render the texts of ``status.summary`` that follow from what is given out."""
    return {
        "exclusive": _render_share(allocation),
        "shared": cpuset.render(allocation.shared_pool) or names.NOTHING,
        "pods": str(allocation.pods),
        "freeMemory": _render_free_memory(allocation.nodes),
    }


def _render_sizes(sizes: Mapping[str, int]) -> dict[str, str]:
    return {name: quantities.format_bytes(size) for name, size in sizes.items()}


def _render_share(allocation: NodeAllocation) -> str:
    """Exclusive CPUs held, of all that could be held."""
    free = sum(node.cpus.bit_count() for node in allocation.nodes)
    held = allocation.exclusive.bit_count()
    return f"{held}/{held + free}"


def _render_free_memory(nodes: Iterable[NodeFree]) -> str:
    texts = [f"{node.id}:{_rounded(node.memory['memory'])}" for node in nodes if "memory" in node.memory]
    return cut_list(texts, 4096) or names.NOTHING


def _rounded(size: int) -> str:
    """Bytes for people, rounded down to a tenth: "112.4Gi"."""
    for suffix, shift in (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size >= 1 << shift:
            tenths = size * 10 >> shift
            return f"{tenths // 10}.{tenths % 10}{suffix}" if tenths % 10 else f"{tenths // 10}{suffix}"
    return str(size)


def cut_list(texts: Iterable[str], longest: int) -> str:
    """Join texts by commas, cut after whole ones, with an ellipsis, when that gets too long."""
    joined = ",".join(texts)
    return joined if len(joined) <= longest else joined[: joined.rfind(",", 0, longest - 3) + 1] + "..."


def render_assignments(counts: AssignmentCounts) -> dict[str, dict[str, int]]:
    """Render the JSON of assignment counts: every type of both resources, zero included."""
    return {
        resource: {kind.value: counts.get((resource, kind), 0) for kind in AssignmentType}
        for resource in RESOURCES
    }


def read_assignments(fields: Fields) -> dict[tuple[str, AssignmentType], int]:
    """Read assignment counts; zero and absent are the same."""
    counts: dict[tuple[str, AssignmentType], int] = {}
    for resource in RESOURCES:
        entries = fields.fields(resource)
        for kind in AssignmentType:
            count = entries.optional(kind.value, integer(0, 2**31 - 1), 0)
            if count:
                counts[resource, kind] = count
    return counts
