"""Huge pages of a NUMA node as the kernel counts them: how many there are, and how many nobody has.

Persistent pages count; surplus ones, which come and go with whoever uses them, do not. Sizes without pages
are left out. A kernel without the count of free ones is taken to have all of them free.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podnuma.agent.discover.tree import Tree

MACHINE_PAGES: Final = "kernel/mm/hugepages"
"""Where the pages of the whole machine are counted, on kernels without NUMA those of node 0."""

_KIB = 1024


@dataclass(frozen=True, slots=True)
class PageCount:
    """Huge pages of one size on one NUMA node, in bytes; `page` is the size of one in KiB."""

    node: int
    page: int
    total: int
    free: int

    @property
    def resource(self) -> str:
        """The name of the resource in Kubernetes ("hugepages-2Mi")."""
        return resource_name(self.page)


def page_counts(tree: Tree, node: int, folder: str = "") -> tuple[PageCount, ...]:
    """Return the pages of a NUMA node, smallest first."""
    folder = folder or f"devices/system/node/node{node}/hugepages"
    found = []
    for page in _page_sizes(tree, folder):
        files = f"{folder}/hugepages-{page}kB"
        count = (tree.number(f"{files}/nr_hugepages") or 0) - (tree.number(f"{files}/surplus_hugepages") or 0)
        if count > 0:
            free = tree.number(f"{files}/free_hugepages")
            left = count if free is None else min(max(free, 0), count)
            found.append(PageCount(node, page, count * page * _KIB, left * page * _KIB))
    return tuple(found)


def totals(counts: Iterable[PageCount]) -> dict[str, int]:
    """Return bytes by resource name."""
    return {count.resource: count.total for count in counts}


def promised(tree: Tree, page: int) -> int:
    """Return the bytes that mappings have reserved on the machine and not touched yet."""
    count = tree.number(f"{MACHINE_PAGES}/hugepages-{page}kB/resv_hugepages")
    return max(count or 0, 0) * page * _KIB


def resource_name(page: int) -> str:
    """Return the name of the resource for pages of this many KiB."""
    size, suffix = page, 0
    while size % _KIB == 0 and suffix < len(_SUFFIXES) - 1:
        size, suffix = size // _KIB, suffix + 1
    return f"hugepages-{size}{_SUFFIXES[suffix]}"


_SUFFIXES = ("Ki", "Mi", "Gi", "Ti")


def _page_sizes(tree: Tree, folder: str) -> tuple[int, ...]:
    matches = (re.fullmatch(r"hugepages-([1-9][0-9]{0,8})kB", name) for name in tree.names(folder))
    return tuple(sorted(int(match[1]) for match in matches if match))
