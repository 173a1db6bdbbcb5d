"""`make bench-placement`: how long a placement takes, and how many pods each order of nodes places.

Times: a fleet is filled halfway, then pods come and go, and the search for the best node is timed in
processor time of this process, what has to be judged anew included. Shapes of pods repeat, as the replicas of
workloads do.

Placed: one sequence of pods, which asks for the given share of all CPUs, is offered to ten machines of 96
CPUs by three rules. `least requested` is what the default scheduler does about CPUs, in this process: the
node with the most CPUs left is taken, and a pod that is refused there is gone. `best order` is no rule: it is
the most that Compact places when the same pods come in one of many random orders (`orders`). `share` is what
Compact places in the order given, of that.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable

from podnuma.allocator import (
    Admitted,
    ContainerRequest,
    Cpu,
    CpuManagerPolicy,
    CpuSet,
    ManagerSettings,
    NumaNode,
    PodRequest,
    Quantity,
    Topology,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.placement.fleet import Fleet
from podnuma.allocator.placement.packing import Packing
from podnuma.allocator.quantities import NANO
from podnuma.allocator.rules import Rules
from rich.console import Console
from rich.table import Table

from benchmarks.orders import OrderSearch

_CPUS = 96
_MACHINES = 10
_SIZES = (4, 10)  # CPUs of a pod, from and to
_FILLS = (0.8, 0.9, 0.97)

Choose = Callable[["Cluster", PodRequest, int], str | None]


def rules(numa_nodes: int) -> Rules:
    """Return a machine of 96 CPUs under single-numa-node; CPU 0 is reserved."""
    share = _CPUS // numa_nodes
    distances = [tuple(10 if a == b else 21 for b in range(numa_nodes)) for a in range(numa_nodes)]
    topology = Topology.build(
        [Cpu(cpu, cpu, cpu // share, cpu // share, None) for cpu in range(_CPUS)],
        [NumaNode(number, 512 * 2**30 // numa_nodes, {}, distances[number]) for number in range(numa_nodes)],
    )
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        reserved_system_cpus=CpuSet(1),
        topology_manager_policy=TopologyManagerPolicy.SINGLE_NUMA_NODE,
        topology_manager_scope=TopologyManagerScope.POD,
    )
    return Rules(settings, topology)


def budget(cpus: int, uid: str) -> PodRequest:
    """Return a pod that is a budget of CPUs."""
    amounts = {"cpu": Quantity(cpus * NANO), "memory": Quantity(2**30 * NANO)}
    return PodRequest(uid, "bench", uid, (ContainerRequest("main"),), amounts, amounts)


class Cluster:
    """Machines that are filled."""

    def __init__(self, shared: Rules, count: int, seed: int = 0) -> None:
        self.nodes = {f"node-{number:05}": NodeAllocator(shared) for number in range(count)}
        self.rng = random.Random(seed)
        self.fleet = Fleet()
        for name, node in self.nodes.items():
            self.fleet.update(name, node)

    def bind(self, pod: PodRequest, name: str) -> bool:
        """Decide a pod on a node; say whether it is admitted."""
        answer = self.nodes[name].decide(pod)
        if not isinstance(answer, Admitted):
            return False
        self.nodes[name].hold(answer)
        self.fleet.update(name, self.nodes[name])
        return True

    def left(self, name: str) -> int:
        """Return the CPUs that are neither reserved nor held."""
        node = self.nodes[name]
        return node.free_cpus.bit_count()


def packed(packing: Packing) -> Choose:
    """Return the rule that takes the best node."""

    def choose(cluster: Cluster, pod: PodRequest, _cpus: int) -> str | None:
        best = cluster.fleet.best(pod, packing)
        return best.candidate.node if best else None

    return choose


def least_requested(cluster: Cluster, _pod: PodRequest, cpus: int) -> str | None:
    """Take a node with the most CPUs left, whatever its NUMA nodes are like."""
    left = {name: cluster.left(name) for name in cluster.nodes}
    most = max(left.values())
    return cluster.rng.choice([name for name, one in left.items() if one == most]) if most >= cpus else None


def placed(shared: Rules, sizes: list[int], choose: Choose, seed: int = 0, machines: int = _MACHINES) -> int:
    """Return how many pods of these sizes, in this order, are admitted."""
    cluster = Cluster(shared, machines, seed)
    found = 0
    for number, cpus in enumerate(sizes):
        pod = budget(cpus, f"pod-{number}")
        name = choose(cluster, pod, cpus)
        found += name is not None and cluster.bind(pod, name)
    return found


def sequence(seed: int, fill: float, machines: int = _MACHINES, sizes: tuple[int, int] = _SIZES) -> list[int]:
    """Return sizes of pods that together ask for a share of all CPUs."""
    rng, left, found = random.Random(seed), int(machines * (_CPUS - 1) * fill), []
    while (size := rng.randint(*sizes)) <= left:
        found.append(size)
        left -= size
    return found


def times(count: int, placements: int) -> list[float]:
    """Return the milliseconds of each placement in a fleet of this many nodes, half full and changing."""
    cluster = Cluster(rules(8), count)
    rng = random.Random(count)
    bound: list[tuple[str, str]] = []
    names = list(cluster.nodes)
    for number in range(count * 6):
        name = rng.choice(names)
        if cluster.bind(budget(rng.randint(*_SIZES), f"first-{number}"), name):
            bound.append((name, f"first-{number}"))
    for size in range(_SIZES[0], _SIZES[1] + 1):
        cluster.fleet.best(budget(size, "new"), Packing.COMPACT)  # a shape's first search judges all states
    took = []
    for number in range(placements):
        for _ in range(3):
            name, uid = bound.pop(rng.randrange(len(bound)))
            cluster.nodes[name].release(uid)
            cluster.fleet.update(name, cluster.nodes[name])
        pod = budget(rng.randint(*_SIZES), f"later-{number}")
        start = time.process_time()
        best = cluster.fleet.best(pod, Packing.COMPACT)
        took.append((time.process_time() - start) * 1000)
        if best is not None and cluster.bind(pod, best.candidate.node):
            bound.append((best.candidate.node, pod.uid))
    return took


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-placement", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="sequences of pods for each row")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first sequence")
    parser.add_argument("--orders", type=int, default=1000, help="random orders of each sequence")
    parser.add_argument("--numa", type=int, nargs="*", default=[2, 4, 8], help="NUMA nodes of a machine")
    parser.add_argument("--fill", type=float, nargs="*", default=[*_FILLS], help="share of all CPUs")
    parser.add_argument("--sizes", type=int, nargs=2, default=[*_SIZES], help="CPUs of a pod, from and to")
    parser.add_argument(
        "--placements", type=int, default=500, help="placements that are timed, per fleet; 0: none"
    )
    chosen = parser.parse_args(arguments)
    console = Console(width=max(110, Console().width))
    if chosen.placements:
        _print_times(console, chosen.placements)
    table = Table(title=f"pods placed of those offered to {_MACHINES} machines of {_CPUS} CPUs")
    for heading in (
        "NUMA nodes",
        "asked for",
        "offered",
        "least requested",
        "Spread",
        "Compact",
        "best order",
        "share",
    ):
        table.add_column(heading, justify="right")
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    for numa_nodes in chosen.numa:
        shared = rules(numa_nodes)
        for fill in chosen.fill:
            offered = [(seed, sequence(seed, fill, sizes=tuple(chosen.sizes))) for seed in seeds]
            table.add_row(f"{numa_nodes}", f"{fill:.0%}", *_row(shared, offered, chosen.orders))
    console.print(table)
    return 0


def _print_times(console: Console, placements: int) -> None:
    table = Table(title="one placement, milliseconds of processor time")
    for heading in ("nodes", "median", "99 %", "worst"):
        table.add_column(heading, justify="right")
    for count in (1_000, 5_000):
        took = sorted(times(count, placements))
        shown = statistics.median(took), took[int(len(took) * 0.99)], took[-1]
        table.add_row(f"{count:,}", *(f"{one:.2f}" for one in shown))
    console.print(table)


def _row(shared: Rules, sequences: list[tuple[int, list[int]]], orders: int) -> list[str]:
    choices = (least_requested, packed(Packing.SPREAD), packed(Packing.COMPACT))
    totals, best = [0] * len(choices), 0
    search = OrderSearch(shared, _MACHINES, budget)
    for seed, sizes in sequences:
        found = [placed(shared, sizes, choose, seed) for choose in choices]
        totals = [total + one for total, one in zip(totals, found, strict=True)]
        best += search.most(sizes, orders, seed)
    offered = sum(len(sizes) for _, sizes in sequences)
    return [*(f"{one:,}" for one in (offered, *totals, best)), f"{totals[-1] / best:.1%}"]


if __name__ == "__main__":
    sys.exit(main())
