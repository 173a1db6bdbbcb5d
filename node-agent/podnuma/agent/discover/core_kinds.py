"""Kinds of cores: performance and efficient ones of hybrid chips, big and LITTLE ones by capacity.

Two sources. Drivers of hybrid x86 chips list their CPUs per kind; there are at least two lists. Elsewhere
the kernel says what each CPU can do, 1024 for the fastest. Chips are binned and boost single cores, so
capacities of equal cores differ a little: only a gap of a third separates two kinds. A machine whose cores
are all alike has no kinds. The fastest kind comes first.
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
# As in sched-ext/scx#2137, which tried Intel, AMD and Arm chips.
_GAP = 1.3


def read_core_kinds(tree: Tree, online: CpuSet) -> dict[str, CpuSet]:
    """Return the online CPUs by kind of core; empty if there is one kind, or none is told."""
    listed = {kind: CpuSet((tree.cpus(path) or 0) & online) for kind, path in _BY_DRIVER.items()}
    kinds = {kind: cpus for kind, cpus in listed.items() if cpus}
    if len(kinds) >= _TWO:
        return kinds
    return _by_capacity(tree, online)


def _by_capacity(tree: Tree, online: CpuSet) -> dict[str, CpuSet]:
    alike: dict[int, int] = {}
    for cpu in cpuset.ids(online):
        capacity = tree.number(f"devices/system/cpu/cpu{cpu}/cpu_capacity")
        if capacity is None or capacity <= 0:
            return {}
        alike[capacity] = alike.get(capacity, 0) | 1 << cpu
    kinds: list[tuple[int, int]] = []  # (highest capacity, CPUs)
    previous = 0
    for capacity in sorted(alike, reverse=True):
        if kinds and previous < capacity * _GAP:
            kinds[-1] = (kinds[-1][0], kinds[-1][1] | alike[capacity])
        else:
            kinds.append((capacity, alike[capacity]))
        previous = capacity
    if len(kinds) < _TWO:
        return {}
    if len(kinds) == _TWO:
        return {name: CpuSet(cpus) for name, (_, cpus) in zip((PERFORMANCE, EFFICIENT), kinds, strict=True)}
    return {f"capacity-{capacity}": CpuSet(cpus) for capacity, cpus in kinds}
