"""What a pod asks for beside what each NUMA node has free: the short explanation of a rejection.

It is stored with the rejection. `explanation` tells how the decision came about, and needs
the node as it was.
"""

from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import NANO, format_bytes
from podnuma.allocator.request import CPU, MEMORY, ContainerRequest, PodRequest, aggregate


def request_and_free(node: NodeAllocator, request: PodRequest) -> str:
    """Say what a pod asks for and what each NUMA node has free."""
    asked = request.pod_requests or {}
    free = node.default_set & ~node.reserved_cpus
    rows = []
    for numa in node.topology.nodes:
        amounts = [f"{(free & node.topology.cpus_of_node(numa.id)).bit_count()} CPUs"]
        amounts += [
            f"{format_bytes(node.free_memory(numa.id, resource))} {resource}"
            for resource in node.memory_rows(numa.id)
        ]
        rows.append(f"NUMA node {numa.id}: {', '.join(amounts)}")
    needs = {
        resource: asked[resource].nano if resource in asked else _sum_of_containers(request, resource)
        for resource in (CPU, MEMORY)
    }
    cpus, memory = needs[CPU] / NANO, format_bytes(-(-needs[MEMORY] // NANO))
    return f"asks for {cpus:g} CPUs and {memory} memory; free on {'; on '.join(rows)}"


def _sum_of_containers(request: PodRequest, resource: str) -> int:
    def amount(container: ContainerRequest) -> int:
        given = container.requests.get(resource)
        return 0 if given is None else given.nano

    return aggregate(request.containers, [amount(container) for container in request.containers])
