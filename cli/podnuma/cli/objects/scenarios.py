"""One scenario of `podnuma replay`: a machine, the settings of its node, and what happens on it.

The format is the one `tests/conformance/oracle/README.md` describes, so that the same line can
be given to the kubelet's own code. A topology is compact (counts and a numbering rule) or lists
every CPU; settings have the field names of KubeletConfiguration; steps stay JSON and are read
when they are played, because a wrong step must not stop the steps before it.

A scenario is read completely or refused with a ScenarioError that names field and value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import cpuset, quantities
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    KubeletRelease,
    ManagerSettings,
    MemoryManagerPolicy,
    MemoryOnlyNodePolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.memory.others import PagesInUse
from podnuma.allocator.quantities import Quantity
from podnuma.allocator.topology import Cpu, NumaNode, Topology, TopologyError

ScenarioJson = Mapping[str, Any]

# More than any machine has; a larger compact topology is a mistake and would only use memory.
_MOST_CPUS = 65536

_LOCAL, _REMOTE = 10, 20

# Always on in podnuma; a scenario may switch them off to behave as a kubelet without them.
_POD_LEVEL_GATES = ("PodLevelResources", "PodLevelResourceManagers")
_OPTION_GATES: Mapping[str, tuple[str, ...]] = {
    "CPUManagerPolicyAlphaOptions": ("align-by-socket", "distribute-cpus-across-cores"),
    "CPUManagerPolicyBetaOptions": ("distribute-cpus-across-numa",),
    "TopologyManagerPolicyAlphaOptions": (),
    "TopologyManagerPolicyBetaOptions": (),
}


class ScenarioError(ValueError):
    """The scenario is invalid; the text names field, value and what would be right."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as read. `steps` are still JSON; `api_defaults` says whether pods need defaults.

    `pages_in_use` are huge pages that others have in use, which a kubelet does not look at.
    """

    name: str
    topology: Topology
    pages_in_use: tuple[PagesInUse, ...]
    kubelet: ScenarioJson
    api_defaults: bool
    steps: tuple[ScenarioJson, ...]


def read_scenario(value: Any) -> Scenario:
    """Read one scenario. Raises ScenarioError; the kubelet section is read by `read_settings`."""
    scenario = expect_object(value, "scenario")
    steps = _objects(scenario.get("steps") or [], "steps")
    topology = expect_object(scenario.get("topology"), "topology")
    return Scenario(
        name=_text(scenario.get("name", ""), "name"),
        topology=_topology(topology),
        pages_in_use=tuple(_pages_in_use(_objects(topology.get("numaNodes"), "topology.numaNodes"))),
        kubelet=expect_object(scenario.get("kubelet", {}), "kubelet"),
        api_defaults=_flag(scenario.get("apiDefaults", True), "apiDefaults"),
        steps=tuple(steps),
    )


def read_settings(kubelet: ScenarioJson) -> ManagerSettings:
    """Read the kubelet section. Raises ScenarioError; what it means on a machine is not checked here."""
    options = _texts(kubelet.get("cpuManagerPolicyOptions"), "kubelet.cpuManagerPolicyOptions")
    gates = expect_object(kubelet.get("featureGates") or {}, "kubelet.featureGates")
    reservation = expect_object(kubelet.get("nodeReservation") or {}, "kubelet.nodeReservation")
    _check_gates(gates, options)
    reserved_cpu = reservation.get("cpu") or (not kubelet.get("reservedCPUs") and kubelet.get("reservedCPU"))
    return ManagerSettings(
        cpu_manager_policy=_choice(CpuManagerPolicy, kubelet, "cpuManagerPolicy", "none"),
        cpu_manager_policy_options=options,
        reserved_system_cpus=_cpus(kubelet.get("reservedCPUs"), "kubelet.reservedCPUs"),
        reserved_cpu=_quantity(reserved_cpu, "kubelet.reservedCPU") if reserved_cpu else None,
        memory_manager_policy=_choice(MemoryManagerPolicy, kubelet, "memoryManagerPolicy", "None"),
        reserved_memory=tuple(_reserved_memory(kubelet.get("reservedMemory"))),
        expected_reservation={
            name: _bytes(amount, f"kubelet.nodeReservation.{name}")
            for name, amount in reservation.items()
            if name != "cpu"
        },
        topology_manager_policy=_choice(TopologyManagerPolicy, kubelet, "topologyManagerPolicy", "none"),
        topology_manager_scope=_choice(TopologyManagerScope, kubelet, "topologyManagerScope", "container"),
        topology_manager_policy_options=_texts(
            kubelet.get("topologyManagerPolicyOptions"), "kubelet.topologyManagerPolicyOptions"
        ),
        # A kubelet gives them to any pod.
        memory_only_node_policy=_choice(
            MemoryOnlyNodePolicy, kubelet, "memoryOnlyNodePolicy", MemoryOnlyNodePolicy.ALLOCATABLE.value
        ),
        kubelet_release=_release(kubelet.get("kubeletVersion")),
        pod_level_managers=all(gates.get(name, True) for name in _POD_LEVEL_GATES),
    )


def _release(version: object) -> KubeletRelease:
    """Read whose CPUs are wanted; without a version those of the oracle's reference release."""
    if version is None:
        return KubeletRelease.V1_37
    try:
        return KubeletRelease.of(str(version))
    except ValueError as error:
        raise ScenarioError(f"kubelet.kubeletVersion: {error}") from error


