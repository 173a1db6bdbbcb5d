"""cAdvisor's ways with a machine, each apart: one for every entry of "Hardware" in `docs/deviations.md`.

A *way* is what changes in a scenario's topology, as podnuma discovered it, when that one place is seen with
the kubelet's eyes: `cpus` has new values by CPU (None: the kubelet does not know that CPU), `machine` new
fields of the topology, `counted` how many CPUs there are to the kubelet where it counts more than it knows.
`ways` reads them from the tree, by the rules of cAdvisor's code, not by its answer.

Always true: all ways together make of podnuma's machine the kubelet's (`discovery` compares them), and no two
change the same value, so that any set of them can be put in.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podnuma.allocator import cpuset
from podnuma.allocator.topology import Topology

Json = dict[str, Any]

ISOLATED = "Isolated CPUs"
WITHOUT_CACHE = "Cores without an L3 cache"
WIDE_CACHE = "An L3 cache as wide as its NUMA node"
CORE_NUMBERS = "Numbers of cores"
CACHE_NUMBERS = "Numbers of caches"
NO_NUMA = "No NUMA"
NO_SIBLINGS = "Sibling threads that no file tells"
NO_PACKAGE = "A package that is not told"

_CPU, _NODE = "devices/system/cpu", "devices/system/node"
_UNCORE_LEVEL = 3


def described(topology: Topology) -> Json:
    """Return a machine as the topology of a scenario."""
    cpus: list[Json] = [
        {"id": cpu.id, "core": cpu.core, "socket": cpu.socket, "numa": cpu.node}
        | ({} if cpu.uncore is None else {"uncore": cpu.uncore})
        for cpu in topology.cpus
    ]
    nodes: list[Json] = [
        {
            "id": node.id,
            "memoryBytes": node.memory,
            "hugepages": {name.removeprefix("hugepages-"): size for name, size in node.hugepages.items()},
            "distances": list(node.distances),
        }
        for node in topology.nodes
    ]
    sets = {"isolated": topology.isolated, "unknownSiblings": topology.unknown_siblings}
    return {
        "cpus": cpus,
        "numaNodes": nodes,
        **{name: cpuset.render(cpus) for name, cpus in sets.items() if cpus},
    }


def seen(topology: Json, ways: Iterable[Json]) -> Json:
    """Return the topology with these ways put in."""
    for way in ways:
        cpus = way.get("cpus", {})
        rows = ({**row, **(cpus.get(str(row["id"]), {}) or {})} for row in topology["cpus"])
        known = [row for row in rows if cpus.get(str(row["id"]), {}) is not None]
        topology = {**topology, **way.get("machine", {}), "cpus": known}
    return topology


def ways(topology: Json, sys_root: Path) -> dict[str, Json]:
    """Return by name what the kubelet sees otherwise than podnuma on the machine of this tree."""
    found: dict[str, Json] = {}
    if topology.get("isolated"):
        found[ISOLATED] = {"machine": {"isolated": ""}}
    if any(row["socket"] < 0 for row in topology["cpus"]):
        found[NO_PACKAGE] = {}
    silent = [row["id"] for row in topology["cpus"] if not _told(sys_root, row["id"])]
    if silent or topology.get("unknownSiblings"):
        unknown = dict.fromkeys(map(str, silent))
        found[NO_SIBLINGS] = {"machine": {"unknownSiblings": ""}, "cpus": unknown}
    if not (sys_root / _NODE).exists():
        found[NO_NUMA] = _packages_for_nodes(topology, len(list((sys_root / _CPU).glob("cpu[0-9]*"))))
    eyes = seen(topology, found.values())
    if cores := _by_number(eyes, sys_root):
        found[CORE_NUMBERS] = {"cpus": cores}
    for name, caches in _caches(seen(eyes, [{"cpus": cores}]), sys_root).items():
        found[name] = {"cpus": caches}
    return found


def _told(sys_root: Path, cpu: int) -> bool:
    """Say whether the kubelet knows a CPU: without one of these files cAdvisor leaves it out."""
    folder = sys_root / _CPU / f"cpu{cpu}" / "topology"
    return all((folder / file).exists() for file in ("core_id", "physical_package_id"))


def _packages_for_nodes(topology: Json, folders: int) -> Json:
    """Without NUMA cAdvisor takes packages for nodes, and counts CPUs by their folders: offline ones, too."""
    nodes = {row["id"]: max(row["socket"], 0) for row in topology["cpus"]}
    return {
        "cpus": {str(cpu): {"numa": node} for cpu, node in nodes.items()},
        "machine": {"numaNodes": [{"id": node, "memoryBytes": 0} for node in sorted(set(nodes.values()))]},
        "counted": folders,
    }


def _by_number(eyes: Json, sys_root: Path) -> dict[str, Json]:
    """Return the CPUs whose core is another one by number."""
    lowest: dict[tuple[int, int, str], int] = {}
    changed = {}
    for row in sorted(eyes["cpus"], key=lambda row: int(row["id"])):
        file = sys_root / _CPU / f"cpu{row['id']}" / "topology" / "core_id"
        core = lowest.setdefault((row["numa"], row["socket"], file.read_text().strip()), row["id"])
        if core != row["core"]:
            changed[str(row["id"])] = {"core": core}
    return changed


@dataclass
class _Node:
    """A NUMA node in the order in which cAdvisor goes through it: threads by core, cpu10 before cpu2."""

    cores: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def each(cls, eyes: Json) -> "Iterator[_Node]":
        nodes: Mapping[int, _Node] = defaultdict(cls)
        for row in sorted(eyes["cpus"], key=lambda row: f"cpu{row['id']}"):
            nodes[row["numa"]].cores[row["core"]].append(row["id"])
        yield from nodes.values()


def _caches(eyes: Json, sys_root: Path) -> dict[str, dict[str, Json]]:
    """Return, by the reason, the CPUs that the kubelet puts into another cache.

    cAdvisor reads the caches of the first thread of each core of a node, and gives up at the first core
    without the folder, or with a cache that lacks a file. A cache with as many CPUs as the node would have,
    were all its cores like this one, is the node's. A core without one gets the number of its socket.
    """
    changed: dict[str, dict[str, Json]] = defaultdict(dict)
    rows = {row["id"]: row for row in eyes["cpus"]}
    for node in _Node.each(eyes):
        read = True
        for threads in node.cores.values():
            row = rows[threads[0]]
            found = _numbered(sys_root, threads[0]) if read else None
            read = found is not None
            own = [number for number, size in found or () if size != len(node.cores) * len(threads)]
            number = own[0] if own else row["socket"]
            reason = WIDE_CACHE if found and not own else CACHE_NUMBERS
            for cpu in threads:
                mine = rows[cpu].get("uncore")
                if mine != number:
                    changed[WITHOUT_CACHE if mine is None else reason][str(cpu)] = {"uncore": number}
    return changed


def _numbered(sys_root: Path, cpu: int) -> list[tuple[int, int]] | None:
    """Return number and size of the L3 caches of a CPU; None where cAdvisor gives up."""
    folder = sys_root / _CPU / f"cpu{cpu}" / "cache"
    if not folder.exists():
        return None
    found = []
    for cache in sorted(folder.glob("index*")):
        if not all((cache / file).exists() for file in ("id", "size", "level", "type", "shared_cpu_map")):
            return None
        if int((cache / "level").read_text()) >= _UNCORE_LEVEL:
            words = (cache / "shared_cpu_map").read_text().split(",")
            size = sum(int(word, 16).bit_count() for word in words)
            found.append((int((cache / "id").read_text()), size))
    return found
