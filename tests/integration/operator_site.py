"""A control plane with operators on it and no agents: what agents report is written here.

Nodes have 16 CPUs, threads n and n+8 of one core, NUMA node 0 with CPUs 0-3,8-11, node 1 with
4-7,12-15, 32 GiB each. CPUs 0 and 8 are reserved. Pods are bound when they are created.
"""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import requests
from podnuma.allocator import cpuset
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api.hardware import Hardware
from podnuma.api.node_topology import AgentReport, render_agent_status

from testbed.api import ApiStatusError
from testbed.installation import NAMESPACE, OPERATOR_ACCOUNT, Installation, forget_leader
from testbed.kwok import UNMARKED, node_manifest
from testbed.program import Program
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from podnuma.allocator.memory.others import PagesInUse

    from testbed.api import Api, Json
    from testbed.control_plane import ControlPlane
    from testbed.faults import FaultyApiServer

GROUP = "/apis/podnuma.dev/v1alpha1"
API = "podnuma.dev/v1alpha1"
SOON = 30.0  # seconds in which the operator does what follows from an event, on a busy machine


def machine(cores: int = 8, nodes: int = 2, memory: int = 32) -> Topology:
    """Return a machine with two threads per core and `memory` GiB per NUMA node."""
    share = cores // nodes
    cpus = [
        Cpu(core + thread * cores, core, core // share, core // share)
        for core in range(cores)
        for thread in (0, 1)
    ]
    distances = [tuple(10 if a == b else 21 for b in range(nodes)) for a in range(nodes)]
    return Topology.build(cpus, [NumaNode(n, memory * 2**30, {}, distances[n]) for n in range(nodes)])


def profile(name: str = "main", **spec: Any) -> Json:
    return {
        "apiVersion": API,
        "kind": "NodeProfile",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"matchLabels": {"pool": "a"}},
            "cpuManagerPolicy": "static",
            "memoryManagerPolicy": "Static",
            "topologyManagerPolicy": "single-numa-node",
            "topologyManagerScope": "pod",
            "reservedSystemCPUs": "0,8",
            "reservedMemory": [
                {"numaNode": 0, "limits": {"memory": "1Gi"}},
                {"numaNode": 1, "limits": {"memory": "1Gi"}},
            ],
            **spec,
        },
    }


def pod(name: str, cpus: int = 4, on: str = "n1", memory: str = "4Gi", **metadata: Any) -> Json:
    """Return a bound pod with a budget, one exclusive container of all but one CPU, and a sidecar."""
    amounts = {"cpu": str(cpus - 1), "memory": "1Gi"}
    budget = {"cpu": str(cpus), "memory": memory}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "nodeName": on,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "resources": {"requests": budget, "limits": budget},
            "containers": [
                {"name": "main", "image": "x", "resources": {"requests": amounts, "limits": amounts}},
                {"name": "side", "image": "x"},
            ],
        },
    }


class _Agents(threading.Thread):
    """What agents do at the end of a pod: of one whose PodAllocation is being deleted no process is left."""

    def __init__(self, api: Api) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.1):
            with contextlib.suppress(ApiStatusError, requests.RequestException):
                self._look()

    def stop(self) -> None:
        """Stop, and leave nothing that would wait for an agent."""
        self._stopped.set()
        self.join()
        for value in self._api.items(f"{GROUP}/podallocations"):
            with contextlib.suppress(ApiStatusError):
                self._api.merge(self._path(value), {"metadata": {"finalizers": []}})
                self._api.delete(self._path(value))

    def _look(self) -> None:
        pods = self._api.items("/api/v1/pods")
        ended = {"Succeeded", "Failed"}
        alive = {one["metadata"]["uid"] for one in pods if one.get("status", {}).get("phase") not in ended}
        for value in self._api.items(f"{GROUP}/podallocations"):
            gone = value["spec"]["podUID"] not in alive and "deletionTimestamp" in value["metadata"]
            if gone and value.get("status", {}).get("phase") != "Released":
                self._api.merge(f"{self._path(value)}/status", {"status": {"phase": "Released"}})

    @staticmethod
    def _path(value: Json) -> str:
        metadata = value["metadata"]
        return f"{GROUP}/namespaces/{metadata['namespace']}/podallocations/{metadata['name']}"


