"""Machines, settings and pods of the worked examples, made from a few numbers.

Machines carry the names of the specification's section 11.1. `g` is a guaranteed-like
container, `s` one without resources; amounts are Kubernetes quantities.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations

from hypothesis import settings as settings_of_hypothesis
from podnuma.allocator import cpuset, nodeset, quantities
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import ContainerKind, ContainerRequest, PodRequest
from podnuma.allocator.topology import Cpu, NumaNode, Topology

MI, GI = 2**20, 2**30
INIT, SIDECAR, APP = ContainerKind.INIT, ContainerKind.SIDECAR, ContainerKind.APP


def unhurried(examples: int = 100) -> settings_of_hypothesis:
    """Return hypothesis settings without a time limit per example: a busy machine is no failure."""
    return settings_of_hypothesis(max_examples=examples, deadline=None)


Core = tuple[tuple[int, ...], int, int, int | None]
"""(threads, socket, NUMA node, uncore cache) of one core."""


def from_cores(cores: Iterable[Core], nodes: Iterable[NumaNode] | None = None) -> Topology:
    cores = list(cores)
    ids = sorted({node for _, _, node, _ in cores})
    if nodes is None:
        nodes = [
            NumaNode(node, 9 * GI, distances=tuple(10 if node == other else 20 for other in ids))
            for node in ids
        ]
    cpus = [
        Cpu(cpu, number, socket, node, uncore)
        for number, (threads, socket, node, uncore) in enumerate(cores)
        for cpu in threads
    ]
    return Topology.build(cpus, nodes)


def hybrid(name: str, performance: str) -> Topology:
    """Return a machine whose CPUs are of two kinds."""
    topology, fast = machine(name), cpuset.parse(performance)
    slow = CpuSet(topology.all_cpus & ~fast)
    return replace(topology, kinds=(("performance", fast), ("efficient", slow)))


def _cores(name: str) -> list[Core]:
    pairs = {
        "SS8": lambda k: ((k, k + 4), 0, 0, None),
        "MN80": lambda k: ((k, k + 40), k // 20, k // 10, None),
        "FK80": lambda k: ((k, k + 40), k // 10, k // 20, None),
        "L256": lambda k: ((k, k + 128), k // 64, k // 16, None),
        "U16D": lambda k: ((k, k + 8), 0, 0, k // 4),
        "U128": lambda k: ((k, k + 64), 0, 0, k // 4),
        "U256": lambda k: ((k, k + 128), 0, 0, k // 8),
        "U384": lambda k: ((k, k + 192), k // 96, k // 96, k // 8),
        "M240": lambda k: ((k, k + 120), k // 60, k // 30, None),
        "MT80": lambda k: ((k, k + 40), k % 2, k % 4, None),
        "DN8": lambda k: ((k,), k // 4, k // 4, None),
        "U16A": lambda k: ((k,), 0, 0, k // 4),
        "U16B": lambda k: ((k,), k // 8, 0, k // 4),
        "U16C": lambda k: ((k,), 0, k // 8, k // 4),
        "U32": lambda k: ((k,), 0, 0, k // 8),
        "U64": lambda k: ((k,), k // 32, k // 32, k // 8),
        "D16": lambda k: ((k, k + 8), k // 4, k // 4, None),
        "D64": lambda k: ((k, k + 32), k // 16, k // 16, None),
    }
    counts = {"SS8": 4, "MN80": 40, "FK80": 40, "L256": 128, "U16D": 8, "U128": 64, "U256": 128, "U384": 192}
    counts |= {"M240": 120, "MT80": 40, "DN8": 8, "U16A": 16, "U16B": 16, "U16C": 16, "U32": 32, "U64": 64}
    counts |= {"D16": 8, "D64": 32}
    if name == "DS12":
        return [((2 * k + n, 2 * k + n + 6), n, n, 0) for n in (0, 1) for k in range(3)]
    if name == "H12":
        return [((3 * n + k, 3 * n + k + 6), n, n, None) for n in (0, 1) for k in range(3)]
    if name == "TS18":
        return [
            ((first + 2 * k, first + 2 * k + 1), socket, node, None)
            for socket, (node, first) in enumerate(((1, 0), (0, 6), (2, 12)))
            for k in range(3)
        ]
    return [pairs[name](k) for k in range(counts[name])]


@cache
def machine(name: str, memory: int = 9 * GI) -> Topology:
    """Return a machine of section 11.1; every NUMA node has `memory` bytes."""
    cores = _cores(name)
    ids = sorted({node for _, _, node, _ in cores})
    return from_cores(
        cores,
        [
            NumaNode(node, memory, distances=tuple(10 if node == other else 21 for other in ids))
            for node in ids
        ],
    )


def settings(
    policy: str = "single-numa-node",
    scope: str = "pod",
    *,
    reserved: str = "0",
    options: str = "",
    reserved_memory: Iterable[tuple[int, int]] | None = None,
    cpu: str = "static",
    memory: str = "Static",
    topology_options: dict[str, str] | None = None,
    nodes: int = 2,
) -> ManagerSettings:
    """Return settings; `options` are names of CPU options that are on, 1Gi is reserved per NUMA node."""
    if reserved_memory is None:
        reserved_memory = [(node, GI) for node in range(nodes)]
    return ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy(cpu),
        cpu_manager_policy_options=dict.fromkeys(options.split(), "true"),
        reserved_system_cpus=cpuset.parse(reserved),
        memory_manager_policy=MemoryManagerPolicy(memory),
        reserved_memory=tuple(ReservedMemory(node, {"memory": size}) for node, size in reserved_memory),
        topology_manager_policy=TopologyManagerPolicy(policy),
        topology_manager_scope=TopologyManagerScope(scope),
        topology_manager_policy_options=topology_options or {},
    )


NO_PAGES: Mapping[str, str] = {}


def amounts(
    cpu: str | None, memory: str | None = "1Gi", pages: Mapping[str, str] = NO_PAGES
) -> dict[str, quantities.Quantity]:
    """Return amounts by resource; `pages` are hugepages by size ("2Mi")."""
    given = {"cpu": cpu, "memory": memory} | {f"hugepages-{size}": text for size, text in pages.items()}
    return {name: quantities.parse(text) for name, text in given.items() if text is not None}


def g(
    cpu: str | int,
    memory: str = "1Gi",
    kind: ContainerKind = APP,
    name: str = "",
    pages: Mapping[str, str] = NO_PAGES,
) -> ContainerRequest:
    """Return a guaranteed-like container."""
    sizes = amounts(str(cpu), memory, pages)
    return ContainerRequest(name, kind, sizes, sizes)


def s(kind: ContainerKind = APP, name: str = "") -> ContainerRequest:
    """Return a container without resources."""
    return ContainerRequest(name, kind)


def pod(
    budget: tuple[str | int, str] | None,
    *containers: ContainerRequest,
    uid: str = "u1",
    pages: Mapping[str, str] = NO_PAGES,
) -> PodRequest:
    """Return a pod; a budget makes it Guaranteed. Containers without a name are c0, c1, ..."""
    named = tuple(
        container
        if container.name
        else ContainerRequest(f"c{place}", container.kind, container.requests, container.limits)
        for place, container in enumerate(containers)
    )
    sizes = amounts(str(budget[0]), budget[1], pages) if budget else None
    return PodRequest(uid, "lab", uid, named, sizes, sizes)


def cpus(text: str) -> CpuSet:
    return cpuset.parse(text)


def nodes(text: str) -> NodeSet:
    return nodeset.parse(text)


def admitted(node: NodeAllocator, wanted: PodRequest) -> Admitted:
    """Decide, demand that the pod is admitted, and hold it."""
    decision = node.decide(wanted)
    assert isinstance(decision, Admitted), decision
    node.hold(decision)
    return decision


def refused(node: NodeAllocator, wanted: PodRequest) -> Rejected:
    """Decide and demand that the pod is refused."""
    decision = node.decide(wanted)
    assert isinstance(decision, Rejected), decision
    return decision


def sets(decision: Admitted) -> str:
    """Return the containers' CPU lists, "DEF" for the node shared pool, as "2,8 / 4,10 / DEF"."""
    return " / ".join(
        "DEF" if container.cpus is None else cpuset.render(container.cpus)
        for container in decision.grant.containers
    )


def memory(decision: Admitted) -> str:
    """Return the containers' node sets and sizes in Mi, as "0 1024 / -"."""
    found = []
    for container in decision.grant.containers:
        sizes = "+".join(str(block.size // MI) for block in container.memory)
        found.append(f"{nodeset.render(container.memory_nodes)} {sizes}" if container.memory_nodes else "-")
    return " / ".join(found)


def node_sets(ids: Iterable[int]) -> Iterator[NodeSet]:
    """Yield every non-empty set over the given ids: singles, pairs, ..., lexicographic within a size."""
    bits = [1 << node for node in sorted(ids)]
    for size in range(1, len(bits) + 1):
        for chosen in combinations(bits, size):
            yield NodeSet(sum(chosen))
