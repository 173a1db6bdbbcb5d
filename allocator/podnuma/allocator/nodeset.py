"""A set of NUMA nodes is an integer: bit i stands for node id i.

Node ids need not be dense (0, 8, 250 on some machines). Of two sets the *narrower* one has
fewer members, or as many and the smaller integer, so that low ids win.
In the kubelet: topologymanager/bitmask.
"""

from collections.abc import Iterable, Iterator
from typing import NewType

from podnuma.allocator import cpuset

NodeSet = NewType("NodeSet", int)

EMPTY = NodeSet(0)

MAX_ID = 1023  # the kernel's largest NODES_SHIFT is 10


def of(nodes: Iterable[int]) -> NodeSet:
    """Return the set of the given node ids. Raises ValueError for an id outside 0..MAX_ID."""
    mask = 0
    for node in nodes:
        if not 0 <= node <= MAX_ID:
            raise ValueError(f"NUMA node id {node} is outside 0-{MAX_ID}")
        mask |= 1 << node
    return NodeSet(mask)


def ids(nodes: int) -> Iterator[int]:
    """Yield the members, ascending."""
    return cpuset.ids(nodes)


def render(nodes: int) -> str:
    """Write the set in kernel list format, for example "0-1"; "" for the empty set."""
    return cpuset.render(nodes)


def named(nodes: int) -> str:
    """Write the set for people, with the noun in its number: "NUMA node 0", "NUMA nodes 0-1"."""
    return f"NUMA node{'' if nodes.bit_count() == 1 else 's'} {render(nodes)}"


def parse(text: str) -> NodeSet:
    """Read kernel list format. Raises ValueError with the offending part."""
    mask = int(cpuset.parse(text))
    if mask >> (MAX_ID + 1):
        raise ValueError(f"{text[:40]!r} names a NUMA node id above {MAX_ID}")
    return NodeSet(mask)