class Site:
    """Operators and what they are given to do."""

    def __init__(self, cluster: ControlPlane, namespace: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self.operators: list[Program] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        agents = _Agents(self.api)
        self._stack.callback(agents.stop)
        agents.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def api(self) -> Api:
        return self.cluster.api

    def install(self) -> None:
        """Apply custom resources, service accounts and roles; no earlier operator holds the Lease."""
        Installation(self.cluster, self.folder).install()
        forget_leader(self.api)

    def furnish(self, *nodes: str, **spec: Any) -> None:
        """Create a profile and nodes, once nothing of an earlier test is left."""
        until(lambda: not self.api.items(f"{GROUP}/nodetopologies"), "earlier NodeTopologies to go", 30)
        self.api.apply(profile(**spec))
        for name in nodes or ("n1",):
            self.add_node(name)
        # Pods cannot be created before the controller manager has made this account.
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        until(lambda: self.api.find(path), "the default service account", SOON)

    def add_node(self, name: str) -> None:
        node = node_manifest(name, cpus=16, memory=64 * 2**30, labels={"pool": "a"})
        node["metadata"]["annotations"] = UNMARKED
        self.api.create(node)

    def start(self, through: FaultyApiServer | None = None, *options: str) -> Program:
        """Start one more operator, with the rights that are shipped."""
        source = through or self.cluster
        kubeconfig = source.kubeconfig_for(NAMESPACE, OPERATOR_ACCOUNT)
        name = f"operator-{len(self.operators)}"
        words = [
            "operator",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--identity={name}",
            *options,
        ]
        program = Program(name, words, self.folder / f"{name}.log")
        self._stack.callback(program.stop)
        self.operators.append(program.start())
        program.wait_ready()
        return program

    def report_hardware(
        self, *names: str, hardware: Topology | None = None, in_use: Sequence[PagesInUse] = ()
    ) -> None:
        """Do what agents do first, and when huge pages come into use."""
        for name in names or ("n1",):
            path = f"{GROUP}/nodetopologies/{name}"
            until(lambda path=path: self.api.find(path), f"NodeTopology {name}", SOON)  # type: ignore[misc]
            report = AgentReport(mechanism="Simulated")
            status = render_agent_status(Hardware(hardware or machine()), report, [], in_use)
            body = {"apiVersion": API, "kind": "NodeTopology", "metadata": {"name": name}, "status": status}
            self.api.apply(body, manager="podnuma-agent", subresource="status")

    def create(self, value: Json) -> Json:
        return self.api.create(value, self.namespace)

    def delete(self, name: str) -> None:
        with contextlib.suppress(ApiStatusError):
            self.api.delete(self._pod_path(name), grace_seconds=0)

    def finish(self, name: str, phase: str = "Succeeded") -> None:
        self.api.merge(f"{self._pod_path(name)}/status", {"status": {"phase": phase}})

    def pod(self, name: str) -> Json | None:
        return self.api.find(self._pod_path(name))

    def allocation(self, name: str) -> Json | None:
        return self.api.find(f"{GROUP}/namespaces/{self.namespace}/podallocations/{name}")

    def allocations(self) -> dict[str, Json]:
        """Return the spec of every PodAllocation in the namespace, by name."""
        found = self.api.items(f"{GROUP}/namespaces/{self.namespace}/podallocations")
        return {value["metadata"]["name"]: value["spec"] for value in found}

    def cpus(self, name: str) -> str | None:
        """Return the CPUs a pod holds; "-" for a refused one, None without a decision."""
        found = self.allocation(name)
        return None if found is None else found["spec"].get("cpus", "-")

    def decided(self, name: str, timeout: float = SOON) -> str:
        """Wait for the decision about a pod and return its CPUs."""
        return until(lambda: self.cpus(name), f"the decision about {name}\n{self.logs()}", timeout)

    def gone(self, name: str, timeout: float = SOON) -> None:
        until(lambda: self.allocation(name) is None, f"PodAllocation {name} to go", timeout)

    def condition(self, plural: str, name: str, of: str) -> Json:
        status = self.api.get(f"{GROUP}/{plural}/{name}").get("status", {})
        return next((entry for entry in status.get("conditions", []) if entry["type"] == of), {})

    def events(self, reason: str) -> list[str]:
        found = self.api.items(f"/api/v1/namespaces/{self.namespace}/events")
        return [event["message"] for event in found if event["reason"] == reason]

    def logs(self) -> str:
        return "\n".join(program.process.tail() for program in self.operators)

    def assert_sound(self) -> None:
        """No CPU of a node is in two PodAllocations."""
        owners: dict[tuple[str, int], str] = {}
        for name, spec in self.allocations().items():
            for cpu in cpuset.ids(cpuset.parse(spec.get("cpus", ""))):
                place = (spec["nodeName"], cpu)
                # One that is gone from the API may have two for a moment: its name was wanted.
                owner = owners.setdefault(place, spec["podUID"])
                assert owner == spec["podUID"], f"CPU {place}: pod {owner} and {name}"

    def _pod_path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"


def seconds_since(began: float) -> float:
    return time.monotonic() - began
