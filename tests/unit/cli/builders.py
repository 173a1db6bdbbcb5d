"""Objects of the API for the command line to read, made from the facts of real machines."""

import json
from pathlib import Path
from typing import Any

from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import ContainerGrant, Isolation, MemoryBlock, PodGrant
from podnuma.allocator.manager_settings import TopologyManagerScope
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api import hardware, pod_allocation
from podnuma.api.resource_types import NODE_PROFILE

ROOT = Path(__file__).parents[3]
MACHINES = Path(__file__).parents[2] / "machines"
PODS = Path(__file__).parents[2] / "pods"


def facts(machine: str) -> dict[str, Any]:
    """The recorded facts of one of tests/machines."""
    read: dict[str, Any] = json.loads((MACHINES / f"{machine}.json").read_text())
    return read


def topology(machine: str) -> Topology:
    """One of tests/machines as the allocator sees it."""
    read = facts(machine)
    return Topology.build(
        [Cpu(cpu["id"], cpu["core"], cpu["socket"], cpu["numa"], cpu.get("l3")) for cpu in read["cpus"]],
        [
            NumaNode(node["id"], node["memoryBytes"] or 0, distances=tuple(node["distances"] or ()))
            for node in read["numaNodes"]
        ],
        isolated=cpuset.parse(read["isolated"]),
        offline=cpuset.parse(read["offline"]),
    )


def topology_object(machine: str, *, reserved: str = "", name: str = "node-a") -> dict[str, Any]:
    """The NodeTopology of a node with the hardware of one of tests/machines."""
    found = hardware.Hardware(topology(machine))
    return {
        "apiVersion": NODE_PROFILE.api_version,
        "kind": "NodeTopology",
        "metadata": {"name": name},
        "spec": {
            "cpuManagerPolicy": "static",
            "topologyManagerPolicy": "single-numa-node",
            "topologyManagerScope": "pod",
            "reservedSystemCPUs": reserved,
        },
        "status": {"hardware": hardware.render_hardware(found)},
    }


def budgeted_pod(name: str, cpu: int, **metadata: object) -> dict[str, Any]:
    """The manifest of a pod with a budget and one container."""
    amounts = {"cpu": str(cpu), "memory": "1Gi"}
    resources = {"requests": amounts, "limits": amounts}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", **metadata},
        "spec": {"resources": resources, "containers": [{"name": "main"}]},
    }


def container(
    name: str, cpu: str, cpus: str = "", kind: str = "app", memory: tuple[MemoryBlock, ...] = ()
) -> ContainerGrant:
    """One container of a grant; `cpu` is its assignment type."""
    assignment = AssignmentType(cpu)
    return ContainerGrant(
        name=name,
        kind=ContainerKind(kind),
        cpu_assignment=assignment,
        memory_assignment=assignment,
        isolation=Isolation.HOST if assignment is AssignmentType.NODE_SHARED else Isolation.CONTAINER,
        cpus=cpuset.parse(cpus) if cpus else None,
        memory_nodes=None,
        memory=memory,
        cpu_quota=-1,
        cpu_period=100_000,
        memory_limit=None,
        cpu_shares=2,
    )


def block(size: int, nodes: str, resource: str = "memory") -> MemoryBlock:
    """Memory on NUMA nodes."""
    return MemoryBlock(resource, nodeset.parse(nodes), size)


def grant(pod: str, cpus: str, *containers: ContainerGrant, memory: tuple[MemoryBlock, ...] = ()) -> PodGrant:
    """What one pod, named "namespace/name", holds; with `cpus` it is a bubble."""
    namespace, name = pod.split("/")
    return PodGrant(
        uid=f"uid-{name}",
        namespace=namespace,
        name=name,
        scope=TopologyManagerScope.POD if cpus else TopologyManagerScope.CONTAINER,
        pod_level=bool(cpus),
        cpus=CpuSet(cpuset.parse(cpus)) if cpus else None,
        memory=memory,
        containers=containers,
        pod_quota=-1,
        pod_shares=2,
    )


def allocation_object(
    held: PodGrant, node: str = "node-a", phase: str = "Applied", reason: str = pod_allocation.ADMITTED
) -> dict[str, Any]:
    """The PodAllocation of a grant."""
    decision = pod_allocation.Decision(reason == pod_allocation.ADMITTED, reason)
    rendered = pod_allocation.render_pod_allocation(held, node, decision)
    return {**rendered, "status": {"phase": phase}}


def database() -> PodGrant:
    """The announcement's database pod: a budget of 8 CPUs, 6 of them for one container."""
    return grant(
        "shop/database",
        "1-4,49-52",
        container("migrate", "pod_exclusive", "1-4,49-52", kind="init"),
        container("database", "pod_exclusive", "1-3,49-51"),
        container("backup", "pod_shared", "4,52", kind="sidecar"),
        container("metrics", "pod_shared", "4,52"),
        memory=(block(16 * 2**30, "0"),),
    )


def training() -> PodGrant:
    """The announcement's training pod in container scope: 3 CPUs of its own, a sidecar in the node pool."""
    return grant(
        "ml/training", "", container("training", "node_exclusive", "6-8"), container("mesh", "node_shared")
    )
