"""What a decision says: a grant, or a refusal with the kubelet's reason and words.

A grant is everything one pod holds on one node, and the values its cgroups get. It is plain
data: it can be written to the API, read back and given to a new NodeAllocator, which then holds
the same. A pod holds either a *bubble* (one set of CPUs and memory for the whole pod, of which
its containers get slices or share the rest) or separate sets of single containers.

Always true: in a bubble every container's CPUs lie inside `PodGrant.cpus`; without one,
`PodGrant.cpus` is None. A container without CPUs of its own has `cpus` None and runs in the
node shared pool.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType

from podnuma.allocator import cpuset
from podnuma.allocator.counts import Assigned, AssignmentType, Counts, tally
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.manager_settings import TopologyManagerScope
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.topology_hint import TopologyHint


class Isolation(Enum):
    """The kubelet's ResourceIsolationLevel: CPUs of its own, the pod shared pool, the node shared pool."""

    CONTAINER = "container"
    POD = "pod"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """An amount of one memory resource, in bytes, on one set of NUMA nodes."""

    resource: str
    nodes: NodeSet
    size: int


@dataclass(frozen=True, slots=True)
class GrantedDevice:
    """A device the container had before the decision, and its NUMA nodes (EMPTY: not known)."""

    resource: str
    name: str
    nodes: NodeSet


MAX_DEVICES = 128
"""Devices of a container that its grant names; the decision looks at all of them."""


@dataclass(frozen=True, slots=True)
class ContainerGrant:
    """What one container holds and what its cgroup gets.

    `cpus` None: the node shared pool. `memory_nodes` None: cpuset.mems is not set. `cpu_quota`
    in microseconds per `cpu_period`, -1 without a quota. `memory_limit` in bytes, None without.
    """

    name: str
    kind: ContainerKind
    cpu_assignment: AssignmentType
    memory_assignment: AssignmentType
    isolation: Isolation
    cpus: CpuSet | None
    memory_nodes: NodeSet | None
    memory: tuple[MemoryBlock, ...]
    cpu_quota: int
    cpu_period: int
    memory_limit: int | None
    cpu_shares: int
    devices: tuple[GrantedDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class PodGrant:
    """What one pod holds. `cpus` and `memory` are the bubble's; None and () without one.

    `pod_quota` in microseconds per period for the pod's own cgroup, -1 without a quota.
    `pod_level` says that the pod has a bubble of CPUs, of memory, or of both.
    """

    uid: str
    namespace: str
    name: str
    scope: TopologyManagerScope
    pod_level: bool
    cpus: CpuSet | None
    memory: tuple[MemoryBlock, ...]
    containers: tuple[ContainerGrant, ...]
    pod_quota: int
    pod_shares: int

    @property
    def exclusive_cpus(self) -> CpuSet:
        """Every CPU this pod takes away from the node: the bubble, or all containers' sets."""
        if self.cpus is not None:
            return self.cpus
        taken = 0
        for container in self.containers:
            taken |= container.cpus or 0
        return CpuSet(taken)

    @property
    def memory_nodes(self) -> NodeSet:
        """Every NUMA node this pod holds memory on."""
        nodes = 0
        for block in self.memory:
            nodes |= block.nodes
        for container in self.containers:
            nodes |= container.memory_nodes or 0
        return NodeSet(nodes)

    @property
    def devices(self) -> tuple[GrantedDevice, ...]:
        """The devices of all containers, each once."""
        return tuple(dict.fromkeys(device for container in self.containers for device in container.devices))

    @property
    def charged(self) -> tuple[MemoryBlock, ...]:
        """The blocks the node is charged with: the bubble's, or those of all containers in order."""
        if self.memory:
            return self.memory
        return tuple(block for container in self.containers for block in container.memory)

    @property
    def holds_anything(self) -> bool:
        """Whether the node has less for others because of this pod."""
        return self.exclusive_cpus != cpuset.EMPTY or bool(self.charged)

    def assigned(self) -> Iterator[Assigned]:
        """Yield what each container was assigned, CPUs and memory, for counting."""
        for container in self.containers:
            yield "cpu", container.cpu_assignment, 1
            yield "memory", container.memory_assignment, len(container.memory)

    def container(self, name: str) -> ContainerGrant:
        """Return the container's share. Raises KeyError if the pod has no such container."""
        for container in self.containers:
            if container.name == name:
                return container
        raise KeyError(name)


class Reason(StrEnum):
    """Why a pod was refused, as the kubelet spells it in pod status; the last is podnuma's own."""

    TOPOLOGY_AFFINITY = "TopologyAffinityError"
    SMT_ALIGNMENT = "SMTAlignmentError"
    EMPTY_POD_SHARED_POOL = "EmptyPodSharedPoolError"
    UNEXPECTED_ADMISSION = "UnexpectedAdmissionError"
    EMPTY_NODE_SHARED_POOL = "EmptyNodeSharedPoolError"


NO_HINTS: Mapping[str, TopologyHint] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Admitted:
    """The pod fits. `generation` is the node's when it was decided; `hints` by container name."""

    grant: PodGrant
    generation: int
    hints: Mapping[str, TopologyHint] = field(default_factory=lambda: NO_HINTS)

    @property
    def counts(self) -> Counts:
        """What this decision adds to the counters."""
        return tally(self.grant.assigned())


@dataclass(frozen=True, slots=True)
class Rejected:
    """The pod does not fit. `message` is the kubelet's, without its "Pod was rejected: "."""

    reason: Reason
    message: str
    counts: Counts
