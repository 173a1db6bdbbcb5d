"""Objects of the API for the command line to draw, made from the facts of real machines."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from podnuma.allocator import cpuset

MACHINES = Path(__file__).parents[2] / "machines"


def topology_object(machine: str, *, reserved: str = "", name: str = "node-a") -> dict[str, Any]:
    """The NodeTopology an agent would report on one of tests/machines."""
    facts = json.loads((MACHINES / f"{machine}.json").read_text())
    distances = {node["id"]: node["distances"] for node in facts["numaNodes"]}

    def groups(key: str) -> list[tuple[int, list[int]]]:
        members: dict[int, list[int]] = defaultdict(list)
        for cpu in facts["cpus"]:
            if cpu.get(key) is not None:
                members[cpu[key]].append(cpu["id"])
        return sorted(members.items())

    def render(ids: list[int]) -> str:
        return cpuset.render(cpuset.of(ids))

    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "NodeTopology",
        "metadata": {"name": name},
        "spec": {
            "cpuManagerPolicy": "static",
            "memoryManagerPolicy": "None",
            "topologyManagerPolicy": "single-numa-node",
            "topologyManagerScope": "pod",
            "reservedSystemCPUs": reserved,
        },
        "status": {
            "hardware": {
                "cores": [{"id": min(ids), "cpus": render(ids)} for _, ids in groups("core")],
                "sockets": [{"id": socket, "cpus": render(ids)} for socket, ids in groups("socket")],
                "caches": [{"id": cache, "cpus": render(ids)} for cache, ids in groups("l3")],
                "numaNodes": [
                    {
                        "id": node["id"],
                        "cpus": node["cpus"],
                        "memory": str(node["memoryBytes"] or 0),
                        "distances": distances[node["id"]],
                    }
                    for node in facts["numaNodes"]
                ],
                "offlineCPUs": facts["offline"],
                "isolatedCPUs": facts["isolated"],
            }
        },
    }


def container(name: str, cpu: str | None, cpus: str | None = None, kind: str = "app") -> dict[str, Any]:
    """One container of a PodAllocation; `cpu` is its assignment type."""
    entry = {"name": name, "kind": kind, "assignment": {"cpu": cpu} if cpu else {}, "isolation": "container"}
    return entry if cpus is None else {**entry, "cpus": cpus}


def allocation_object(
    pod: str, cpus: str, *containers: dict[str, Any], node: str = "node-a", **spec: Any
) -> dict[str, Any]:
    """The PodAllocation of an admitted pod, named "namespace/name"."""
    namespace, name = pod.split("/")
    body = {
        "podUID": f"uid-{name}",
        "nodeName": node,
        "scope": "pod",
        "containers": list(containers),
        "decision": {"admitted": True, "reason": "Admitted"},
        **spec,
    }
    if cpus:
        body["cpus"] = cpus
    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "PodAllocation",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
        "status": {"phase": "Applied"},
    }
