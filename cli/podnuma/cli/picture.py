"""A node as people think of it, and who holds which part of it. Pure; nothing is drawn here.

    Picture   one node
      Zone      a NUMA node: its caches, its memory, and what each holder has of it
        Cache     the cores behind one last-level cache (one unnamed cache if none is known)
          cores     tuples of CPU ids, threads in ascending order

Each online CPU has exactly one holder, found in this order: two pods at once (CONTESTED,
which must never be and is therefore shown), a container's exclusive slice, the pool of a
pod, reserved for the system, and what is left: the node shared pool. Init containers are
not drawn: what they used is again their pod's. Offline CPUs have no holder but a place.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

NOBODY = CpuSet(0)


class Hold(StrEnum):
    """How a CPU is held; the order is the order in which a map lists them."""

    CONTESTED = "contested"
    RESERVED = "reserved"
    EXCLUSIVE = "exclusive"
    POD_SHARED = "pod shared"
    NODE_SHARED = "node shared"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Holder:
    """One holder. `pod` is "namespace/name", empty where no single pod holds it."""

    hold: Hold
    pod: str = ""
    containers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a CPU is. `cache` is None where the hardware does not say."""

    cpu: int
    core: int
    socket: int
    zone: int
    cache: int | None = None


@dataclass(frozen=True, slots=True)
class ZoneMemory:
    """Memory of one NUMA node in bytes, huge pages included in `capacity`."""

    capacity: int
    hugepages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryHold:
    """Memory a pod holds: `size` bytes of `resource` spread over the NUMA nodes `zones`."""

    pod: str
    resource: str
    size: int
    zones: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PodHold:
    """What one pod holds. `exclusive` are the slices of its long-running exclusive containers."""

    pod: str
    cpus: CpuSet
    exclusive: Mapping[str, CpuSet]
    pool_users: tuple[str, ...]
    memory: tuple[MemoryHold, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and settings that matter for a picture."""

    name: str
    places: tuple[Place, ...]
    memory: Mapping[int, ZoneMemory]
    reserved: CpuSet = NOBODY
    offline: CpuSet = NOBODY


@dataclass(frozen=True, slots=True)
class Cache:
    """The cores behind one last-level cache."""

    id: int | None
    cores: tuple[tuple[int, ...], ...]

    @property
    def threads(self) -> int:
        """Threads of the widest core."""
        return max(map(len, self.cores))


@dataclass(frozen=True, slots=True)
class Share:
    """What one holder has of one zone."""

    holder: Holder
    cpus: CpuSet


@dataclass(frozen=True, slots=True)
class Zone:
    """One NUMA node. `sockets` is empty for memory without CPUs."""

    id: int
    sockets: tuple[int, ...]
    caches: tuple[Cache, ...]
    shares: tuple[Share, ...]
    capacity: ZoneMemory
    memory: tuple[MemoryHold, ...]

    @property
    def cpus(self) -> CpuSet:
        """All CPUs of this zone that are online."""
        return cpuset.of(cpu for cache in self.caches for core in cache.cores for cpu in core)


@dataclass(frozen=True, slots=True)
class Picture:
    """One node, ready to be drawn."""

    name: str
    zones: tuple[Zone, ...]
    holders: Mapping[int, Holder]
    pods: tuple[str, ...]
    offline: CpuSet

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


def paint(machine: Machine, pods: Sequence[PodHold]) -> Picture:
    """Put the pods of a node on its hardware."""
    ordered = sorted(pods, key=lambda pod: pod.pod)
    holders = _holders(machine, ordered)
    memory = [block for pod in ordered for block in pod.memory]
    ids = sorted({place.zone for place in machine.places} | set(machine.memory))
    return Picture(
        name=machine.name,
        zones=tuple(_zone(zone, machine, holders, memory) for zone in ids),
        holders=holders,
        pods=tuple(pod.pod for pod in ordered),
        offline=machine.offline,
    )


def _holders(machine: Machine, pods: Sequence[PodHold]) -> dict[int, Holder]:
    claims: dict[int, list[Holder]] = defaultdict(list)
    for pod in pods:
        for cpu, holder in _claims(pod):
            claims[cpu].append(holder)
    found = {}
    for place in machine.places:
        mine = claims.get(place.cpu, [])
        if len(mine) > 1:
            pods_here = " and ".join(dict.fromkeys(holder.pod for holder in mine))
            names = tuple(dict.fromkeys(name for holder in mine for name in holder.containers))
            found[place.cpu] = Holder(Hold.CONTESTED, pods_here, names)
        elif mine:
            found[place.cpu] = mine[0]
        elif machine.reserved >> place.cpu & 1:
            found[place.cpu] = Holder(Hold.RESERVED)
        else:
            found[place.cpu] = Holder(Hold.NODE_SHARED)
    return found


def _claims(pod: PodHold) -> Iterable[tuple[int, Holder]]:
    taken = NOBODY
    for name, cpus in pod.exclusive.items():
        taken = CpuSet(taken | cpus)
        holder = Holder(Hold.EXCLUSIVE, pod.pod, (name,))
        yield from ((cpu, holder) for cpu in cpuset.ids(cpus))
    pool = Holder(Hold.POD_SHARED, pod.pod, pod.pool_users)
    yield from ((cpu, pool) for cpu in cpuset.ids(CpuSet(pod.cpus & ~taken)))


def _zone(zone: int, machine: Machine, holders: Mapping[int, Holder], memory: Sequence[MemoryHold]) -> Zone:
    places = [place for place in machine.places if place.zone == zone]
    return Zone(
        id=zone,
        sockets=tuple(sorted({place.socket for place in places})),
        caches=_caches(places),
        shares=_shares(places, holders),
        capacity=machine.memory.get(zone, ZoneMemory(0)),
        memory=tuple(block for block in memory if zone in block.zones),
    )


def _caches(places: Sequence[Place]) -> tuple[Cache, ...]:
    cores: dict[tuple[int, int], list[Place]] = defaultdict(list)
    for place in places:
        cores[place.socket, place.core].append(place)
    groups: dict[int | None, list[tuple[int, ...]]] = defaultdict(list)
    for threads in cores.values():
        groups[threads[0].cache].append(tuple(sorted(place.cpu for place in threads)))
    caches = [Cache(cache, tuple(sorted(members))) for cache, members in groups.items()]
    return tuple(sorted(caches, key=lambda cache: cache.cores[0]))


def _shares(places: Sequence[Place], holders: Mapping[int, Holder]) -> tuple[Share, ...]:
    sets: dict[Holder, list[int]] = defaultdict(list)
    for place in places:
        sets[holders[place.cpu]].append(place.cpu)
    order = list(Hold)
    shares = [Share(holder, cpuset.of(cpus)) for holder, cpus in sets.items()]
    return tuple(
        sorted(
            shares,
            key=lambda share: (order.index(share.holder.hold), share.holder.pod, share.holder.containers),
        )
    )
