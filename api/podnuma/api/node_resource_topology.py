"""NodeResourceTopology (``topology.node.k8s.io/v1alpha2``): free room per NUMA node, for schedulers.

The plugin NodeResourceTopologyMatch of scheduler-plugins reads one object per node and does not bind
a pod to a node where no zone has room for it. podnuma writes these objects where they are wanted, since on
nodes that it manages no kubelet knows what is given exclusively.

A zone is a NUMA node, named ``node-<id>`` as the plugin expects. CPUs that are reserved, or isolated
and not to be given, are in no ``allocatable``; ``available`` is what no pod holds exclusively. Of memory that
is shared in a group of NUMA nodes nothing is available where a pod may have one NUMA node only: none of it is
given without the others. Nothing is ever below zero. Only written: no decision reads one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from podnuma.allocator import CpuSet
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import of
from podnuma.allocator.request import CPU, MEMORY
from podnuma.api.quantity import render_quantity
from podnuma.api.resource_types import NODE, NODE_RESOURCE_TOPOLOGY

MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "podnuma"}
"""The label of the objects that podnuma wrote; those of other exporters are left alone."""

_USUAL_NUMA_NODES: Final = 8  # what the kubelet and the plugin expect at most unless told otherwise


def render_node_resource_topology(
    node_name: str, node_uid: str, allocator: NodeAllocator, held: CpuSet
) -> dict[str, Any]:
    """Render the object of a node. ``held``: the CPUs of all pods, also of those under earlier settings."""
    numa_nodes = allocator.topology.nodes
    attributes = {
        "topologyManagerPolicy": allocator.settings.topology_manager_policy.value,
        "topologyManagerScope": allocator.settings.topology_manager_scope.value,
    }
    if len(numa_nodes) > _USUAL_NUMA_NODES:
        attributes["topologyManagerMaxNUMANodes"] = str(len(numa_nodes))
    return {
        **NODE_RESOURCE_TOPOLOGY.type_meta,
        "metadata": {
            "name": node_name,
            "labels": dict(MANAGED_BY),
            "ownerReferences": [{**NODE.type_meta, "name": node_name, "uid": node_uid}],
        },
        "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
        "zones": [
            {
                "name": f"node-{numa.id}",
                "type": "Node",
                "costs": [
                    {"name": f"node-{other.id}", "value": distance}
                    for other, distance in zip(numa_nodes, numa.distances, strict=False)
                ],
                "resources": list(_resources(allocator, numa.id, held)),
            }
            for numa in numa_nodes
        ],
    }


def is_ours(value: Mapping[str, Any]) -> bool:
    """Tell whether podnuma wrote an object."""
    labels = (value.get("metadata") or {}).get("labels") or {}
    return isinstance(labels, Mapping) and labels.items() >= MANAGED_BY.items()


def _resources(allocator: NodeAllocator, numa: int, held: CpuSet) -> Iterator[dict[str, str]]:
    usable = allocator.rules.topology.cpus_of_node(numa) & ~allocator.rules.withheld
    free = usable & allocator.default_set & ~held
    if capacity := allocator.topology.cpus_of_node(numa).bit_count():
        yield _amounts(CPU, capacity, usable.bit_count(), free.bit_count())
    single = allocator.settings.topology_manager_policy is TopologyManagerPolicy.SINGLE_NUMA_NODE
    grouped = allocator.memory_group(numa).bit_count() > 1
    rows = allocator.memory_rows(numa)
    for resource in (MEMORY, *sorted(rows.keys() - {MEMORY})):
        if (row := rows.get(resource)) is not None and row.total:
            yield _amounts(resource, row.total, row.allocatable, 0 if single and grouped else row.free)


def _amounts(resource: str, capacity: int, allocatable: int, available: int) -> dict[str, str]:
    amounts = {"capacity": capacity, "allocatable": allocatable, "available": available}
    return {"name": resource} | {
        name: render_quantity(of(max(amount, 0)), resource) for name, amount in amounts.items()
    }
