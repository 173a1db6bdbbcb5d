"""How a node and its pods are written in a result line of `podnuma replay`.

The shapes are those of `tests/conformance/oracle/README.md`; everything is derived from the
node's held grants and memory tables, nothing is stored here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from podnuma.allocator import (
    AssignmentType,
    Counts,
    Isolation,
    MemoryBlock,
    PodRequest,
    TopologyHint,
    cpuset,
    nodeset,
)
from podnuma.allocator.decision import ContainerGrant, PodGrant
from podnuma.allocator.eligibility import qos
from podnuma.allocator.node_allocator import NodeAllocator

_NO_HINT: Mapping[str, Any] = {"numaNodes": None, "preferred": False}


def pod_result(
    node: NodeAllocator, pod: PodRequest, hints: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Report what a pod has now."""
    grant = node.grants.get(pod.uid)
    held = {} if grant is None else {container.name: container for container in grant.containers}
    budget_cpus = None if grant is None else grant.cpus
    return {
        "uid": pod.uid,
        "qos": qos(pod).value,
        "cpuset": None if budget_cpus is None else cpuset.render(budget_cpus),
        "memory": _blocks(grant.memory) if grant is not None and grant.memory else None,
        "containers": [
            {
                "name": container.name,
                "kind": container.kind.value,
                "affinity": hints.get(container.name, _NO_HINT),
                **_container(node, held.get(container.name)),
            }
            for container in pod.containers
        ],
    }


def _container(node: NodeAllocator, grant: ContainerGrant | None) -> dict[str, Any]:
    pool = _pool(node)
    if grant is None:
        return {
            "cpuset": pool,
            "cpuExclusive": False,
            "cpuAssignment": "none",
            "memoryNUMANodes": None,
            "memoryBlocks": None,
            "memoryExclusive": False,
            "memoryAssignment": "none",
        }
    has_memory = grant.memory_assignment is not AssignmentType.NODE_SHARED
    return {
        "cpuset": pool if grant.cpus is None else cpuset.render(grant.cpus),
        "cpuExclusive": grant.isolation is Isolation.CONTAINER,
        "cpuAssignment": _assignment(grant.cpu_assignment),
        "memoryNUMANodes": list(nodeset.ids(grant.memory_nodes)) if grant.memory_nodes else None,
        "memoryBlocks": _blocks(grant.memory) if has_memory else None,
        "memoryExclusive": grant.memory_assignment
        in {AssignmentType.NODE_EXCLUSIVE, AssignmentType.POD_EXCLUSIVE},
        "memoryAssignment": _assignment(grant.memory_assignment),
    }


def _assignment(kind: AssignmentType) -> str:
    return "none" if kind is AssignmentType.NODE_SHARED else kind.value


def hint_result(hint: TopologyHint) -> dict[str, Any]:
    """Report a hint."""
    nodes = None if hint.nodes is None else list(nodeset.ids(hint.nodes))
    return {"numaNodes": nodes, "preferred": hint.preferred}


def _blocks(blocks: Iterable[MemoryBlock]) -> list[dict[str, Any]]:
    return [
        {"type": block.resource, "size": block.size, "numaNodes": list(nodeset.ids(block.nodes))}
        for block in sorted(blocks, key=lambda block: block.resource)
    ]


def counter_result(counts: Counts) -> dict[str, int]:
    """Report what a decision adds to the three resource manager counters."""
    named = (
        ("resource_manager_allocations_total{{resource_name={},source={}}}", counts.allocations),
        ("resource_manager_allocation_errors_total{{resource_name={},source={}}}", counts.errors),
    )
    out = {text.format(*key): number for text, table in named for key, number in table.items() if number}
    for (resource, kind), number in counts.assignments.items():
        name = f"resource_manager_container_assignments{{assignment_type={kind},resource_name={resource}}}"
        if number:
            out[name] = number
    return out


def node_result(node: NodeAllocator) -> dict[str, Any]:
    """Report everything the node's pods hold, and the memory tables."""
    held = [grant for grant in node.grants.values() if grant.holds_anything]
    return {
        "defaultCPUSet": _pool(node),
        "cpus": {grant.uid: sets for grant in held if (sets := _container_cpus(grant))},
        "podCPUs": {grant.uid: cpuset.render(grant.cpus) for grant in held if grant.cpus is not None},
        "memory": {grant.uid: blocks for grant in held if (blocks := _container_memory(grant))},
        "podMemory": {grant.uid: _blocks(grant.memory) for grant in held if grant.memory},
        "numa": _numa(node),
    }


def _container_cpus(grant: PodGrant) -> dict[str, str]:
    return {one.name: cpuset.render(one.cpus) for one in grant.containers if one.cpus is not None}


def _container_memory(grant: PodGrant) -> dict[str, list[dict[str, Any]]]:
    return {
        one.name: _blocks(one.memory)
        for one in grant.containers
        if one.memory_assignment is not AssignmentType.NODE_SHARED
    }


def _pool(node: NodeAllocator) -> str:
    # Without the static policy the kubelet manages no CPUs and keeps no set of them.
    return cpuset.render(node.default_set) if node.rules.static_cpu else ""


def _numa(node: NodeAllocator) -> list[dict[str, Any]]:
    if not node.rules.static_memory:
        return []
    return [
        {
            "id": numa.id,
            "assignments": node.memory_assignments(numa.id),
            "cells": list(nodeset.ids(node.memory_group(numa.id))),
            "memory": {
                resource: {
                    "total": row.total,
                    "systemReserved": row.system_reserved,
                    "allocatable": row.allocatable,
                    "reserved": row.reserved,
                    "free": row.free,
                }
                for resource, row in node.memory_rows(numa.id).items()
            },
        }
        for numa in node.topology.nodes
    ]
