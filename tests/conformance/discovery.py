"""Discovery compared with the kubelet's eyes: cAdvisor and the kubelet's own topology code on the same trees.

    python -m tests.conformance.discovery [COUNT] [FIRST]    compare afresh, COUNT generated machines
    python -m tests.conformance.discovery [COUNT] --record   and write the answers

The kubelet's code confines itself to a tree, so it runs as root. Compared are the machines of tests/machines,
those of public reports, and generated odd ones; with FIRST only generated ones, from that number on. Sockets,
NUMA nodes, memory, huge pages and distances must be equal. Cores and caches must be equal once cAdvisor's
ways with them are put in, see `cadvisor` and docs/deviations.md: identity by members here, by number there.
"""

import json
import lzma
import sys
import tempfile
from pathlib import Path
from typing import Any

from podnuma.agent.discover.machine import Machine, discover

from testbed import machines
from tests.conformance import cadvisor, kubelet
from tests.conformance.odd_machines import odd_machine
from tests.unit.agent.discover.test_reported_machines import MACHINES

ANSWERS = Path(__file__).parent / "recorded" / "discovery.json.xz"
RECORDED = 300
_GENERATED = "generated "
Answer = dict[str, Any]


def names(count: int, first: int | None = None) -> list[str]:
    """Return the names of all trees, with `count` generated ones; with `first` those alone from there on."""
    begin = first or 0
    generated = [f"{_GENERATED}{number}" for number in range(begin, begin + count)]
    return generated if first is not None else [*machines.names(), *MACHINES, *generated]


def read(name: str, tree: Path) -> Machine:
    """Write the tree of that name, which stands for /, and return what podnuma makes of it."""
    sys_root = tree / "sys"
    if name.startswith(_GENERATED):
        odd_machine(int(name.removeprefix(_GENERATED))).discovered(sys_root)
    elif name in MACHINES:
        MACHINES[name][0].discovered(sys_root)
    else:
        machines.write_sysfs(machines.load(name), sys_root)
    found = discover(sys_root, sys_root / "proc")
    if (sys_root / "proc").exists():
        (sys_root / "proc").rename(tree / "proc")
    assert found.machine is not None
    return found.machine


def ours(machine: Machine, sys_root: Path) -> Answer:
    """Return what podnuma makes of a tree, in the oracle's form, with cAdvisor's ways put in."""
    own = cadvisor.described(machine.topology)
    ways = cadvisor.ways(own, sys_root)
    eyes = cadvisor.seen(own, ways.values())
    place = "socket" if cadvisor.NO_NUMA in ways else "numa"
    return {
        "cpus": [
            [row["id"], row["core"], row["socket"], row[place], row.get("uncore", row["socket"])]
            for row in eyes["cpus"]
        ],
        "nodes": {
            str(node["id"]): [node["memoryBytes"], node["distances"], node["hugepages"]]
            for node in eyes["numaNodes"]
            if cadvisor.NO_NUMA not in ways
        },
    }


def theirs(tree: Path) -> Answer:
    """Ask the kubelet's code."""
    said = kubelet.machine_of(tree)
    if said.get("error"):
        return {"error": said["error"]}
    return {
        "cpus": [[cpu[key] for key in ("id", "core", "socket", "node", "uncore")] for cpu in said["cpus"]],
        "nodes": {
            str(node["id"]): [node["memory"], node["distances"] or [], _pages(node)] for node in said["nodes"]
        },
    }


def _pages(node: Answer) -> dict[str, int]:
    """Return bytes by size, as Kubernetes spells sizes."""
    spelled = {2**10: "Mi", 2**20: "Gi"}
    found = {}
    for size, count in (node.get("hugePages") or {}).items():
        unit = max(unit for unit in spelled if int(size) % unit == 0)
        found[f"{int(size) // unit}{spelled[unit]}"] = int(size) * count * 2**10
    return found


def differences(mine: Answer, other: Answer) -> list[str]:
    """Return what differs, one sentence each."""
    if "error" in other:
        return [other["error"]] if mine["cpus"] else []
    found = []
    if mine["cpus"] != other["cpus"]:
        pairs = zip(mine["cpus"], other["cpus"], strict=False)
        found.append(
            next((f"{one} is {two} to the kubelet" for one, two in pairs if one != two), "other CPUs")
        )
    if mine["nodes"] and mine["nodes"] != other["nodes"]:
        found.append(f"nodes {mine['nodes']} are {other['nodes']} to the kubelet")
    return found


def main(arguments: list[str]) -> int:
    """Compare afresh; 1 if anything differs."""
    record = "--record" in arguments
    numbers = [int(word) for word in arguments if word != "--record"]
    answers, failed = {}, 0
    for name in names(*numbers) if numbers else names(RECORDED):
        with tempfile.TemporaryDirectory(dir=kubelet.scratch_root()) as folder:
            tree = Path(folder)
            mine = ours(read(name, tree), tree / "sys")
            answers[name] = theirs(tree)
        for difference in differences(mine, answers[name]):
            failed += 1
            print(f"{name}: {difference}"[:400])  # noqa: T201
    print(f"{len(answers)} machines, {failed} differences")  # noqa: T201
    if record:
        ANSWERS.write_bytes(lzma.compress(json.dumps(answers, separators=(",", ":")).encode(), preset=9))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
