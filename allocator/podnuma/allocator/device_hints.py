"""Which NUMA node sets are near the devices of a request.

One list per resource name, as the kubelet's device manager gives it, and again a predicate: a
set is in it when it is made of nodes that have devices of that resource, and enough of the
available ones are attached to it. So the list is closed upwards among these nodes. A set is
preferred when it has as few nodes as the count would need if every device were free.

A list without any set means that the request cannot be served; a resource none of whose devices
has a NUMA node has no list at all. Devices that were chosen already and have no NUMA node do not
count. A NUMA node without CPUs (memory of an accelerator) stands for the nearest ones that have some,
by distance; one that the machine does not have stands for none.

Always true: without devices nothing here runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import combinations, islice

from podnuma.allocator import nodeset
from podnuma.allocator.decision import GrantedDevice, PodGrant
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.numa_candidates import CandidateDemand
from podnuma.allocator.request import ContainerRequest, Device, DeviceRequest, PodRequest, aggregate
from podnuma.allocator.topology import Topology

# Sets looked at to find how few nodes would do, where devices are attached to several each.
MAX_SETS = 20_000

# Chosen devices that are named in words; more are counted.
MAX_NAMED = 8


class DeviceLocality(StrEnum):
    """How many of a pod's devices have CPUs of the pod at their NUMA nodes."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


class DeviceHints:
    """A request for a number of devices of one resource."""

    __slots__ = ("_available", "_count", "_request", "_wide", "least", "resource", "universe")

    def __init__(self, topology: Topology, request: DeviceRequest) -> None:
        available = [near_cpus(topology, device.nodes) for device in request.available]
        every = [near_cpus(topology, device.nodes) for device in request.every]
        self.resource = request.resource
        self._request = request
        self._count = count_attached(request.count, available) if request.fixed else request.count
        self._available = available
        self._wide = topology.wide
        self.universe = _union(every) or int(topology.all_nodes)
        self.least = _fewest(every, self._count, self.universe) or self.universe.bit_count()

    @property
    def wanted(self) -> str:
        """The request in words."""
        request = self._request
        if not request.fixed:
            return f"{request.count} {request.resource}"
        named = [_named(device) for device in request.available]
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        return f"{request.resource} {', '.join(named[:MAX_NAMED])}{more}"

    @property
    def free(self) -> str:
        """How many devices there are to choose from, in words."""
        return f"{len(self._request.available)} {self.resource}"

    @property
    def sizes(self) -> Sequence[int]:
        """The node count of preferred sets."""
        return (self.least,)

    def holds(self, nodes: int) -> bool:
        """Say whether a node set is in the list."""
        if nodes & ~self.universe:
            return False
        return sum(1 for attached in self._available if attached & nodes) >= self._count

    def prefers(self, nodes: int) -> bool:
        """Say whether a node set in the list is preferred."""
        return nodes.bit_count() == self.least

    def offers(self, _size: int) -> tuple[CandidateDemand, ...]:
        """Return what sets of the list can be made of; nothing where all sets are looked at anyway."""
        if not self._wide:
            return ()
        by_node = {
            node: sum(attached >> node & 1 for attached in self._available)
            for node in nodeset.ids(self.universe)
        }
        return (CandidateDemand(self.universe, ((by_node, self._count),)),)

    def narrowest(self) -> int:
        """Return the number of nodes of the smallest set in the list, 0 when the list is empty."""
        return _fewest(self._available, self._count, self.universe)

    def around(self, nodes: int) -> Iterator[int]:
        """Yield the sets of the list that contain `nodes`, smallest first."""
        if nodes & ~self.universe:
            return
        others = [1 << node for node in nodeset.ids(self.universe & ~nodes)]
        for more in range(len(others) + 1):
            for chosen in combinations(others, more):
                found = nodes | sum(chosen)
                if self.holds(found):
                    yield found


def container_hints(topology: Topology, container: ContainerRequest) -> tuple[DeviceHints, ...]:
    """Return the hints for the devices of one container."""
    return tuple(_hints(topology, container.devices))


def pod_device_hints(topology: Topology, pod: PodRequest) -> tuple[DeviceHints, ...]:
    """Return the hints for the devices of a whole pod: what its containers need together at their peak."""
    if not pod.has_devices:
        return ()
    return tuple(_hints(topology, pod_devices(pod)))


def pod_devices(pod: PodRequest) -> tuple[DeviceRequest, ...]:
    """Return one request per resource name. A chosen device that several containers use counts once."""
    by_resource: dict[str, list[tuple[int, DeviceRequest]]] = {}
    for place, container in enumerate(pod.containers):
        for request in container.devices:
            by_resource.setdefault(request.resource, []).append((place, request))
    return tuple(_together(pod, parts) for parts in by_resource.values())


