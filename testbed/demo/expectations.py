"""What must be true of the demo's two pods; every function returns a list of what is not.

The rules are those of the announcement, checked on the values in the control groups and on the
recorded hardware, without any code of podnuma.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from testbed.cgroups import Written
    from testbed.machines import Machine

Containers: TypeAlias = Mapping[str, "Written"]

NO_QUOTA = "max 100000"
DATABASE_CPUS, DATABASE_POOL = 6, 2
DATABASE_QUOTA = "800000 100000"
SIDECARS = ("metrics-exporter", "backup-agent")
TRAINING_CPUS = 3
TRAINING_QUOTA = "400000 100000"


def database(machine: Machine, found: Containers) -> list[str]:
    """Pod scope: 6 CPUs for the database alone, 2 for both sidecars, everything in one NUMA node."""
    problems = _missing(found, "database", *SIDECARS)
    if problems:
        return problems
    main, (first, second) = found["database"], (found[name] for name in SIDECARS)
    problems += _count(main, DATABASE_CPUS)
    for sidecar in (first, second):
        problems += _count(sidecar, DATABASE_POOL)
        problems += _apart(main, sidecar)
        problems += _quota(sidecar, DATABASE_QUOTA)
    if first.cpus != second.cpus:
        problems.append(
            f"the sidecars do not share one pool: {first.container} has {first.cpu_list}, "
            f"{second.container} has {second.cpu_list}"
        )
    problems += _quota(main, NO_QUOTA)
    problems += _one_numa_node(machine, main, first, second)
    return problems


def training(machine: Machine, found: Containers) -> list[str]:
    """Container scope: 3 CPUs of one NUMA node for the training, the sidecar in the node shared pool."""
    problems = _missing(found, "training", "service-mesh-sidecar")
    if problems:
        return problems
    main, mesh = found["training"], found["service-mesh-sidecar"]
    problems += _count(main, TRAINING_CPUS)
    problems += _one_numa_node(machine, main)
    problems += _quota(main, NO_QUOTA)
    problems += _quota(mesh, TRAINING_QUOTA)
    pool = machine.online - main.cpus
    if mesh.cpus != pool:
        problems.append(
            f"container {mesh.container} has CPUs {mesh.cpu_list}, not the node shared pool: "
            f"all {len(machine.online)} CPUs without {main.cpu_list}"
        )
    return problems


def agreement(allocation: Mapping[str, object], found: Containers) -> list[str]:
    """Compare the status with the files: it must report their values, and that the container was pinned."""
    problems = []
    status = allocation.get("status")
    entries = status.get("containers", []) if isinstance(status, Mapping) else []
    for entry in entries:
        told = entry.get("effective", {}).get("cpus", "")
        seen = found[entry["name"]].cpu_list
        if told != seen:
            problems.append(f"container {entry['name']}: status says CPUs {told!r}, its files say {seen!r}")
        if entry.get("verdict") not in {"PinnedAtStart", "PinnedLate"}:
            problems.append(f"container {entry['name']}: verdict {entry.get('verdict')!r}, not pinned")
    return problems


def _missing(found: Containers, *names: str) -> list[str]:
    return [f"container {name} has no control group" for name in names if name not in found]


def _count(group: Written, count: int) -> list[str]:
    if len(group.cpus) == count:
        return []
    return [f"container {group.container} has CPUs {group.cpu_list}, not {count}"]


def _apart(one: Written, other: Written) -> list[str]:
    if one.cpus.isdisjoint(other.cpus):
        return []
    return [
        f"containers {one.container} ({one.cpu_list}) and {other.container} ({other.cpu_list}) share CPUs"
    ]


def _quota(group: Written, expected: str) -> list[str]:
    if group.cpu_max == expected:
        return []
    return [f"container {group.container} has cpu.max {group.cpu_max!r}, not {expected!r}"]


def _one_numa_node(machine: Machine, *groups: Written) -> list[str]:
    cpus = frozenset().union(*(group.cpus for group in groups))
    nodes = {cpu.numa for cpu in machine.cpus if cpu.id in cpus}
    names = ", ".join(group.container for group in groups)
    if len(nodes) != 1:
        return [f"CPUs of {names} lie in NUMA nodes {sorted(nodes)}, not in one"]
    return [
        f"container {group.container} takes memory from NUMA nodes {group.mem_list}, its CPUs are in {nodes}"
        for group in groups
        if group.mems != nodes
    ]
