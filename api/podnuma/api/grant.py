"""A pod's grant in the spec of its PodAllocation, exact in both directions.

A ``PodGrant`` rendered and read back is equal, CPU for CPU and byte for byte, so that a restart
of operator or agent changes nothing.

``cpus`` is everything the pod takes from the node. With ``podLevel`` it is the bubble that the
containers divide among themselves; without, it is the union of the containers' own CPUs, and an
object in which it is anything else has been edited and is refused.
"""

from collections.abc import Iterable
from typing import Any, Final

from podnuma.allocator import (
    AssignmentType,
    ContainerGrant,
    ContainerKind,
    CpuSet,
    GrantedDevice,
    Isolation,
    MemoryBlock,
    NodeSet,
    PodGrant,
    TopologyManagerScope,
    cpuset,
    nodeset,
    quantities,
)
from podnuma.allocator.decision import MAX_DEVICES
from podnuma.api.decoding import Fields, boolean, choice, integer, parsed, text
from podnuma.api.object_metadata import Metadata
from podnuma.api.quantity import read_bytes

MAX_CONTAINERS: Final = 512
MAX_BLOCKS: Final = 64
LONGEST_CPUS: Final = 32768
LONGEST_NODES: Final = 1024
LONGEST_NAME: Final = 253
LONGEST_DEVICE: Final = 512
MOST_SHARES: Final = 262144
"""What the kubelet, and the kernel, take."""


def render_grant(grant: PodGrant) -> dict[str, Any]:
    """Render the grant's fields of ``spec``."""
    body: dict[str, Any] = {
        "podUID": grant.uid,
        "scope": grant.scope.value,
        "podLevel": grant.pod_level,
        "podCPUQuota": grant.pod_quota,
        "podCPUShares": grant.pod_shares,
        "containers": [_render_container(container) for container in grant.containers],
    }
    if cpus := grant.exclusive_cpus:
        body["cpus"] = cpuset.render(cpus)
    if nodes := grant.memory_nodes:
        body["memoryNodes"] = nodeset.render(nodes)
    if grant.memory:
        body["memory"] = _render_blocks(grant.memory)
    return body


def read_grant(spec: Fields, metadata: Metadata) -> PodGrant:
    """Read the grant in the spec of an allocation; name and namespace are the object's."""
    pod_level = spec.optional("podLevel", boolean, default=False)
    cpus = spec.maybe("cpus", _read_cpus)
    containers = tuple(_read_container(item) for item in spec.items("containers", MAX_CONTAINERS))
    grant = PodGrant(
        uid=spec.required("podUID", text(128, shortest=1), ""),
        namespace=metadata.namespace,
        name=metadata.name,
        scope=spec.required("scope", choice(TopologyManagerScope), TopologyManagerScope.CONTAINER),
        pod_level=pod_level,
        cpus=cpus if pod_level else None,
        memory=tuple(_read_block(item) for item in spec.items("memory", MAX_BLOCKS)),
        containers=containers,
        pod_quota=spec.optional("podCPUQuota", integer(-1), -1),
        pod_shares=spec.optional("podCPUShares", integer(0, MOST_SHARES), 0),
    )
    _check_sets(spec, grant, cpus)
    return grant


def _check_sets(spec: Fields, grant: PodGrant, cpus: CpuSet | None) -> None:
    union = 0
    for container in grant.containers:
        union |= container.cpus or 0
    given = cpus or cpuset.EMPTY
    if grant.pod_level and union & ~given:
        outside = cpuset.render(CpuSet(union & ~given))
        spec.errors.add(spec.at("cpus"), cpuset.render(given), f"lacks CPUs of its containers: {outside}")
    if not grant.pod_level and union != given:
        spec.errors.add(
            spec.at("cpus"),
            cpuset.render(given),
            f"is not what the containers have together: {cpuset.render(CpuSet(union)) or 'nothing'}",
        )
    seen: set[str] = set()
    for index, container in enumerate(grant.containers):
        if container.name in seen:
            spec.errors.add(f"{spec.at('containers')}[{index}].name", container.name, "is there twice")
        seen.add(container.name)


