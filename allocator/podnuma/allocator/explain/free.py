"""What each NUMA node has free of each managed resource: the numbers of explanations and of brief causes."""

from collections.abc import Iterator
from dataclasses import dataclass

from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import CPU


@dataclass(frozen=True, slots=True)
class FreeRow:
    """What a NUMA node has free of a resource, in CPUs or bytes.

    `grantable` is what an empty node could give. `group` is the set of nodes that this one shares
    memory blocks with, itself alone if none. `others` is what is in use by nobody who was granted it.
    """

    node: int
    resource: str
    free: int
    grantable: int
    group: NodeSet
    others: int = 0


def free_rows(node: NodeAllocator) -> Iterator[FreeRow]:
    """Yield what each NUMA node has free of each managed resource."""
    rules = node.rules
    for one in node.topology.nodes:
        if not rules.topology.all_nodes >> one.id & 1:
            continue
        group = node.memory_group(one.id)
        if rules.static_cpu:
            own = rules.topology.cpus_of_node(one.id) & ~rules.withheld
            yield FreeRow(one.id, CPU, (own & node.default_set).bit_count(), own.bit_count(), group)
        if rules.static_memory:
            for resource, row in node.memory_rows(one.id).items():
                yield FreeRow(one.id, resource, row.free, row.allocatable, group, row.others)


def most_grantable(node: NodeAllocator) -> dict[str, int]:
    """Return what the machine could grant at most, by resource."""
    most: dict[str, int] = {}
    for row in free_rows(node):
        most[row.resource] = most.get(row.resource, 0) + row.grantable
    return most
