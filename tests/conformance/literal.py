"""The kubelet's ways that podnuma leaves on purpose, each as a replacement for one function.

`docs/deviations.md` says where and why podnuma decides otherwise. Here the other side of each
such place is written down, to be put in for the length of a comparison: a difference counts as
explained by a deviation only if podnuma, with the kubelet's way in that one place, comes to the
kubelet's answer exactly. Nothing of this is part of the product.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from podnuma.allocator import cpuset, eligibility
from podnuma.allocator.cpu import pack
from podnuma.allocator.cpu.order import Order, by_free
from podnuma.allocator.cpu.pick import Picker
from podnuma.allocator.memory import hints as memory_hints
from podnuma.allocator.refusal import not_enough_cpus
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.topology import Topology

Replacement = tuple[str, Callable[..., Any]]


@contextmanager
def in_place(replacements: Iterable[Replacement]) -> Iterator[None]:
    """Put replacements in for as long as the block runs."""
    with ExitStack() as stack:
        for target, function in replacements:
            stack.enter_context(patch(target, function))
        yield


class _Hand:
    def __init__(self, free: int, need: int) -> None:
        self.free, self.need, self.got = free, need, 0

    def claim(self, cpus: int) -> None:
        self.got |= cpus
        self.free &= ~cpus
        self.need -= cpus.bit_count()

    def claim_whole(self, elements: Iterable[tuple[int, int, int]], size: int | None) -> None:
        """Claim elements that have `size` free CPUs (None: as many as they have in all)."""
        whole = [mask for left, _, mask in elements if left == (size or mask.bit_count())]
        for mask in whole:
            if self.need >= mask.bit_count():
                self.claim(mask)


_PLAIN = pack.Style()


def packed_by_average(order: Order, available: int, count: int, style: pack.Style = _PLAIN) -> int:
    """Pick CPUs packed, where a core or socket is whole when it has the machine's average of free CPUs."""
    if count == 0:
        return 0
    hand = _Hand(available & order.all_cpus, count)
    if count > hand.free.bit_count():
        raise not_enough_cpus(count, available.bit_count())
    per_socket = order.cpu_count // len(order.socket_ids)
    steps = [
        lambda: hand.claim_whole(order.numa_nodes(hand.free), None),
        lambda: hand.claim_whole(order.sockets(hand.free), per_socket),
    ]
    if not order.numa_first:
        steps.reverse()
    steps.append(lambda: _caches(order, hand) if style.caches else None)
    if not style.spread:
        steps.append(lambda: hand.claim_whole(_cores(order, hand.free), order.per_core))
    for step in steps:
        step()
        if hand.need == 0:
            return hand.got
    threads = order.sockets(hand.free) if style.spread else _cores(order, hand.free)
    for _, _, mask in threads:
        hand.claim(int(cpuset.lowest(mask & hand.free, hand.need)))
    return hand.got


def _cores(order: Order, free: int) -> list[tuple[int, int, int]]:
    return [core for _, outer, _ in order.around_cores(free) for core in by_free(order.cores_in[outer], free)]


def _caches(order: Order, hand: _Hand) -> None:
    for _, _, cache in order.uncores(hand.free):
        if hand.need >= order.per_uncore:
            hand.claim_whole(order.uncores(hand.free), None)
        if hand.need:
            _part_of_cache(order, hand, cache)
        if hand.need == 0:
            return


def _part_of_cache(order: Order, hand: _Hand, cache: int) -> None:
    cores = [mask & hand.free for _, mask in order.cores if mask & hand.free & cache]
    free = 0
    for mask in cores[: -(-hand.need // order.per_core)]:
        free |= mask
    if hand.need % 2 and order.per_core > 1 and free.bit_count() > hand.need:
        free ^= 1 << (free.bit_length() - 1)
    if free.bit_count() == hand.need:
        hand.claim(free)


_fewest = memory_hints.fewest


def _fewest_of_all_nodes(layout: Any, request: Any, *, with_cpus: bool) -> int:
    del with_cpus
    return _fewest(layout, request, with_cpus=False)


def _missed_by_anyone(used: Any, budget: Any, sharers: list[Any]) -> str | None:
    if not sharers:
        return None
    return next((resource for resource, size in budget.items() if used[resource] >= size), None)


_peak_memory = eligibility._peak_memory


def _peak_memory_of_app_names(containers: Any, memory: Any) -> Any:
    peak = _peak_memory(containers, memory)
    named = {
        resource
        for container, sizes in zip(containers, memory, strict=True)
        if container.kind is ContainerKind.APP
        for resource in sizes or ()
    }
    return peak and {resource: size for resource, size in peak.items() if resource in named}


def _distance_by_id(self: Topology, nodes: int) -> float:
    members = [node for node in self.nodes if nodes >> node.id & 1]
    # Beyond the row the kubelet crashes, if it comes to such a set (a mark).
    rows = [dict(enumerate(one.distances)) for one in members]
    total = sum(row.get(other.id, math.inf) for row in rows for other in members)
    return total / len(members) ** 2


def _any_device_is_aligned(_: Any, request: Any) -> bool:
    return any(device.nodes for device in request.every)


WHOLE_BY_AVERAGE: tuple[Replacement, ...] = (
    ("podnuma.allocator.cpu.pick.packed", packed_by_average),
    ("podnuma.allocator.cpu.distribute.packed", packed_by_average),
)
ALL_NODES_COUNT: tuple[Replacement, ...] = (("podnuma.allocator.memory.hints.fewest", _fewest_of_all_nodes),)
MEMORY_ONLY_NODES_ARE_GIVEN: tuple[Replacement, ...] = (
    ("podnuma.allocator.rules.Topology.without_nodes", lambda self, _: self),
)
EVERYBODY_MISSES_HUGE_PAGES: tuple[Replacement, ...] = (
    ("podnuma.allocator.eligibility._missed", _missed_by_anyone),
)
INIT_ONLY_MEMORY_FORGOTTEN: tuple[Replacement, ...] = (
    ("podnuma.allocator.eligibility._peak_memory", _peak_memory_of_app_names),
)
AFFINITY_IS_NOT_BINDING: tuple[Replacement, ...] = (
    ("podnuma.allocator.cpu.pick.Picker.take_near", Picker.take),
)
DISTANCE_BY_ID: tuple[Replacement, ...] = (
    ("podnuma.allocator.topology.Topology.average_distance", _distance_by_id),
)
GROUP_MEMBERS_ARE_USED_ALONE: tuple[Replacement, ...] = (
    ("podnuma.allocator.memory.resolve._tied", lambda *_: False),
)
PAGES_OF_OTHERS_ARE_FREE: tuple[Replacement, ...] = (
    ("podnuma.allocator.memory.memory_map.NumaMemoryMap.others_have", lambda *_: None),
)
NOTHING_LEFT_FOR_OTHERS: tuple[Replacement, ...] = (
    ("podnuma.allocator.node_allocator.leave_some_for_others", lambda *_: None),
)
DEVICES_AS_THEY_ARE: tuple[Replacement, ...] = (
    ("podnuma.allocator.device_hints.near_cpus", lambda topology, nodes: int(nodes & topology.all_nodes)),
    ("podnuma.allocator.device_hints.count_attached", lambda count, _: count),
    ("podnuma.allocator.device_hints.aligned", _any_device_is_aligned),
)
PACKAGE_NUMBERS_ARE_TAKEN_AS_THEY_ARE: tuple[Replacement, ...] = (
    ("podnuma.allocator.check._unknown_package", lambda _: None),
)
