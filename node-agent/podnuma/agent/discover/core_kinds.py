"""Kinds of cores: performance and efficient ones of hybrid chips, big and LITTLE ones by capacity.

Two sources. Drivers of hybrid x86 chips list their CPUs per kind; there are at least two lists. Elsewhere
the kernel says what each CPU can do, 1024 for the fastest; CPUs of equal capacity are of one kind.
A machine whose cores are all alike has no kinds. The fastest kind comes first.
"""

from podnuma.agent.discover.tree import Tree
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

PERFORMANCE, EFFICIENT, LOW_POWER = "performance", "efficient", "low-power"
_BY_DRIVER = {
    PERFORMANCE: "devices/cpu_core/cpus",
    EFFICIENT: "devices/cpu_atom/cpus",
    LOW_POWER: "devices/cpu_lowpower/cpus",
}
_TWO = 2
# More capacities than that are no kinds of cores: each CPU has its own highest frequency then.
_MOST = 8


def read_core_kinds(tree: Tree, online: CpuSet) -> dict[str, CpuSet]:
    """Return the online CPUs by kind of core; empty if there is one kind, or none is told."""
    listed = {kind: CpuSet((tree.cpus(path) or 0) & online) for kind, path in _BY_DRIVER.items()}
    kinds = {kind: cpus for kind, cpus in listed.items() if cpus}
    if len(kinds) >= _TWO:
        return kinds
    return _by_capacity(tree, online)


def _by_capacity(tree: Tree, online: CpuSet) -> dict[str, CpuSet]:
    kinds: dict[int, int] = {}
    for cpu in cpuset.ids(online):
        capacity = tree.number(f"devices/system/cpu/cpu{cpu}/cpu_capacity")
        if capacity is None or capacity <= 0:
            return {}
        kinds[capacity] = kinds.get(capacity, 0) | 1 << cpu
    if not _TWO <= len(kinds) <= _MOST:
        return {}
    fastest_first = sorted(kinds, reverse=True)
    names = (
        (PERFORMANCE, EFFICIENT)
        if len(kinds) == _TWO
        else tuple(f"capacity-{capacity}" for capacity in fastest_first)
    )
    return {name: CpuSet(kinds[capacity]) for name, capacity in zip(names, fastest_first, strict=True)}