def _check_gates(gates: ScenarioJson, options: Mapping[str, str]) -> None:
    for name, on in gates.items():
        if name not in _OPTION_GATES and name not in _POD_LEVEL_GATES:
            raise ScenarioError(f"kubelet.featureGates: {name} has no meaning for podnuma")
        closed = [option for option in _OPTION_GATES.get(name, ()) if option in options and not on]
        if closed:
            raise ScenarioError(f"kubelet.cpuManagerPolicyOptions: {closed[0]} needs feature gate {name}")


def _topology(topology: ScenarioJson) -> Topology:
    nodes = _numa_nodes(_objects(topology.get("numaNodes"), "topology.numaNodes"))
    if not nodes:
        raise ScenarioError("topology.numaNodes: the machine has no NUMA nodes; list at least one")
    places = topology.get("cpus")
    cpus = _listed(_objects(places, "topology.cpus")) if places else _compact(topology)
    known = {node.id for node in nodes}
    for cpu in cpus:
        if cpu.node not in known:
            raise ScenarioError(
                f"topology.cpus: CPU {cpu.id} is on NUMA node {cpu.node}, which numaNodes does not list"
            )
    try:
        return Topology.build(
            cpus,
            nodes,
            isolated=_cpus(topology.get("isolated"), "topology.isolated") or cpuset.EMPTY,
            unknown_siblings=_cpus(topology.get("unknownSiblings"), "topology.unknownSiblings")
            or cpuset.EMPTY,
        )
    except TopologyError as error:
        raise ScenarioError(f"topology: {error}") from error


def _listed(places: Sequence[ScenarioJson]) -> list[Cpu]:
    read = [
        tuple(
            _integer(place.get(key), f"topology.cpus[{index}].{key}")
            for key in ("id", "core", "socket", "numa")
        )
        for index, place in enumerate(places)
    ]
    # A core is known by its lowest CPU: core numbers repeat across sockets.
    first: dict[tuple[int, int, int], int] = {}
    for id_, core, socket, node in read:
        first[node, socket, core] = min(id_, first.get((node, socket, core), id_))
    uncore: dict[int, int | None] = {}
    for place, (_, core, socket, node) in zip(places, read, strict=True):
        cache = place.get("uncore")
        uncore.setdefault(
            first[node, socket, core], None if cache is None else _integer(cache, "topology.cpus.uncore")
        )
    return [
        Cpu(
            id=id_,
            core=first[node, socket, core],
            socket=socket,
            node=node,
            uncore=uncore[first[node, socket, core]],
        )
        for id_, core, socket, node in read
    ]


