"""Huge pages that are in use on a NUMA node and that no grant accounts for.

Grants say what pods were given, not what other processes took: a page that a virtual machine or an unmanaged
pod has faulted in is gone, whatever the machine has in total. An agent reports such pages as
`PagesInUse`: those of pods without a grant by pod, all others without one. Pages that a grant covers are not
among them, since the grants account for them already, faulted in or not.

Always true: no page is counted twice, and none that a grant does not cover is forgotten. A pod that was
granted something since the agent looked is still in the report: what its grant covers is taken off here.
A pod is never in its own way: what it has in use already is free for its own decision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from podnuma.allocator.decision import MemoryBlock, PodGrant
from podnuma.allocator.topology import Topology

Pages = dict[tuple[int, str], int]
"""Bytes in huge pages, by NUMA node and resource name."""

OthersPages = Mapping[str, Mapping[int, int]]
"""Bytes that others have in use, by resource name and NUMA node."""

NONE: Final[OthersPages] = {}


@dataclass(frozen=True, slots=True)
class PagesInUse:
    """Huge pages of one size on one NUMA node, in bytes, and the UID of the pod that uses them ("": none)."""

    node: int
    resource: str
    size: int
    pod_uid: str = ""


def uncovered(
    pages: Mapping[tuple[int, str], int], blocks: Iterable[MemoryBlock], topology: Topology
) -> Pages:
    """Return what is left of a pod's pages when each block covers as many as it holds, on its own nodes."""
    left = dict(pages)
    for block in blocks:
        size = block.size
        for node in topology.members(block.nodes & topology.all_nodes):
            covered = min(left.get((node, block.resource), 0), size)
            if covered:
                left[node, block.resource] -= covered
                size -= covered
    return {place: size for place, size in left.items() if size > 0}


def others_pages(
    in_use: Iterable[PagesInUse], grants: Mapping[str, PodGrant], topology: Topology, but: str = ""
) -> OthersPages:
    """Sum up what is in use beyond the grants; `but` is the UID of a pod that is left out."""
    by_pod: dict[str, Pages] = {}
    for one in in_use:
        if not but or one.pod_uid != but:
            pages = by_pod.setdefault(one.pod_uid, {})
            pages[one.node, one.resource] = pages.get((one.node, one.resource), 0) + one.size
    found: dict[str, dict[int, int]] = {}
    for uid, pages in by_pod.items():
        grant = grants.get(uid) if uid else None
        left = pages if grant is None else uncovered(pages, grant.charged, topology)
        for (node, resource), size in left.items():
            by_node = found.setdefault(resource, {})
            by_node[node] = by_node.get(node, 0) + size
    return found
