"""The hardware of a node as NodeTopology.status carries it, and the allocator's Topology.

Cores, sockets, caches and NUMA nodes are lists of CPU lists: a machine of 384 CPUs takes 5 KB
instead of the 25 KB of one record per CPU, and reads better. Read back, the topology is equal.

Always true for what is accepted: every CPU is in exactly one core, one socket and one NUMA node
and in at most one cache; only CPUs whose siblings are unknown are in no core.
"""

import marshal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from podnuma.allocator import Cpu, CpuSet, NumaNode, Topology, TopologyError, cpuset, nodeset, quantities
from podnuma.api.decoding import ABSENT, FieldErrors, Fields, integer, parsed, text
from podnuma.api.quantity import read_bytes

MAX_CPUS: Final = 8192
"""Cores, caches and CPUs: the largest NR_CPUS of Linux."""

MAX_GROUPS: Final = 1024
"""Sockets and NUMA nodes: the largest MAX_NUMNODES of Linux."""

LONGEST_LIST: Final = 32768
MAX_KINDS: Final = 16
"""Kinds of cores; machines have up to four."""

LONGEST_KIND: Final = 64

_INT32: Final = 2**31 - 1
_INT64: Final = 2**63 - 1
_LONGEST_REMEMBERED: Final = 65536
# Version 2 of marshal: equal values are equal bytes, whether or not they are one object.
_MARSHAL_WITHOUT_REFERENCES: Final = 2


@dataclass(frozen=True, slots=True)
class Hardware:
    """What an agent found in sysfs.

    ``problems`` are sentences about what it could not make out.
    """

    topology: Topology
    problems: tuple[str, ...] = ()


def render_hardware(hardware: Hardware) -> dict[str, Any]:
    """Render the JSON of ``status.hardware``."""
    topology = hardware.topology
    body: dict[str, Any] = {
        "cores": _render_groups(
            (core, cpus) for core, cpus in topology.cores if not topology.unknown_siblings >> core & 1
        ),
        "sockets": _render_groups(topology.sockets),
        "caches": _render_groups(topology.caches),
        "numaNodes": [_render_node(node, topology) for node in topology.nodes],
    }
    if topology.offline:
        body["offlineCPUs"] = cpuset.render(topology.offline)
    if topology.isolated:
        body["isolatedCPUs"] = cpuset.render(topology.isolated)
    if topology.outside:
        body["outsideKubepodsCPUs"] = cpuset.render(topology.outside)
    if topology.outside_memory:
        body["outsideKubepodsMemoryNodes"] = nodeset.render(topology.outside_memory)
    if topology.unknown_siblings:
        body["unknownSiblingsCPUs"] = cpuset.render(topology.unknown_siblings)
    if topology.kinds:
        body["coreKinds"] = [{"name": name, "cpus": cpuset.render(cpus)} for name, cpus in topology.kinds]
    if hardware.problems:
        body["problems"] = [problem[:1024] for problem in hardware.problems[:32]]
    return body


def _render_groups(groups: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"id": number, "cpus": cpuset.render(mask)} for number, mask in groups]


def _render_node(node: NumaNode, topology: Topology) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": node.id,
        "cpus": cpuset.render(topology.cpus_of_node(node.id)),
        "memory": quantities.format_bytes(node.memory),
    }
    if node.hugepages:
        body["hugepages"] = {name: quantities.format_bytes(size) for name, size in node.hugepages.items()}
    if node.distances:
        body["distances"] = list(node.distances)
    return body


def read_hardware(fields: Fields) -> Hardware | None:
    """Read the hardware at ``fields``; None when it contradicts itself or is not there, which is noted.

    Equal hardware is read once: a NodeTopology comes again with every heartbeat, and nodes are of few kinds.
    """
    content: Any = fields.content
    try:
        return _remembered(marshal.dumps(content, _MARSHAL_WITHOUT_REFERENCES))
    except ValueError:
        return _read(fields)  # to note what is wrong, and where


@lru_cache(maxsize=256)
def _remembered(content: bytes) -> Hardware:
    """Return what is read from marshalled JSON; ValueError where something is wrong, or too long to keep."""
    if len(content) > _LONGEST_REMEMBERED:
        raise ValueError("too long to remember")
    found = _read(Fields.of(marshal.loads(content), "", FieldErrors()))  # noqa: S302 - marshalled by the caller
    if found is None:
        raise ValueError("not a machine")
    return found