def _compact(topology: ScenarioJson) -> list[Cpu]:
    counts = ("sockets", "numaPerSocket", "coresPerNuma", "threadsPerCore", "uncorePerNuma")
    sockets, per_socket, cores, threads, caches = (
        _integer(topology.get(key, 0), f"topology.{key}") for key in counts
    )
    per_socket, threads = per_socket or 1, threads or 1
    if sockets <= 0 or cores <= 0 or per_socket < 0 or threads < 0:
        raise ScenarioError("topology: the compact form needs sockets and coresPerNuma (or give cpus)")
    if caches > cores:
        raise ScenarioError(f"topology.uncorePerNuma: {caches} is more than coresPerNuma {cores}")
    if sockets * per_socket * cores * threads > _MOST_CPUS:
        raise ScenarioError(f"topology: more than {_MOST_CPUS} CPUs")
    numbering = _text(topology.get("numbering") or "linear", "topology.numbering")
    if numbering not in {"linear", "interleaved", "roundrobin"}:
        raise ScenarioError(
            f"topology.numbering: {numbering!r} is not one of linear, interleaved, roundrobin"
        )
    numa, total = sockets * per_socket, sockets * per_socket * cores
    out = []
    for core in range(total):
        node, within = (core % numa, core // numa) if numbering == "roundrobin" else divmod(core, cores)
        ids = [
            core * threads + thread if numbering == "linear" else core + thread * total
            for thread in range(threads)
        ]
        cache = node * caches + within * caches // cores if caches > 0 else None
        out += [Cpu(id=id_, core=ids[0], socket=node // per_socket, node=node, uncore=cache) for id_ in ids]
    return out


def _numa_nodes(rows: Sequence[ScenarioJson]) -> list[NumaNode]:
    ids = [_integer(row.get("id"), f"topology.numaNodes[{index}].id") for index, row in enumerate(rows)]
    nodes = []
    for index, row in enumerate(rows):
        path = f"topology.numaNodes[{index}]"
        sizes = expect_object(row.get("hugepages") or {}, f"{path}.hugepages")
        distances = row.get("distances")
        if distances is None:
            distances = [_LOCAL if other == ids[index] else _REMOTE for other in ids]
        elif not isinstance(distances, list):
            raise ScenarioError(f"{path}.distances: {_shown(distances)} is not a list")
        nodes.append(
            NumaNode(
                id=ids[index],
                memory=_bytes(row.get("memoryBytes"), f"{path}.memoryBytes"),
                hugepages={f"hugepages-{size}": _pages(size, held, path) for size, held in sizes.items()},
                distances=tuple(_integer(distance, f"{path}.distances") for distance in distances),
            )
        )
    return nodes


def _pages_in_use(rows: Sequence[ScenarioJson]) -> Iterator[PagesInUse]:
    for index, row in enumerate(rows):
        path = f"topology.numaNodes[{index}]"
        for size, used in expect_object(row.get("hugepagesInUse") or {}, f"{path}.hugepagesInUse").items():
            node = _integer(row.get("id"), f"{path}.id")
            yield PagesInUse(node, f"hugepages-{size}", _pages(size, used, path))


def _pages(size: str, held: Any, path: str) -> int:
    page, total = _bytes(size, f"{path}.hugepages"), _bytes(held, f"{path}.hugepages.{size}")
    if page == 0 or page % 1024 or total % page:
        raise ScenarioError(f"{path}.hugepages: {total} bytes is not a whole number of {size} pages")
    return total


def _reserved_memory(value: Any) -> Iterator[ReservedMemory]:
    for index, entry in enumerate(_objects(value or [], "kubelet.reservedMemory")):
        path = f"kubelet.reservedMemory[{index}]"
        limits = expect_object(entry.get("limits") or {}, f"{path}.limits")
        yield ReservedMemory(
            node=_integer(entry.get("numaNode", 0), f"{path}.numaNode"),
            limits={name: _bytes(amount, f"{path}.limits.{name}") for name, amount in limits.items()},
        )


def _choice(kind: Any, kubelet: ScenarioJson, field: str, default: str) -> Any:
    value = kubelet.get(field) or default
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise ScenarioError(f"kubelet.{field}: {value!r} is not one of {known}") from None


def _cpus(value: Any, path: str) -> cpuset.CpuSet | None:
    if not value:
        return None
    try:
        return cpuset.parse(_text(value, path))
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from error


def _quantity(value: Any, path: str) -> Quantity:
    try:
        return quantities.parse(value)
    except (ValueError, TypeError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def _bytes(value: Any, path: str) -> int:
    if value is None:
        raise ScenarioError(f"{path}: missing")
    return _quantity(value, path).bytes


def _texts(value: Any, path: str) -> Mapping[str, str]:
    read = expect_object(value or {}, path)
    return {name: _text(text, f"{path}.{name}") for name, text in read.items()}


def expect_object(value: Any, path: str) -> ScenarioJson:
    """Return `value` if it is a JSON object. Raises ScenarioError with the path."""
    if not isinstance(value, Mapping):
        raise ScenarioError(f"{path}: {_shown(value)} is not an object")
    return value


def _objects(value: Any, path: str) -> list[ScenarioJson]:
    if not isinstance(value, list):
        raise ScenarioError(f"{path}: {_shown(value)} is not a list")
    return [expect_object(entry, f"{path}[{index}]") for index, entry in enumerate(value)]


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ScenarioError(f"{path}: {_shown(value)} is not a string")
    return value


def _integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ScenarioError(f"{path}: {_shown(value)} is not an integer")
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise ScenarioError(f"{path}: {_shown(value)} is neither true nor false")
    return value


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)[:60]
