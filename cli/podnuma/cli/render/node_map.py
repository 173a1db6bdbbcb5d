"""The model of a node map: the node's hardware, and who holds which part of it. Nothing is drawn here.

    NodeMap   one node
      Zone      a NUMA node: its caches, its memory, its devices, and what each holder has of it
        Cache     the cores behind one last-level cache; cores without one stand together, unnamed
          cores     tuples of CPU ids, threads in ascending order

Each online CPU has exactly one holder, found in this order: two pods at once (CONTESTED,
which must never happen and is therefore shown), a container's exclusive CPUs, the shared pool of
a pod, reserved for the system, held by pods that the reader may not see, outside the cgroup of all
pods, isolated at boot and so never shared, and what remains: the node's shared pool. Init
containers are not shown: their pod has back what they used. Offline CPUs have no holder; they are
only listed, like the kinds of cores where there are several.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from podnuma.allocator import cpuset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import GrantedDevice, MemoryBlock, PodGrant
from podnuma.allocator.memory.others import PagesInUse
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.topology import Cpu, NumaNode, Topology

_AND = " and "
_EXCLUSIVE = (AssignmentType.NODE_EXCLUSIVE, AssignmentType.POD_EXCLUSIVE)


class Hold(StrEnum):
    """How a CPU is held; the order is the order in which a map lists them."""

    CONTESTED = "contested"
    RESERVED = "reserved"
    EXCLUSIVE = "exclusive"
    POD_SHARED = "pod shared"
    HIDDEN = "other pods"
    ISOLATED = "isolated"
    OUTSIDE = "outside kubepods"
    NODE_SHARED = "node shared"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Holder:
    """One holder. `pod` is "namespace/name", empty where no single pod holds it."""

    hold: Hold
    pod: str = ""
    containers: tuple[str, ...] = ()

    @property
    def pods(self) -> tuple[str, ...]:
        """The pods, of which there are several where a CPU is contested."""
        return tuple(self.pod.split(_AND)) if self.pod else ()


@dataclass(frozen=True, slots=True)
class MappedNode:
    """The facts of a node that a map shows beside its pods; `remarks` are printed below it.

    `hidden`: CPUs that pods hold, where the reader may not see all pods. `pages_in_use`: huge pages that are
    in use without a grant.
    """

    name: str
    topology: Topology
    reserved: CpuSet = cpuset.EMPTY
    offline: CpuSet = cpuset.EMPTY
    remarks: tuple[str, ...] = ()
    hidden: CpuSet = cpuset.EMPTY
    pages_in_use: tuple[PagesInUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Cache:
    """The cores behind one last-level cache; `id` is None for those that have none."""

    id: int | None
    cores: tuple[tuple[int, ...], ...]

    @property
    def threads(self) -> int:
        """Threads of the widest core."""
        return max(map(len, self.cores))


@dataclass(frozen=True, slots=True)
class CpuShare:
    """The CPUs that one holder has in one zone."""

    holder: Holder
    cpus: CpuSet


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """A block of memory that a pod holds, all or partly in one zone."""

    pod: str
    block: MemoryBlock


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """A device of a container that is attached to one zone, perhaps to others as well."""

    pod: str
    container: str
    device: GrantedDevice

    @property
    def who(self) -> str:
        """The pod and the container."""
        return f"{self.pod}: {self.container}"


@dataclass(frozen=True, slots=True)
class Zone:
    """One NUMA node. `sockets` is empty for memory without CPUs; `capacity` in bytes."""

    id: int
    sockets: tuple[int, ...]
    caches: tuple[Cache, ...]
    shares: tuple[CpuShare, ...]
    capacity: int
    memory: tuple[MemoryShare, ...]
    devices: tuple[DeviceShare, ...] = ()
    pages_in_use: tuple[PagesInUse, ...] = ()

    @property
    def in_use(self) -> bool:
        """Whether a pod holds something here."""
        return bool(self.memory or self.devices) or any(share.holder.pods for share in self.shares)

    @property
    def cpus(self) -> CpuSet:
        """All CPUs of this zone that are online."""
        return cpuset.of(cpu for cache in self.caches for core in cache.cores for cpu in core)


@dataclass(frozen=True, slots=True)
class NodeMap:
    """One node, ready to be drawn: every online CPU has exactly one holder."""

    name: str
    zones: tuple[Zone, ...]
    holders: Mapping[int, Holder]
    pods: tuple[str, ...]
    offline: CpuSet
    remarks: tuple[str, ...]
    kinds: Mapping[str, CpuSet]

    @property
    def sockets(self) -> tuple[int, ...]:
        """Ids of all sockets, ascending."""
        return tuple(sorted({socket for zone in self.zones for socket in zone.sockets}))

    @property
    def cores(self) -> int:
        """Number of cores with at least one online thread."""
        return sum(len(cache.cores) for zone in self.zones for cache in zone.caches)

    def held(self, hold: Hold) -> CpuSet:
        """All CPUs held in one way."""
        return cpuset.of(cpu for cpu, holder in self.holders.items() if holder.hold is hold)


def draw_up(node: MappedNode, grants: Iterable[PodGrant]) -> NodeMap:
    """Make the map of a node and the pods on it."""
    ordered = sorted(grants, key=_name)
    holders = _holders(node, ordered)
    memory = [MemoryShare(_name(grant), block) for grant in ordered for block in grant.charged]
    return NodeMap(
        name=node.name,
        zones=tuple(
            replace(
                _zone(numa, node.topology, holders, memory),
                devices=_devices(numa.id, ordered),
                pages_in_use=tuple(one for one in node.pages_in_use if one.node == numa.id),
            )
            for numa in node.topology.nodes
        ),
        holders=holders,
        pods=tuple(_name(grant) for grant in ordered),
        offline=node.offline,
        remarks=node.remarks,
        kinds=dict(node.topology.kinds),
    )


def _name(grant: PodGrant) -> str:
    return f"{grant.namespace}/{grant.name}"


def _holders(node: MappedNode, grants: Sequence[PodGrant]) -> dict[int, Holder]:
    holders: dict[int, list[Holder]] = defaultdict(list)
    for grant in grants:
        for cpu, holder in _grant_holders(grant):
            holders[cpu].append(holder)
    found = {}
    for cpu in cpuset.ids(node.topology.all_cpus):
        mine = holders.get(cpu, [])
        if len(mine) > 1:
            pods = _AND.join(dict.fromkeys(holder.pod for holder in mine))
            names = tuple(dict.fromkeys(name for holder in mine for name in holder.containers))
            found[cpu] = Holder(Hold.CONTESTED, pods, names)
        elif mine:
            found[cpu] = mine[0]
        else:
            found[cpu] = Holder(_unheld(node, cpu))
    return found


def _unheld(node: MappedNode, cpu: int) -> Hold:
    if node.reserved >> cpu & 1:
        return Hold.RESERVED
    if node.hidden >> cpu & 1:
        return Hold.HIDDEN
    if node.topology.outside >> cpu & 1:
        return Hold.OUTSIDE
    return Hold.ISOLATED if node.topology.isolated >> cpu & 1 else Hold.NODE_SHARED


def _grant_holders(grant: PodGrant) -> Iterable[tuple[int, Holder]]:
    lasting = [container for container in grant.containers if container.kind is not ContainerKind.INIT]
    taken = 0
    for container in lasting:
        if container.cpu_assignment in _EXCLUSIVE and container.cpus is not None:
            taken |= container.cpus
            holder = Holder(Hold.EXCLUSIVE, _name(grant), (container.name,))
            yield from ((cpu, holder) for cpu in cpuset.ids(container.cpus))
    users = (one.name for one in lasting if one.cpu_assignment is AssignmentType.POD_SHARED)
    pool = Holder(Hold.POD_SHARED, _name(grant), tuple(users))
    yield from ((cpu, pool) for cpu in cpuset.ids(CpuSet(grant.exclusive_cpus & ~taken)))


def _zone(
    node: NumaNode, topology: Topology, holders: Mapping[int, Holder], memory: Sequence[MemoryShare]
) -> Zone:
    cpus = [cpu for cpu in topology.cpus if cpu.node == node.id]
    return Zone(
        id=node.id,
        sockets=tuple(sorted({cpu.socket for cpu in cpus})),
        caches=_caches(cpus),
        shares=_shares(cpus, holders),
        capacity=node.memory,
        memory=tuple(share for share in memory if share.block.nodes >> node.id & 1),
    )


def _devices(node: int, grants: Iterable[PodGrant]) -> tuple[DeviceShare, ...]:
    return tuple(
        DeviceShare(_name(grant), container.name, device)
        for grant in grants
        for container in grant.containers
        for device in container.devices
        if device.nodes >> node & 1
    )


def _caches(cpus: Sequence[Cpu]) -> tuple[Cache, ...]:
    cores: dict[int, list[Cpu]] = defaultdict(list)
    for cpu in cpus:
        cores[cpu.core].append(cpu)
    groups: dict[int | None, list[tuple[int, ...]]] = defaultdict(list)
    for threads in cores.values():
        groups[threads[0].uncore].append(tuple(cpu.id for cpu in threads))
    caches = [Cache(cache, tuple(sorted(members))) for cache, members in groups.items()]
    return tuple(sorted(caches, key=lambda cache: cache.cores[0]))


def _shares(cpus: Sequence[Cpu], holders: Mapping[int, Holder]) -> tuple[CpuShare, ...]:
    sets: dict[Holder, list[int]] = defaultdict(list)
    for cpu in cpus:
        sets[holders[cpu.id]].append(cpu.id)
    return tuple(CpuShare(holder, cpuset.of(sets[holder])) for holder in sorted(sets, key=_rank))


def _rank(holder: Holder) -> tuple[int, str, tuple[str, ...]]:
    return list(Hold).index(holder.hold), holder.pod, holder.containers
