"""Words to write scenarios with: machines, settings, pods, steps.

    scenario("one pod", d16(), settings(), add(pod("p", budget(4, "8Gi"), [g(2, "2Gi"), shared()])))

Small machines: s4 and S8 (one NUMA node; S8 with siblings n, n+4), D16 and D64 (two sockets, two
NUMA nodes, two threads per core, siblings n, n+8 and n, n+32, distances 10/21). Real machines are
the recorded facts in tests/machines; `machine` turns one into the topology of a scenario.

Default settings, unless a case says otherwise: both managers static, single-numa-node, scope
pod, 1Gi of memory reserved per NUMA node with CPUs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
MACHINES = ROOT / "machines"
PODS = ROOT / "pods"

GI = 2**30


def g(cpus: float | str, memory: str = "1Gi", **huge: str) -> Json:
    """Return a container whose requests equal its limits; `huge_1Gi="2Gi"` adds huge pages."""
    return {"resources": both(amounts(cpus, memory, **huge))}


def shared(**requests: str) -> Json:
    """Return a container that has nothing of its own; at most requests."""
    return {"resources": {"requests": dict(requests)}} if requests else {}


def sidecar(container: Json) -> Json:
    """Return an init container that runs as long as the pod."""
    return {**container, "restartPolicy": "Always"}


def amounts(cpus: float | str, memory: str, **huge: str) -> dict[str, str]:
    """Return a resource list."""
    pages = {name.replace("huge_", "hugepages-"): size for name, size in huge.items()}
    return {"cpu": str(cpus), "memory": memory, **pages}


def both(amounts: Mapping[str, str]) -> Json:
    """Return resources whose requests and limits are these amounts."""
    return {"requests": dict(amounts), "limits": dict(amounts)}


def budget(cpus: float | str, memory: str = "1Gi", **huge: str) -> Json:
    """Return pod-level resources with equal requests and limits."""
    return both(amounts(cpus, memory, **huge))


def pod(uid: str, level: Json | None, apps: Sequence[Json], inits: Sequence[Json] = ()) -> Json:
    """Return a pod; containers are named i0, i1, ... and c0, c1, ... unless they have names."""
    spec: Json = {} if level is None else {"resources": level}
    if inits:
        spec["initContainers"] = [{"name": f"i{place}", **one} for place, one in enumerate(inits)]
    spec["containers"] = [{"name": f"c{place}", **one} for place, one in enumerate(apps)]
    return {"metadata": {"name": uid, "uid": uid}, "spec": spec}


def pod_file(name: str, document: int = 0, uid: str = "") -> Json:
    """Return a pod of tests/pods by the beginning of its file name."""
    (path,) = PODS.glob(f"{name}*.yaml")
    written: Json = list(yaml.safe_load_all(path.read_text()))[document]
    meta = written["metadata"]
    return {
        **written,
        "metadata": {**meta, "name": meta.get("name", name), "uid": uid or meta.get("name", name)},
    }


def settings(
    *,
    policy: str = "single-numa-node",
    scope: str = "pod",
    cpu: Iterable[str] = (),
    topology: Mapping[str, str] | None = None,
    reserved: str = "0,8",
    nodes: Iterable[int] = (0, 1),
    **more: Any,
) -> Json:
    """Return a kubelet section; `cpu` lists CPU manager options to switch on, `nodes` reserve 1Gi each."""
    out: Json = {
        "cpuManagerPolicy": "static",
        "memoryManagerPolicy": "Static",
        "reservedCPUs": reserved,
        "reservedMemory": [{"numaNode": node, "limits": {"memory": "1Gi"}} for node in nodes],
        "topologyManagerPolicy": policy,
        "topologyManagerScope": scope,
    }
    if cpu:
        out["cpuManagerPolicyOptions"] = dict.fromkeys(cpu, "true")
    if topology:
        out["topologyManagerPolicyOptions"] = dict(topology)
    return {key: value for key, value in {**out, **more}.items() if value is not None}


def cpus_only(**chosen: Any) -> Json:
    """Return settings without the memory manager."""
    return settings(memoryManagerPolicy="None", **{**chosen, "nodes": ()})


def add(pod: Json) -> Json:
    return {"op": "addPod", "pod": pod}


def remove(uid: str) -> Json:
    return {"op": "removePod", "uid": uid}


def start(uid: str, container: str) -> Json:
    return {"op": "startContainer", "uid": uid, "container": container}


RESTART: Json = {"op": "restart"}


def scenario(name: str, topology: Json, kubelet: Json, *steps: Json) -> Json:
    """Return a scenario whose pods still need the API server's defaults."""
    return {"name": name, "topology": topology, "kubelet": kubelet, "steps": list(steps)}