def _read(fields: Fields) -> Hardware | None:
    before = len(fields.errors.found)
    nodes = [_read_node(item) for item in fields.items("numaNodes", MAX_GROUPS)]
    places = {
        "cores": _by_cpu(fields, "cores", _read_groups(fields, "cores", MAX_CPUS, lowest=0)),
        "sockets": _by_cpu(fields, "sockets", _read_groups(fields, "sockets", MAX_GROUPS)),
        "caches": _by_cpu(fields, "caches", _read_groups(fields, "caches", MAX_CPUS)),
        "numaNodes": _by_cpu(fields, "numaNodes", ((node.id, cpus) for node, cpus in nodes)),
    }
    unknown = fields.optional("unknownSiblingsCPUs", parsed(cpuset.parse, LONGEST_LIST), cpuset.EMPTY)
    for cpu in cpuset.ids(CpuSet(unknown & cpuset.of(places["numaNodes"]))):
        places["cores"].setdefault(cpu, cpu)
    _check_same_cpus(fields, places)
    offline = fields.optional("offlineCPUs", parsed(cpuset.parse, LONGEST_LIST), cpuset.EMPTY)
    isolated = fields.optional("isolatedCPUs", parsed(cpuset.parse, LONGEST_LIST), cpuset.EMPTY)
    outside = fields.optional("outsideKubepodsCPUs", parsed(cpuset.parse, LONGEST_LIST), cpuset.EMPTY)
    lacking = fields.optional(
        "outsideKubepodsMemoryNodes", parsed(nodeset.parse, LONGEST_LIST), nodeset.EMPTY
    )
    problems = fields.values("problems", text(1024), 32)
    kinds = {
        item.required("name", _read_kind, ""): item.required("cpus", _read_members, cpuset.EMPTY)
        for item in fields.items("coreKinds", MAX_KINDS)
    }
    if len(fields.errors.found) > before:
        return None
    core, socket, cache, numa = places.values()
    cpus = [Cpu(cpu, core[cpu], socket[cpu], numa[cpu], cache.get(cpu)) for cpu in core]
    try:
        topology = Topology.build(cpus, [node for node, _ in nodes], isolated, unknown, kinds, offline)
    except TopologyError as contradiction:
        fields.errors.add(fields.path, ABSENT, str(contradiction))
        return None
    return Hardware(topology.outside_kubepods(outside, lacking), problems)


_read_kind: Final = text(LONGEST_KIND, shortest=1)
_read_list: Final = parsed(cpuset.parse, LONGEST_LIST)


def _read_members(value: Any) -> CpuSet:
    if not (members := _read_list(value)):
        raise ValueError("must not be empty")
    return members


def _read_groups(fields: Fields, name: str, most: int, lowest: int = -_INT64) -> list[tuple[int, CpuSet]]:
    return [
        (
            item.required("id", integer(lowest, _INT64), 0),
            item.required("cpus", _read_members, cpuset.EMPTY),
        )
        for item in fields.items(name, most)
    ]


def _read_node(item: Fields) -> tuple[NumaNode, CpuSet]:
    amounts: Mapping[str, int] = item.mapping("hugepages", read_bytes, 8)
    node = NumaNode(
        id=item.required("id", integer(0, MAX_GROUPS - 1), 0),
        memory=item.required("memory", read_bytes, 0),
        hugepages=amounts,
        distances=item.values("distances", integer(0, _INT32), MAX_GROUPS),
    )
    return node, item.required("cpus", _read_list, cpuset.EMPTY)


def _by_cpu(fields: Fields, name: str, groups: Iterable[tuple[int, CpuSet]]) -> dict[int, int]:
    """Which group each CPU is in; a CPU in two groups is a problem."""
    place: dict[int, int] = {}
    seen = 0
    for number, cpus in groups:
        if seen & cpus:
            twice = cpuset.render(CpuSet(seen & cpus))
            fields.errors.add(fields.at(name), twice, "these CPUs are listed twice")
        # Bounded by the kernel's largest machine, whatever ids the lists make up.
        if (seen | cpus).bit_count() > MAX_CPUS:
            fields.errors.add(fields.at(name), ABSENT, f"has more than {MAX_CPUS} CPUs")
            return {}
        seen |= cpus
        place.update(dict.fromkeys(cpuset.ids(cpus), number))
    return place


def _check_same_cpus(fields: Fields, places: Mapping[str, Mapping[int, int]]) -> None:
    everything = places["numaNodes"].keys()
    for name, place in places.items():
        missing = everything - place.keys() if name != "caches" else set()
        strange = place.keys() - everything
        if missing:
            shown = cpuset.render(cpuset.of(missing))
            fields.errors.add(fields.at(name), shown, "these CPUs are missing; numaNodes lists them")
        if strange:
            shown = cpuset.render(cpuset.of(strange))
            fields.errors.add(fields.at(name), shown, "these CPUs are in none of the numaNodes")
