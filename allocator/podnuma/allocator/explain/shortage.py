"""What NUMA nodes have free, and the short answer to why a pod did not fit.

`describe_shortage` puts what a pod asks for beside what each NUMA node has free. The operator
stores it with a rejection, `podnuma plan` prints it. `explanation` says how a decision came
about, and shows the same numbers as a table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.quantities import NANO, format_bytes
from podnuma.allocator.request import CPU, MEMORY, ContainerRequest, PodRequest, aggregate


@dataclass(frozen=True, slots=True)
class FreeRow:
    """What a NUMA node has free of a resource, in CPUs or bytes.

    `grantable` is what an empty node could give. `group` is the set of nodes that this one shares
    memory blocks with, itself alone if none.
    """

    node: int
    resource: str
    free: int
    grantable: int
    group: NodeSet


def free_rows(node: NodeAllocator) -> Iterator[FreeRow]:
    """Yield what each NUMA node has free of each managed resource."""
    rules = node.rules
    for one in node.topology.nodes:
        group = node.memory_group(one.id)
        if rules.static_cpu:
            own = rules.topology.cpus_of_node(one.id) & ~rules.reserved
            yield FreeRow(one.id, CPU, (own & node.default_set).bit_count(), own.bit_count(), group)
        if rules.static_memory:
            for resource, row in node.memory_rows(one.id).items():
                yield FreeRow(one.id, resource, row.free, row.allocatable, group)


def describe_shortage(node: NodeAllocator, request: PodRequest) -> str:
    """Say what a pod asks for and what each NUMA node has free."""
    asked = request.pod_requests or {}
    needs = {
        resource: asked[resource].nano if resource in asked else _sum_of_containers(request, resource)
        for resource in (CPU, MEMORY)
    }
    free = [
        f"NUMA node {numa}: {', '.join(map(_amount, rows))}"
        for numa, rows in groupby(free_rows(node), key=lambda row: row.node)
    ]
    cpus, memory = needs[CPU] / NANO, format_bytes(-(-needs[MEMORY] // NANO))
    return f"asks for {cpus:g} CPUs and {memory} memory; free on {'; on '.join(free)}"


def _amount(row: FreeRow) -> str:
    return f"{row.free} CPUs" if row.resource == CPU else f"{format_bytes(row.free)} {row.resource}"


def _sum_of_containers(request: PodRequest, resource: str) -> int:
    def amount(container: ContainerRequest) -> int:
        given = container.requests.get(resource)
        return 0 if given is None else given.nano

    return aggregate(request.containers, [amount(container) for container in request.containers])
