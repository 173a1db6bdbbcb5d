"""Where the devices that a pod asks for can be on each node, judged by the free ones.

    asked      so many devices of a resource, and the containers that use them
    free       so many devices of each resource by NUMA nodes; devices are not told apart otherwise
    wish       the pod with devices at certain NUMA nodes as if it had them already, and the nodes that have
               such ones free: the allocator answers it as it answers the pod once it is bound

A node has a wish for each set of NUMA nodes that has enough of everything, of the smallest size there is. A
node with fewer free devices than asked for is in no wish. Equal nodes share their wishes, so that a fleet
judges each state once. A device without a NUMA node, or on one that the machine lacks, is as good anywhere.

Always true: a wish takes each free device of a node at most once, and without devices there is none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

from podnuma.allocator import nodeset
from podnuma.allocator.device_hints import near_cpus
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Device, DeviceRequest, PodRequest
from podnuma.allocator.topology import Topology

MAX_SETS = 500
"""Sets of NUMA nodes of one size that are looked at; beyond it a set may be larger than necessary."""

MAX_WISHES = 16
"""Wishes of one node: the first ones by NUMA node."""

FreeDevices = Mapping[str, Mapping[NodeSet, int]]
"""How many devices are free, by resource and by the NUMA nodes they are attached to."""


@dataclass(frozen=True, slots=True)
class AskedDevices:
    """`count` devices of a resource that were not chosen yet; one device may serve several containers."""

    resource: str
    count: int
    containers: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """A pod with devices at certain NUMA nodes, the nodes that have them, and what it would take there."""

    pod: PodRequest
    nodes: frozenset[str]
    taken: tuple[tuple[str, NodeSet], ...]


_Chosen = tuple[tuple[NodeSet, ...], ...]  # for each thing asked: where its devices are


def device_wishes(
    pod: PodRequest, asked: Sequence[AskedDevices], nodes: Mapping[str, tuple[Topology, FreeDevices]]
) -> tuple[DeviceWish, ...]:
    """Return the wishes of a pod on nodes with these machines and free devices."""
    if not asked:
        return ()
    resources = sorted({one.resource for one in asked})
    alike: dict[object, list[str]] = {}
    for name, (topology, free) in nodes.items():
        counts = tuple(frozenset(free.get(resource, {}).items()) for resource in resources)
        alike.setdefault((id(topology), counts), []).append(name)
    offered: dict[_Chosen, list[str]] = {}
    for names in alike.values():
        for chosen in _choices(asked, *nodes[names[0]]):
            offered.setdefault(chosen, []).extend(names)
    return tuple(_wish(pod, asked, chosen, names) for chosen, names in offered.items())


def count_by_resource(asked: Iterable[AskedDevices]) -> Counter[str]:
    """Return how many devices of each resource are asked for together."""
    needed: Counter[str] = Counter()
    for one in asked:
        needed[one.resource] += one.count
    return needed


def devices_left(free: FreeDevices, taken: Iterable[tuple[str, NodeSet]]) -> FreeDevices:
    """Return what is free when these are taken: at the same NUMA nodes, or else at any."""
    left = {resource: dict(counts) for resource, counts in free.items()}
    for resource, nodes in taken:
        counts = left.get(resource)
        if not counts:
            continue
        at = nodes if nodes in counts else min(counts)
        counts[at] -= 1
        if not counts[at]:
            del counts[at]
    return left


def _choices(asked: Sequence[AskedDevices], topology: Topology, free: FreeDevices) -> list[_Chosen]:
    needed = count_by_resource(asked)
    near: dict[str, list[tuple[int, NodeSet, int]]] = {}
    universe = 0
    for resource, count in needed.items():
        near[resource] = [
            (near_cpus(topology, nodes), nodes, number)
            for nodes, number in sorted(free.get(resource, {}).items())
        ]
        if sum(number for _, _, number in near[resource]) < count:
            return []
        for where, _, _ in near[resource]:
            universe |= where
    members = [1 << node for node in nodeset.ids(universe)]
    for size in range(len(members) + 1):
        found: dict[_Chosen, None] = {}
        for chosen in islice(combinations(members, size), MAX_SETS):
            within = {resource: _within(places, sum(chosen)) for resource, places in near.items()}
            if all(len(within[resource]) >= count for resource, count in needed.items()):
                found.setdefault(_dealt(asked, within))
        if found:
            return list(found)[:MAX_WISHES]
    return []


def _within(places: Iterable[tuple[int, NodeSet, int]], chosen: int) -> list[NodeSet]:
    """Return where the devices are that are near these NUMA nodes, then those that are near none."""
    local: list[NodeSet] = []
    anywhere: list[NodeSet] = []
    for near, nodes, number in places:
        if near & chosen:
            local += [nodes] * number
        elif not near:
            anywhere += [nodeset.EMPTY] * number
    return local + anywhere


def _dealt(asked: Sequence[AskedDevices], within: Mapping[str, list[NodeSet]]) -> _Chosen:
    left = {resource: iter(devices) for resource, devices in within.items()}
    return tuple(tuple(islice(left[one.resource], one.count)) for one in asked)


def _wish(
    pod: PodRequest, asked: Sequence[AskedDevices], chosen: _Chosen, names: Iterable[str]
) -> DeviceWish:
    by_container: dict[str, dict[str, list[Device]]] = {}
    taken: list[tuple[str, NodeSet]] = []
    for one, places in zip(asked, chosen, strict=True):
        devices = [Device(str(len(taken) + number), nodes) for number, nodes in enumerate(places)]
        taken += [(one.resource, nodes) for nodes in places]
        for container in one.containers:
            by_container.setdefault(container, {}).setdefault(one.resource, []).extend(devices)
    containers = tuple(
        replace(container, devices=tuple(_requests(by_container.get(container.name, {}))))
        for container in pod.containers
    )
    return DeviceWish(replace(pod, containers=containers), frozenset(names), tuple(taken))


def _requests(devices: Mapping[str, Sequence[Device]]) -> Iterator[DeviceRequest]:
    for resource, own in devices.items():
        yield DeviceRequest.chosen(resource, tuple(own))