def _read_container(item: Fields) -> ContainerGrant:
    assignment = item.fields("assignment")
    shared = AssignmentType.NODE_SHARED
    return ContainerGrant(
        name=item.required("name", text(63, shortest=1), ""),
        kind=item.required("kind", choice(ContainerKind), ContainerKind.APP),
        cpu_assignment=assignment.required("cpu", choice(AssignmentType), shared),
        memory_assignment=assignment.required("memory", choice(AssignmentType), shared),
        isolation=item.required("isolation", choice(Isolation), Isolation.HOST),
        cpus=item.maybe("cpus", _read_cpus),
        memory_nodes=item.maybe("memoryNodes", _read_nodes),
        memory=tuple(_read_block(block) for block in item.items("memory", MAX_BLOCKS)),
        cpu_quota=item.required("cpuQuota", integer(-1), -1),
        cpu_period=item.required("cpuPeriod", integer(1000, 1_000_000), 100_000),
        memory_limit=item.maybe("memoryLimit", read_bytes),
        cpu_shares=item.required("cpuShares", integer(0, MOST_SHARES), 0),
        devices=tuple(read_device(device) for device in item.items("devices", MAX_DEVICES)),
    )


def _render_container(container: ContainerGrant) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": container.name,
        "kind": container.kind.value,
        "assignment": {
            "cpu": container.cpu_assignment.value,
            "memory": container.memory_assignment.value,
        },
        "isolation": container.isolation.value,
        "cpuQuota": container.cpu_quota,
        "cpuPeriod": container.cpu_period,
        "cpuShares": container.cpu_shares,
    }
    if container.cpus is not None:
        body["cpus"] = cpuset.render(container.cpus)
    if container.memory_nodes is not None:
        body["memoryNodes"] = nodeset.render(container.memory_nodes)
    if container.memory:
        body["memory"] = _render_blocks(container.memory)
    if container.memory_limit is not None:
        body["memoryLimit"] = quantities.format_bytes(container.memory_limit)
    if container.devices:
        body["devices"] = [render_device(device) for device in container.devices]
    return body


def read_device(item: Fields) -> GrantedDevice:
    """Read one device and where it is."""
    return GrantedDevice(
        resource=item.required("resource", text(LONGEST_NAME, shortest=1), ""),
        name=item.required("name", text(LONGEST_DEVICE, shortest=1), ""),
        nodes=item.optional("numaNodes", _read_nodes, nodeset.EMPTY),
    )


def render_device(device: GrantedDevice) -> dict[str, str]:
    """Render one device and where it is."""
    body = {"resource": device.resource[:LONGEST_NAME], "name": device.name[:LONGEST_DEVICE]}
    return body | ({"numaNodes": nodeset.render(device.nodes)} if device.nodes else {})


def _read_block(item: Fields) -> MemoryBlock:
    return MemoryBlock(
        resource=item.required("resource", text(63, shortest=1), ""),
        nodes=item.required("nodes", _read_nodes, nodeset.EMPTY),
        size=item.required("size", read_bytes, 0),
    )


def _render_blocks(blocks: Iterable[MemoryBlock]) -> list[dict[str, str]]:
    return [
        {
            "resource": block.resource,
            "size": quantities.format_bytes(block.size),
            "nodes": nodeset.render(block.nodes),
        }
        for block in blocks
    ]


def _read_cpus(value: Any) -> CpuSet:
    cpus = parsed(cpuset.parse, LONGEST_CPUS)(value)
    # In a cpuset file an empty list means "as the parent has it": never what a grant says.
    if not cpus:
        raise ValueError("must not be empty; leave the field out")
    return cpus


def _read_nodes(value: Any) -> NodeSet:
    nodes = parsed(nodeset.parse, LONGEST_NODES)(value)
    if not nodes:
        raise ValueError("must not be empty; leave the field out")
    return nodes
