"""The scenarios of `make bench`: two machines, two topology policies, and a mix of pods.

The mix has the announcement's two pods (a database with sidecars, a machine learning workload with
a service mesh), a small budget with one exclusive container, a plain Guaranteed pod, and one
without requests. They are offered in turn until each has been refused once, so the node is full at the end.
"""

from typing import Any

Json = dict[str, Any]

_MACHINES = {
    "128 CPUs, 2 NUMA nodes": {"sockets": 2, "numaPerSocket": 1, "coresPerNuma": 32},
    "256 CPUs, 8 NUMA nodes": {"sockets": 2, "numaPerSocket": 4, "coresPerNuma": 16},
}
_POLICIES = ("best-effort", "single-numa-node")
_MEMORY = 1024 * 2**30


def scenarios() -> list[Json]:
    """Return one scenario per configuration; its steps are the shapes of the mix."""
    return [
        {
            "name": f"{machine}, {policy}",
            "topology": _topology(counts),
            "kubelet": _settings(policy, counts),
            "steps": [{"op": "addPod", "pod": pod} for pod in _mix()],
        }
        for machine, counts in _MACHINES.items()
        for policy in _POLICIES
    ]


def _topology(counts: dict[str, int]) -> Json:
    nodes = counts["sockets"] * counts["numaPerSocket"]
    memory = [{"id": node, "memoryBytes": _MEMORY // nodes} for node in range(nodes)]
    return {**counts, "threadsPerCore": 2, "numbering": "interleaved", "numaNodes": memory}


def _settings(policy: str, counts: dict[str, int]) -> Json:
    cores = counts["sockets"] * counts["numaPerSocket"] * counts["coresPerNuma"]
    return {
        "cpuManagerPolicy": "static",
        "reservedCPUs": f"0,{cores}",
        "memoryManagerPolicy": "Static",
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}],
        "topologyManagerPolicy": policy,
        "topologyManagerScope": "pod",
    }


def _mix() -> list[Json]:
    return [
        _pod(
            "database",
            _both("8", "16Gi"),
            [_container("database", "6", "12Gi")],
            [_sidecar("metrics-exporter"), _sidecar("backup-agent")],
        ),
        _pod(
            "budget", _both("4", "4Gi"), [_container("app", "2", "2Gi"), {"name": "proxy"}, {"name": "logs"}]
        ),
        _pod("ml", _both("4", "8Gi"), [_container("ml-training", "3", "6Gi")], [_sidecar("service-mesh")]),
        _pod("plain", None, [_container("app", "2", "2Gi")]),
    ]


def _pod(name: str, budget: Json | None, containers: list[Json], inits: list[Json] | None = None) -> Json:
    spec: Json = {"containers": containers, "initContainers": inits or []}
    if budget is not None:
        spec["resources"] = budget
    return {"metadata": {"name": name}, "spec": spec}


def _both(cpu: str, memory: str) -> Json:
    amounts = {"cpu": cpu, "memory": memory}
    return {"requests": amounts, "limits": amounts}


def _container(name: str, cpu: str, memory: str) -> Json:
    return {"name": name, "resources": _both(cpu, memory)}


def _sidecar(name: str) -> Json:
    return {"name": name, "restartPolicy": "Always"}