def locality(topology: Topology, grant: PodGrant) -> DeviceLocality | None:
    """Return how near a pod's own CPUs are to its devices; None without one or the other."""
    near = [near_cpus(topology, device.nodes) for device in grant.devices]
    known = [nodes for nodes in near if nodes]
    cpus = topology.nodes_of(grant.exclusive_cpus)
    if not known or not cpus:
        return None
    local = sum(1 for nodes in known if nodes & cpus)
    if local == len(known):
        return DeviceLocality.ALL
    return DeviceLocality.SOME if local else DeviceLocality.NONE


def with_granted_devices(pod: PodRequest, grant: PodGrant) -> PodRequest:
    """Return the pod with the wish to be near the devices that its grant names."""
    if not grant.devices:
        return pod
    held = {container.name: container.devices for container in grant.containers}
    containers = tuple(
        replace(container, devices=tuple(_chosen_again(held.get(container.name, ()))))
        for container in pod.containers
    )
    return replace(pod, containers=containers)


def _chosen_again(devices: tuple[GrantedDevice, ...]) -> Iterator[DeviceRequest]:
    for resource in dict.fromkeys(device.resource for device in devices):
        own = tuple(Device(one.name, one.nodes) for one in devices if one.resource == resource)
        yield DeviceRequest.chosen(resource, own)


def _together(pod: PodRequest, parts: list[tuple[int, DeviceRequest]]) -> DeviceRequest:
    first = parts[0][1]
    every = _distinct(device for _, request in parts for device in request.every)
    if first.fixed:
        chosen = _distinct(device for _, request in parts for device in request.available)
        return DeviceRequest.chosen(first.resource, chosen, every)
    counts = [0] * len(pod.containers)
    for place, request in parts:
        counts[place] += request.count
    available = _distinct(device for _, request in parts for device in request.available)
    return DeviceRequest(first.resource, aggregate(pod.containers, counts), available, every)


def _distinct(devices: Iterator[Device]) -> tuple[Device, ...]:
    return tuple({device.name: device for device in devices}.values())


def _hints(topology: Topology, requests: tuple[DeviceRequest, ...]) -> Iterator[DeviceHints]:
    for request in requests:
        if aligned(topology, request):
            yield DeviceHints(topology, request)


def aligned(topology: Topology, request: DeviceRequest) -> bool:
    """Say whether any of the devices has a NUMA node: of the chosen ones, or of all there are."""
    devices = request.available if request.fixed else request.every
    return any(near_cpus(topology, device.nodes) for device in devices)


def near_cpus(topology: Topology, nodes: NodeSet) -> int:
    """Return the NUMA nodes a device is near to, of those that the machine has.

    Nodes without CPUs are replaced by the nearest ones with CPUs, unless the device is attached to one
    of these as well; without distances by none.
    """
    known = int(nodes & topology.listed_nodes)
    if not known or known & topology.cpu_nodes:
        return known & topology.all_nodes
    near: dict[int, int] = {}
    for place in (place for place, one in enumerate(topology.nodes) if known >> one.id & 1):
        for distance, other in zip(topology.nodes[place].distances, topology.nodes, strict=False):
            if topology.cpu_nodes >> other.id & 1:
                near[distance] = near.get(distance, 0) | 1 << other.id
    return near[min(near)] if near else 0


def count_attached(count: int, attached: Sequence[int]) -> int:
    """Return how many of the chosen devices have a NUMA node at all."""
    return min(count, sum(1 for nodes in attached if nodes))


def _named(device: Device) -> str:
    where = nodeset.named(device.nodes) if device.nodes else "no NUMA node"
    return f"{device.name} ({where})"


def _union(sets: Sequence[int]) -> int:
    union = 0
    for one in sets:
        union |= one
    return union


def _fewest(attached: Sequence[int], count: int, universe: int) -> int:
    """Return the node count of the smallest set that `count` of the devices are attached to; 0 if none is."""
    if count <= 0:
        return 1
    inside = [nodes & universe for nodes in attached if nodes & universe]
    if len(inside) < count:
        return 0
    if all(nodes & (nodes - 1) == 0 for nodes in inside):
        return _richest_first(inside, count)
    members = [1 << node for node in nodeset.ids(universe)]
    for size in range(1, len(members)):
        for chosen in islice(combinations(members, size), MAX_SETS):
            found = sum(chosen)
            if sum(1 for nodes in inside if nodes & found) >= count:
                return size
    return len(members)


def _richest_first(inside: Sequence[int], count: int) -> int:
    by_node: dict[int, int] = {}
    for nodes in inside:
        by_node[nodes] = by_node.get(nodes, 0) + 1
    have = size = 0
    for number in sorted(by_node.values(), reverse=True):
        have, size = have + number, size + 1
        if have >= count:
            break
    return size