def numa_nodes(
    count: int, memory: str | int, pages: Mapping[str, str] | None = None, far: int = 21
) -> list[Json]:
    """Return equal NUMA nodes, 10 to themselves and `far` to all others."""
    nodes = []
    for node in range(count):
        row: Json = {"id": node, "memoryBytes": memory}
        row["distances"] = [10 if node == other else far for other in range(count)]
        if pages:
            row["hugepages"] = dict(pages)
        nodes.append(row)
    return nodes


def even(
    sockets: int,
    numa: int,
    cores: int,
    threads: int = 2,
    *,
    memory: str | int = "32Gi",
    pages: Mapping[str, str] | None = None,
    caches: int = 0,
) -> Json:
    """Return a regular machine: `numa` nodes per socket, `cores` per node, first threads numbered first."""
    out: Json = {
        "sockets": sockets,
        "numaPerSocket": numa,
        "coresPerNuma": cores,
        "threadsPerCore": threads,
        "numbering": "interleaved",
        "numaNodes": numa_nodes(sockets * numa, memory, pages),
    }
    return {**out, "uncorePerNuma": caches} if caches else out


def s4(memory: str = "16Gi") -> Json:
    return even(1, 1, 4, 1, memory=memory)


def s8(memory: str = "16Gi") -> Json:
    return even(1, 1, 4, memory=memory)


def d16(memory: str | int = "32Gi", pages: Mapping[str, str] | None = None) -> Json:
    return even(2, 1, 4, memory=memory, pages=pages)


def d64(memory: str = "126Gi") -> Json:
    return even(2, 1, 16, memory=memory)


def place(cpus: Iterable[tuple[int, int, int, int]], nodes: list[Json]) -> Json:
    """Return a machine from (CPU, core, socket, NUMA node) rows."""
    rows = [{"id": cpu, "core": core, "socket": socket, "numa": numa} for cpu, core, socket, numa in cpus]
    return {"cpus": rows, "numaNodes": nodes}


def facts(name: str) -> Json:
    """Return the recorded facts of a real machine by the beginning of its name."""
    (path,) = MACHINES.glob(f"{name}*.json")
    found: Json = json.loads(path.read_text())
    return found


def machine(
    name: str, *, memory: str | None = None, pages: Mapping[int, Mapping[str, str]] | None = None
) -> Json:
    """Return a real machine as the topology of a scenario.

    `memory` stands in for every node (one source gives none); `pages` adds huge pages by node.
    """
    known = facts(name)
    cpus = []
    for cpu in known["cpus"]:
        row = {"id": cpu["id"], "core": cpu["core"], "socket": cpu["socket"], "numa": cpu["numa"]}
        cpus.append(row if cpu.get("l3") is None else {**row, "uncore": cpu["l3"]})
    nodes = []
    for numa in known["numaNodes"]:
        node: Json = {"id": numa["id"], "memoryBytes": memory or numa["memoryBytes"]}
        if numa["distances"]:
            node["distances"] = numa["distances"]
        if pages and numa["id"] in pages:
            node["hugepages"] = dict(pages[numa["id"]])
        elif pages:
            node["hugepages"] = {size: 0 for other in pages.values() for size in other}
        nodes.append(node)
    return {"cpus": cpus, "numaNodes": nodes}
