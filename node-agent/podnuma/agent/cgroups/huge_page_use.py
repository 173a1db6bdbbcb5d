"""Which huge pages the processes of a pod use, as the hugetlb controller charges them to the pod's cgroup.

The charges of a pod include all cgroups below it. By NUMA node they are known from Linux 5.17 on
(`hugetlb.<size>.numa_stat`), before it only their sum. A cgroup without the controller tells nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.cgroups import files

_BY_NODE = re.compile(r"\bN([0-9]{1,4})=([0-9]{1,19})\b")
_MEGA, _GIGA = 1 << 10, 1 << 20  # in KiB


@dataclass(frozen=True, slots=True)
class PodPages:
    """Pages of one size that a pod uses, in bytes: the sum, and by NUMA node (None: not told).

    `promised` is what its mappings have reserved and it has not touched yet.
    """

    used: int
    by_node: Mapping[int, int] | None
    promised: int

    def at_least(self, other: "PodPages") -> "PodPages":
        """Return what the pod used at both of two moments."""
        by_node = None
        if self.by_node is not None and other.by_node is not None:
            by_node = {node: min(size, other.by_node.get(node, 0)) for node, size in self.by_node.items()}
        return PodPages(min(self.used, other.used), by_node, min(self.promised, other.promised))


def pod_pages(folder: Path, pages: Iterable[int]) -> dict[int, PodPages]:
    """Return what the pod with this cgroup uses, by size of the page in KiB, as far as it is told."""
    found = {}
    for page in pages:
        prefix = f"{folder}/hugetlb.{_spelled(page)}"
        used = files.number(f"{prefix}.current")
        if used is None:
            continue
        reserved = files.number(f"{prefix}.rsvd.current") or 0
        stat = files.content(f"{prefix}.numa_stat") if used else ""
        by_node = None if stat is None else {int(node): int(size) for node, size in _BY_NODE.findall(stat)}
        found[page] = PodPages(used, by_node, max(reserved - used, 0))
    return found


def _spelled(page: int) -> str:
    """Return a size as the kernel spells it in names of files: "64KB", "2MB", "1GB"."""
    if page >= _GIGA:
        return f"{page // _GIGA}GB"
    return f"{page // _MEGA}MB" if page >= _MEGA else f"{page}KB"
