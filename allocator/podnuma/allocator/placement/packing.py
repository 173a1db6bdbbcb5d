"""How good it is to place a pod on a node: what the pod would break, and what it would leave there.

The NUMA nodes inside a machine are the kubelet's choice and are not judged; machines are compared
by what that choice does to them. `Compact` keeps room for pods that need it in one piece:

    1. as few NUMA nodes as possible, those of its devices included, so that what fits on one is not spread
       over two elsewhere, and devices are near
    2. loses as few CPUs as possible to gaps that likely pods do not fill (`likely_pods`): what is going to be
       lost of the gap that it leaves, less what would have been lost of the one that it fills
    3. hides as few gaps as possible: the kubelet takes the first NUMA node of a machine that fits, so a gap
       behind one that is as large or larger is not reached by the pods that would fill it
    4. breaks as few whole NUMA nodes as possible; one is whole while no pod holds any of it
    5. leaves the smallest gap on the NUMA nodes that it uses
    6. leaves as few CPUs as possible on the machine, so that empty machines stay empty

Losses come before breaking: filling a gap to all but two CPUs loses those for as long as the pod runs, while
a whole NUMA node that was broken serves the next pods. `Spread` leaves as much as possible, on the machine
and then on the NUMA nodes that it uses, but never takes more NUMA nodes than it has to.

Lower is better; equal scores are equally good.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from podnuma.allocator.device_hints import near_cpus

if TYPE_CHECKING:
    from podnuma.allocator.decision import PodGrant
    from podnuma.allocator.node_allocator import NodeAllocator  # settings name a packing and decide nothing
    from podnuma.allocator.placement.likely_pods import LikelyPods
    from podnuma.allocator.topology import Topology


class Packing(StrEnum):
    """What nodes are preferred: full ones, or empty ones."""

    COMPACT = "Compact"
    SPREAD = "Spread"


class PlacementEffect(NamedTuple):
    """What a grant does to its node. CPUs that are reserved are nowhere counted as free.

    The CPUs it `takes`, the `numa_nodes` it uses or has a device at, how many it `breaks` of those it uses,
    the free CPUs of the `gap` that it leaves on these, and those that are `left` on the whole machine. It
    `hides` so many gaps behind others, less those that it brings to light.
    """

    takes: int
    numa_nodes: int
    breaks: int
    gap: int
    left: int
    hides: int = 0


Score = tuple[int, ...]
"""Sorts placements of one pod, the best one first."""


def effect(node: NodeAllocator, grant: PodGrant) -> PlacementEffect:
    """Return what holding a grant would do to a node that does not hold it yet."""
    topology = node.rules.topology
    free = node.free_cpus
    left = free & ~grant.exclusive_cpus
    used = topology.nodes_of(grant.exclusive_cpus) | grant.memory_nodes
    members = topology.members(used)
    breaks = 0
    for numa in members:
        own = topology.cpus_of_node(numa) & ~node.rules.withheld
        breaks += own & free == own and not node.memory_assignments(numa)
    gap = left & topology.cpus_on(used)
    near = {near_cpus(topology, device.nodes) for device in grant.devices}
    apart = sum(1 for nodes in near if nodes and not nodes & used)
    return PlacementEffect(
        takes=grant.exclusive_cpus.bit_count(),
        numa_nodes=len(members) + apart,
        breaks=breaks,
        gap=gap.bit_count(),
        left=left.bit_count(),
        hides=_hides(topology, free, left),
    )


def score(packing: Packing, found: PlacementEffect, likely: LikelyPods) -> Score:
    """Return where a placement stands among others of the same pod."""
    if packing is Packing.SPREAD:
        return found.numa_nodes, -found.left, -found.gap, found.breaks
    loses = likely.lost(found.gap) - likely.lost(found.gap + found.takes)
    return found.numa_nodes, loses, found.hides, found.breaks, found.gap, found.left


def _hides(topology: Topology, free: int, left: int) -> int:
    """Return how many more gaps are hidden by what is left than by what is free.

    One is hidden while a NUMA node before it has as many free CPUs, or more.
    """
    most_free = most_left = hides = 0
    for numa in topology.nodes:
        own = topology.node_masks.get(numa.id, 0)
        before, after = (free & own).bit_count(), (left & own).bit_count()
        if 0 < after <= most_left:
            hides += 1
        elif after > most_left:
            most_left = after
        if 0 < before <= most_free:
            hides -= 1
        elif before > most_free:
            most_free = before
    return hides
