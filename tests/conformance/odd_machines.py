"""Odd machines, each from a number: what a kernel can show of hardware that nobody would build.

Numbers with gaps, unequal cores, offline and isolated CPUs, caches of any shape and numbering, several
packages in a NUMA node and several nodes in a package, nodes with memory only or without any, huge pages on
some nodes, lists that name CPUs which are not there, files that are missing.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from podnuma.allocator import cpuset

from tests.unit.agent.discover.test_reported_machines import Reported, ids

_TOPOLOGY = "devices/system/cpu/cpu{}/topology"
_GIB = 2**20  # in KiB
_PAGES = {2048: 512, 2**20: 3}  # by size in KiB: the most of it per node


def odd_machine(seed: int) -> Reported:
    """Return the machine of this number."""
    draft = _Draft(random.Random(seed))
    machine = draft.machine()
    _number_cores(draft, machine)
    _furnish(draft, machine)
    _spoil(draft.rng, machine)
    return machine


@dataclass
class _Draft:
    """Cores in their order, each with its online threads; nodes and sockets are runs of cores."""

    rng: random.Random
    sockets: int = 0
    per_socket: int = 0
    cores_per_node: int = 0
    cores: list[list[int]] = field(default_factory=list)

    def machine(self) -> Reported:
        rng = self.rng
        self.sockets = rng.choice((1, 1, 2, 2, 4))
        self.per_socket = rng.choice((1, 1, 2, 4))
        self.cores_per_node = rng.randint(1, 6)
        nodes = self.sockets * self.per_socket
        total = nodes * self.cores_per_node
        offline = self._number_cpus(total)
        socket_ids = rng.sample(range(40), self.sockets) if rng.random() < 0.3 else range(self.sockets)
        node_ids = sorted(rng.sample(range(60), nodes)) if rng.random() < 0.3 else range(nodes)
        one_node = rng.random() < 0.2
        caches = self._caches(total)
        per_package = self.cores_per_node * self.per_socket
        by_socket = {
            n: self._members(lambda place: place // per_package, s) for s, n in enumerate(socket_ids)
        }
        by_node = {
            n: self._members(lambda place: place // self.cores_per_node, place)
            for place, n in enumerate(node_ids)
        }
        if one_node:
            by_node = {0: self._members(lambda _: 0, 0)}
        elif rng.random() < 0.2:
            by_node[max(by_node) + 3] = ""
        if rng.random() < 0.05:
            by_node = {}
        return Reported(
            cores=[cpuset.render(cpuset.of(core)) for core in self.cores if core],
            sockets={number: cpus for number, cpus in by_socket.items() if cpus},
            caches=caches,
            nodes=by_node,
            offline=offline,
        )

    def _number_cpus(self, total: int) -> str:
        """Make the cores, and return who is offline."""
        rng = self.rng
        threads = rng.choice((1, 2, 2, 4))
        hybrid = rng.random() < 0.2
        near = rng.random() < 0.5
        whole = [
            [
                core * threads + t if near else core + t * total
                for t in range(1 if hybrid and core % 3 == 0 else threads)
            ]
            for core in range(total)
        ]
        off = {cpu for core in whole for cpu in core if cpu and rng.random() < rng.choice((0, 0, 0.1))}
        self.cores = [[cpu for cpu in core if cpu not in off] for core in whole]
        return cpuset.render(cpuset.of(off))

    def _members(self, group: Callable[[int], int], number: int) -> str:
        here = (core for place, core in enumerate(self.cores) if group(place) == number)
        return cpuset.render(cpuset.of(cpu for core in here for cpu in core))

    def _caches(self, total: int) -> list[tuple[str, int | None]]:
        rng = self.rng
        per_package = self.cores_per_node * self.per_socket
        width = rng.choice((0, 1, 2, 3, self.cores_per_node, per_package, total))
        shapes = (
            [self._members(lambda place: place // width, g) for g in range(-(-total // width))]
            if width
            else []
        )
        if rng.random() < 0.2:
            shapes = shapes[:-1]
        shapes = [shape for shape in shapes if shape]
        style = rng.choice(("rising", "sparse", "large", "one", "none"))
        numbers: list[int | None] = [
            {"rising": g, "sparse": 7 * g + 3, "large": 2**31 + g, "one": 5, "none": None}[style]
            for g in range(len(shapes))
        ]
        return list(zip(shapes, numbers, strict=True))


def _number_cores(draft: _Draft, machine: Reported) -> None:
    """Number cores as kernels do: by the machine, the package or the node, or not at all."""
    per_package = draft.cores_per_node * draft.per_socket
    places = [place for place, core in enumerate(draft.cores) if core]
    style = draft.rng.choice(("lowest", "lowest", "package", "package", "node", "twice", "none"))
    if style != "lowest":
        machine.core_ids = [
            {
                "package": 4 * (place % per_package),
                "node": place % draft.cores_per_node,
                "twice": place // 2,
                "none": -1,
            }[style]
            for place in places
        ]


def _furnish(draft: _Draft, machine: Reported) -> None:
    """Give the nodes memory, huge pages and distances, and isolate cores."""
    rng, nodes = draft.rng, list(machine.nodes)
    if rng.random() < 0.5:
        machine.memory = {node: rng.choice((0, 2, 4, 4, 16, 64)) * _GIB for node in nodes}
    elif rng.random() < 0.3:
        machine.memory = {node: 4 * _GIB + rng.randrange(_GIB) for node in nodes}
    if rng.random() < 0.35:
        for size in rng.choice(((2048,), (2**20,), tuple(_PAGES))):
            for node in nodes:
                room = machine.memory.get(node, 8 * _GIB) // 4 // size
                count = rng.randint(0, min(room, _PAGES[size]))
                machine.pages.setdefault(node, {})[size] = count
    if rng.random() < 0.5:
        machine.distances = [[10] * len(nodes) for _ in nodes]
        for one in range(len(nodes)):
            for other in range(one):
                near = one // draft.per_socket == other // draft.per_socket
                distance = (12 if near else 21) + rng.choice((0, 0, 0, 3))
                machine.distances[one][other] = machine.distances[other][one] = distance
    if rng.random() < 0.15:
        machine.isolated = ",".join(rng.sample(machine.cores, len(machine.cores) // 3)) or ""


def _spoil(rng: random.Random, machine: Reported) -> None:
    """Let lists name CPUs that are not there, and files be missing."""
    highest = max(cpu for core in machine.cores for cpu in ids(core))
    if machine.nodes and rng.random() < 0.15:
        machine.untrue = {rng.choice(list(machine.nodes)): f"{machine.offline},{highest + 3}".strip(",")}
    if rng.random() >= 0.15:
        return
    kind = rng.choice(("one list", "lists of a core", "a whole folder", "all lists", "no package"))
    core = ids(rng.choice(machine.cores))
    lists = "thread_siblings_list"
    if kind == "one list":
        machine.removed = [f"{_TOPOLOGY.format(core[-1])}/{lists}"]
    elif kind == "lists of a core":
        machine.removed = [f"{_TOPOLOGY.format(cpu)}/{lists}" for cpu in core]
    elif kind == "a whole folder":
        files = (lists, "core_id", "physical_package_id")
        machine.removed = [f"{_TOPOLOGY.format(core[-1])}/{file}" for file in files]
    elif kind == "all lists":
        machine.removed = [f"{_TOPOLOGY.format(cpu)}/{lists}" for core in machine.cores for cpu in ids(core)]
    else:
        every = cpuset.render(machine.online)
        machine.sockets = {-1: every}
