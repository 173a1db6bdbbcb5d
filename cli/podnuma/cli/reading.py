"""From objects of the API to the values that are drawn. Pure.

A map is most wanted when something is wrong, so objects are read leniently here: what is
missing is left out of the picture, never a reason to draw nothing. Only a NodeTopology
whose agent has not reported any hardware cannot be drawn.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podnuma.allocator import cpuset, nodeset, quantities
from podnuma.allocator.cpuset import CpuSet
from podnuma.cli import picture
from podnuma.cli.exits import Exit, Failure

_EXCLUSIVE = ("pod_exclusive", "node_exclusive")


def picture_of(topology: Mapping[str, Any], allocations: Sequence[Mapping[str, Any]]) -> picture.Picture:
    """Picture one node. Allocations of other nodes, rejected and released ones are left out."""
    machine = machine_of(topology)
    mine = (pa for pa in allocations if pa["spec"].get("nodeName") == machine.name)
    return picture.paint(machine, [pod_of(pa) for pa in mine if _holds(pa)])


def machine_of(topology: Mapping[str, Any]) -> picture.Machine:
    """Read the hardware and the reserved CPUs of a node."""
    name = topology["metadata"]["name"]
    hardware = topology.get("status", {}).get("hardware")
    if not hardware:
        raise Failure(
            Exit.NOT_FOUND,
            f"NodeTopology {name}: status.hardware is empty; "
            f"see whether the agent runs there: kubectl -n podnuma-system get pods -o wide",
        )
    allocation = topology["status"].get("allocation", {})
    reserved = allocation.get("reservedCPUs") or topology["spec"].get("reservedSystemCPUs", "")
    return picture.Machine(
        name=name,
        places=tuple(_places(hardware)),
        memory={node["id"]: _memory(node) for node in hardware["numaNodes"]},
        reserved=cpuset.parse(reserved),
        offline=cpuset.parse(hardware.get("offlineCPUs", "")),
    )


def pod_of(allocation: Mapping[str, Any]) -> picture.PodHold:
    """Read what one pod holds. Init containers are left out: their CPUs are again the pod's."""
    spec, meta = allocation["spec"], allocation["metadata"]
    pod = f"{meta.get('namespace', 'default')}/{meta['name']}"
    lasting = [c for c in spec.get("containers", []) if c["kind"] != "init"]
    exclusive = {
        c["name"]: cpuset.parse(c["cpus"]) for c in lasting if c["assignment"].get("cpu") in _EXCLUSIVE
    }
    return picture.PodHold(
        pod=pod,
        cpus=cpuset.parse(spec.get("cpus", "")),
        exclusive=exclusive,
        pool_users=tuple(c["name"] for c in lasting if c["assignment"].get("cpu") == "pod_shared"),
        memory=tuple(_blocks(pod, spec, lasting)),
    )


def _holds(allocation: Mapping[str, Any]) -> bool:
    released = allocation.get("status", {}).get("phase") == "Released"
    return bool(allocation["spec"]["decision"]["admitted"]) and not released


def _places(hardware: Mapping[str, Any]) -> Iterator[picture.Place]:
    socket = _owner(hardware["sockets"])
    zone = _owner(hardware["numaNodes"])
    cache = _owner(hardware.get("caches", []))
    for core in hardware["cores"]:
        for cpu in cpuset.ids(cpuset.parse(core["cpus"])):
            yield picture.Place(cpu, core["id"], socket.get(cpu, 0), zone.get(cpu, 0), cache.get(cpu))


def _owner(groups: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    return {cpu: group["id"] for group in groups for cpu in cpuset.ids(_cpus(group))}


def _cpus(group: Mapping[str, Any]) -> CpuSet:
    return cpuset.parse(group.get("cpus", ""))


def _memory(node: Mapping[str, Any]) -> picture.ZoneMemory:
    huge = {name: _bytes(size) for name, size in node.get("hugepages", {}).items()}
    return picture.ZoneMemory(_bytes(node["memory"]), huge)


def _blocks(
    pod: str, spec: Mapping[str, Any], lasting: Sequence[Mapping[str, Any]]
) -> Iterator[picture.MemoryHold]:
    blocks = spec.get("memory") or [block for c in lasting for block in c.get("memory", [])]
    for block in blocks:
        zones = tuple(nodeset.ids(nodeset.parse(block["nodes"])))
        yield picture.MemoryHold(pod, block["resource"], _bytes(block["size"]), zones)


def _bytes(text: str) -> int:
    return quantities.parse(text).bytes
