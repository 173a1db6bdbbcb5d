"""Discovery compared with the kubelet's eyes: cAdvisor and the kubelet's own topology code on the same trees.

    python -m tests.conformance.discovery ORACLE [COUNT]            compare afresh, COUNT generated machines
    python -m tests.conformance.discovery ORACLE [COUNT] --record   and write the answers

ORACLE is built from oracle/discovery; it confines itself to a tree, so it runs as root. Always compared: the
machines of tests/machines, those of public reports, and generated odd ones. Sockets, NUMA nodes, memory
and distances must be equal. Cores and caches must be equal once cAdvisor's ways with them are put in, see
`cores_of_cadvisor`, `caches_of_cadvisor` and docs/deviations.md: identity by members here, by number there.
"""

import json
import lzma
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from podnuma.agent.discover.machine import Machine, discover
from podnuma.allocator import Cpu, cpuset

from testbed import machines
from tests.unit.agent.discover.test_reported_machines import MACHINES, Reported

ANSWERS = Path(__file__).parent / "recorded" / "discovery.json.xz"
RECORDED = 300
Answer = dict[str, Any]


def trees(count: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Name every machine, with the function that writes its /sys, and /proc inside of it."""
    for name in machines.names():
        record = machines.load(name)
        yield name, lambda root, record=record: machines.write_sysfs(record, root)  # type: ignore[misc]
    for name, (reported, _) in MACHINES.items():
        yield name, reported.discovered
    for seed in range(count):
        yield f"generated {seed}", generated(seed).discovered


def generated(seed: int) -> Reported:
    """Return an odd machine: sparse numbers, unequal cores, offline CPUs, caches of any shape."""
    rng = random.Random(seed)
    sockets = rng.choice((1, 1, 2, 2, 4))
    per_socket = rng.choice((1, 1, 2, 4))
    cores_per_node = rng.randint(1, 6)
    nodes = sockets * per_socket
    total = nodes * cores_per_node
    threads = rng.choice((1, 2, 2, 4))
    hybrid = rng.random() < 0.2
    near = rng.random() < 0.5
    cores = [
        [
            core * threads + t if near else core + t * total
            for t in range(1 if hybrid and core % 3 == 0 else threads)
        ]
        for core in range(total)
    ]
    offline = [cpu for core in cores for cpu in core if cpu and rng.random() < rng.choice((0, 0, 0.1))]
    cores = [[cpu for cpu in core if cpu not in offline] for core in cores]
    node_of = [core // cores_per_node for core in range(total)]
    socket_ids = rng.sample(range(40), sockets) if rng.random() < 0.3 else range(sockets)
    node_ids = sorted(rng.sample(range(60), nodes)) if rng.random() < 0.3 else list(range(nodes))
    one_node = rng.random() < 0.2

    def members(group: Callable[[int], int], number: int) -> str:
        here = (core for place, core in enumerate(cores) if group(place) == number)
        return cpuset.render(cpuset.of(cpu for core in here for cpu in core))

    width = rng.choice((0, 1, 2, 3, cores_per_node, cores_per_node * per_socket, total))
    shapes = []
    if width:
        shapes = [members(lambda place: place // width, g) for g in range(-(-total // width))]
        if rng.random() < 0.2:
            shapes = shapes[:-1]
    shapes = [shape for shape in shapes if shape]
    style = rng.choice(("rising", "sparse", "large", "one", "none"))
    numbers: list[int | None] = [
        {"rising": g, "sparse": 7 * g + 3, "large": 2**31 + g, "one": 5, "none": None}[style]
        for g in range(len(shapes))
    ]
    by_socket = {n: members(lambda place: node_of[place] // per_socket, s) for s, n in enumerate(socket_ids)}
    by_node = {n: members(lambda place: node_of[place], place) for place, n in enumerate(node_ids)}
    if one_node:
        by_node = {0: members(lambda _: 0, 0)}
    elif rng.random() < 0.2:
        by_node[max(by_node) + 3] = ""
    return Reported(
        cores=[cpuset.render(cpuset.of(core)) for core in cores if core],
        sockets={number: cpus for number, cpus in by_socket.items() if cpus},
        caches=list(zip(shapes, numbers, strict=True)),
        nodes=by_node,
        offline=cpuset.render(cpuset.of(offline)),
    )


def caches_of_cadvisor(machine: Machine, sys_root: Path) -> dict[int, int]:
    """Return the cache number of each CPU as the kubelet has it.

    cAdvisor goes through the cores of a NUMA node, in the order of the names of their folders, and gives up
    at the first without cache folder or without a number of the cache. It leaves out a cache that has as many
    CPUs as the node has cores times the threads of this core. Where a core has none the kubelet takes the
    number of its socket.
    """
    topology = machine.topology
    sizes = {number: mask.bit_count() for number, mask in topology.caches}
    found = {cpu.id: cpu.socket for cpu in topology.cpus}
    cores: dict[int, dict[int, list[Cpu]]] = {}
    for cpu in sorted(topology.cpus, key=lambda one: f"cpu{one.id}"):
        cores.setdefault(_node(cpu, sys_root), {}).setdefault(cpu.core, []).append(cpu)
    for of_node in cores.values():
        for threads in of_node.values():
            cache = threads[0].uncore
            file = sys_root / f"devices/system/cpu/cpu{threads[0].id}/cache/index3/id"
            if cache is None and not file.parent.parent.exists():
                break
            if cache is not None and not file.exists():
                break
            if cache is not None and sizes[cache] != len(of_node) * len(threads):
                found |= dict.fromkeys((cpu.id for cpu in threads), int(file.read_text()))
    return found


def cores_of_cadvisor(machine: Machine, sys_root: Path) -> dict[int, int]:
    """Return the core of each CPU as the kubelet has it: cAdvisor goes by numbers, also by -1."""
    lowest: dict[tuple[int, int, str], int] = {}
    found = {}
    for cpu in machine.topology.cpus:
        number = (sys_root / f"devices/system/cpu/cpu{cpu.id}/topology/core_id").read_text().strip()
        found[cpu.id] = lowest.setdefault((_node(cpu, sys_root), cpu.socket, number), cpu.id)
    return found


def _node(cpu: Cpu, sys_root: Path) -> int:
    """Return the node as the kubelet has it: without NUMA, cAdvisor takes packages for nodes."""
    return cpu.node if (sys_root / "devices/system/node").exists() else cpu.socket


def ours(machine: Machine, sys_root: Path) -> Answer:
    """Return what podnuma makes of a tree, in the oracle's form, with cAdvisor's ways put in."""
    caches, cores = caches_of_cadvisor(machine, sys_root), cores_of_cadvisor(machine, sys_root)
    topology = machine.topology
    numa = (sys_root / "devices/system/node").exists()
    return {
        "cpus": [
            [cpu.id, cores[cpu.id], cpu.socket, _node(cpu, sys_root), caches[cpu.id]] for cpu in topology.cpus
        ],
        "nodes": {str(node.id): [node.memory, sorted(node.distances)] for node in topology.nodes if numa},
    }


def theirs(oracle: Path, tree: Path) -> Answer:
    """Ask the kubelet's code."""
    done = subprocess.run([oracle, tree], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    if said.get("error"):
        return {"error": said["error"]}
    return {
        "cpus": [[cpu[key] for key in ("id", "core", "socket", "node", "uncore")] for cpu in said["cpus"]],
        "nodes": {
            str(node["id"]): [node["memory"], sorted(node["distances"] or ())] for node in said["nodes"]
        },
    }


def write(tree: Path, writer: Callable[[Path], object]) -> Answer:
    """Write a tree and return what podnuma makes of it."""
    sys_root = tree / "sys"
    writer(sys_root)
    found = discover(sys_root, sys_root / "proc")
    if (sys_root / "proc").exists():
        (sys_root / "proc").rename(tree / "proc")
    assert found.machine is not None
    return ours(found.machine, sys_root)


def differences(mine: Answer, other: Answer) -> list[str]:
    """Return what differs, one sentence each."""
    if "error" in other:
        return [other["error"]]
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
    oracle, *count = [word for word in arguments if word != "--record"]
    answers, failed = {}, 0
    for name, writer in trees(int(count[0]) if count else RECORDED):
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder)
            mine = write(tree, writer)
            answers[name] = theirs(Path(oracle).resolve(), tree)
        for difference in differences(mine, answers[name]):
            failed += 1
            print(f"{name}: {difference}"[:400])  # noqa: T201
    print(f"{len(answers)} machines, {failed} differences")  # noqa: T201
    if record:
        ANSWERS.write_bytes(lzma.compress(json.dumps(answers, separators=(",", ":")).encode(), preset=9))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
