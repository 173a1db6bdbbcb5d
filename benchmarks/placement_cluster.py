"""`python -m benchmarks.placement_cluster`: pods refused by a real cluster, with and without placement.

A control plane with its own scheduler, nodes of kwok with 96 CPUs, CPU 0 reserved, single-numa-node. One
sequence of pods, which asks for the given share of all CPUs, is created one after the other, as fast as the
API server takes them:

    AfterBinding     the default scheduler alone; a pod that does not fit its node is refused there and stays
    BeforeBinding    the admission policy gates them, podnuma reserves, the same scheduler binds

Placed are pods that hold what they asked for when nothing moves any more. `best order` is the most that the
allocator alone places in one of many random orders of the same pods. `pods/s` counts pods offered until
nothing moves any more; `requests` are those of the operator per pod that is placed, without the Lease; `MB`
is the resident memory of the operator at the end of the row. `operator ms` and `other ms` are processor time
per pod offered: of the operator, and of etcd, API server, scheduler, controllers and kwok together, since
they share the machine. Each sequence is run both ways, one after the other; which comes first changes from
sequence to sequence. `ratio` is the rate with placement by that without.

The rate at 1,000 nodes, in one run of some ten minutes on two slow cores:

    python -m benchmarks.placement_cluster --nodes 1000 --pods 500 --seeds 2 --numa 8 --fill 0.9 --orders 0
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from podnuma.api.hardware import Hardware
from podnuma.api.node_topology import AgentReport, render_agent_status
from rich.console import Console
from rich.table import Table

from benchmarks.orders import OrderSearch
from benchmarks.placement import budget, rules, sequence
from benchmarks.scale import memory_of, processor_seconds_of, requests_of
from testbed import build
from testbed.api import ApiStatusError
from testbed.control_plane import ControlPlane
from testbed.installation import Installation
from testbed.kwok import Kwok, is_ready, node_manifest
from testbed.waiting import until

if TYPE_CHECKING:
    from podnuma.allocator.topology import Topology

    from testbed.api import Api, Json
    from testbed.program import Program

ROOT = Path(__file__).resolve().parents[1]
GROUP = "/apis/podnuma.dev/v1alpha1"
NAMESPACE = "bench"
_LONGEST = 900.0  # seconds
_WAYS = ("AfterBinding", "BeforeBinding")
_GIB = 2**30


@dataclass(slots=True)
class Counts:
    """What became of the pods of one way; `seconds` from the first creation to the last binding.

    operator, others: seconds of processor time, of the operator and of the control plane with kwok.
    """

    offered: int = 0
    placed: int = 0
    refused: int = 0
    seconds: float = 0.0
    requests: float = 0.0
    memory: int = 0
    operator: float = 0.0
    others: float = 0.0

    def add(self, one: Counts) -> None:
        """Count another sequence; of memory the most."""
        self.offered += one.offered
        self.placed += one.placed
        self.refused += one.refused
        self.seconds += one.seconds
        self.requests += one.requests
        self.memory = max(self.memory, one.memory)
        self.operator += one.operator
        self.others += one.others


def profile(placement: str) -> Json:
    """Return the profile of all nodes; what a pod held is free as soon as it is gone: there are no agents."""
    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "NodeProfile",
        "metadata": {"name": "bench"},
        "spec": {
            "nodeSelector": {},
            "cpuManagerPolicy": "static",
            "topologyManagerPolicy": "single-numa-node",
            "topologyManagerScope": "pod",
            "reservedSystemCPUs": "0",
            "onRejection": "Share",
            "releaseAfterSeconds": 0,
            "placement": placement,
        },
    }


def pod(name: str, cpus: int) -> Json:
    """Return a pod that is a budget of CPUs."""
    amounts = {"cpu": str(cpus), "memory": "64Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "resources": {"requests": amounts, "limits": amounts},
            "containers": [{"name": "main", "image": "x"}],
        },
    }


class Cluster:
    """The nodes, an operator that places, and the admission policy when it is wanted."""

    def __init__(self, plane: ControlPlane, helm: Path, folder: Path) -> None:
        self._plane = plane
        self._api: Api = plane.api
        self._installation = Installation(plane, folder)
        self._installation.install()
        self._manifests = list(yaml.safe_load_all(_chart(helm)))
        self._api.apply(_one(self._manifests, "ClusterRole", "podnuma-operator"))
        self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self._operator: Program = self._installation.start_operator("--placement")
        self._operator.wait_ready()

    def close(self) -> None:
        """End the operator."""
        self._operator.stop()

    def furnish(self, count: int, topology: Topology, cpus: int) -> None:
        """Create the nodes with this hardware, one CPU of which is not allocatable."""
        self._api.apply(profile("AfterBinding"))
        names = [f"node-{number:05}" for number in range(count)]
        for name in names:
            self._api.create(node_manifest(name, cpus=cpus - 1, memory=512 * _GIB))
        until(lambda: all(map(is_ready, self._api.items("/api/v1/nodes"))), "nodes to be Ready", 600, 1)
        status = render_agent_status(Hardware(topology), AgentReport(mechanism="Simulated"), [])
        for name in names:
            path = f"{GROUP}/nodetopologies/{name}"
            until(lambda path=path: self._api.find(path), f"NodeTopology {name}", 120)  # type: ignore[misc]
            body = {
                "apiVersion": "podnuma.dev/v1alpha1",
                "kind": "NodeTopology",
                "metadata": {"name": name},
                "status": status,
            }
            self._api.apply(body, manager="podnuma-agent", subresource="status")

    def strip(self) -> None:
        """Delete the nodes."""
        for value in self._api.items("/api/v1/nodes"):
            self._api.delete(f"/api/v1/nodes/{value['metadata']['name']}")
        until(lambda: not self._api.items(f"{GROUP}/nodetopologies"), "NodeTopologies to go", 600, 1)

    def use(self, placement: str) -> None:
        """Place before or after binding from now on."""
        self._api.apply(profile(placement))
        kinds = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
        found = [_one(self._manifests, kind, "podnuma-operator-placement") for kind in kinds]
        wanted = placement == "BeforeBinding"
        for value in found:
            if wanted:
                self._api.apply(value)
            else:
                self._forget(value)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"

        def gated() -> bool:
            tried = self._api.request("POST", path, pod("probe", 1))
            return bool(tried["spec"].get("schedulingGates")) is wanted

        until(gated, "the admission policy", 60)
        every = max(0.2, len(self._api.items("/api/v1/nodes")) / 1000)
        until(partial(self._all_nodes_know, placement), f"every node to have {placement}", 600, every)

    def _all_nodes_know(self, placement: str) -> bool:
        """Tell whether every NodeTopology has this setting, and the operator has reported about it."""
        return all(
            value["spec"].get("placement") == placement
            and value["metadata"]["generation"]
            in {one.get("observedGeneration") for one in value.get("status", {}).get("conditions", ())}
            for value in self._api.items(f"{GROUP}/nodetopologies")
        )

    def _forget(self, value: Json) -> None:
        plural = (
            f"{value['kind'].lower()[:-1]}ies" if value["kind"].endswith("y") else f"{value['kind'].lower()}s"
        )
        try:
            self._api.delete(f"/apis/{value['apiVersion']}/{plural}/{value['metadata']['name']}")
        except ApiStatusError:
            return

    def run(self, sizes: list[int]) -> Counts:
        """Create the pods, wait until nothing moves, and count; nothing is left of them afterwards."""
        before = sum(requests_of(self._operator.metrics()).values())
        used_before = self._processor_seconds()
        every = max(0.2, len(sizes) / 1000)  # lists of many objects take their time
        began = time.monotonic()
        for number, cpus in enumerate(sizes):
            self._api.create(pod(f"pod-{number:04}", cpus), NAMESPACE)
        last = began
        placed_now = refused = -1
        while time.monotonic() - began < _LONGEST:
            state = self._state()
            if (placed_now, refused) != state:
                last = time.monotonic()
                placed_now, refused = state
            if self._settled(placed_now + refused):
                break
            time.sleep(every)
        requests = sum(requests_of(self._operator.metrics()).values()) - before
        memory, _ = memory_of(self._operator.process.pid)
        operator, others = (
            now - then for now, then in zip(self._processor_seconds(), used_before, strict=True)
        )
        self._api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods", grace_seconds=0)
        until(lambda: not self._api.items(f"{GROUP}/podallocations"), "PodAllocations to go", 600, every)
        return Counts(len(sizes), placed_now, refused, last - began, requests, memory, operator, others)

    def _processor_seconds(self) -> tuple[float, float]:
        """Return the processor time used so far by the operator, and by all other programs of this run."""
        own = self._operator.process.pid
        children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
        used = {int(pid): processor_seconds_of(int(pid)) for pid in children}
        return used.get(own, 0.0), sum(seconds for pid, seconds in used.items() if pid != own)

    def _settled(self, decided: int) -> bool:
        """Tell whether every pod is decided, or was told that it fits nowhere, by us or by the scheduler."""
        if len(pods := self._api.items(f"/api/v1/namespaces/{NAMESPACE}/pods")) == decided:
            return True
        waiting = [value for value in pods if "nodeName" not in value["spec"]]
        told = {"WaitsForNode", "Unschedulable"}
        return len(waiting) + decided == len(pods) and all(
            told & {one.get("reason") for one in value["status"].get("conditions", ())} for value in waiting
        )

    def _state(self) -> tuple[int, int]:
        """Return how many pods are bound and hold something, and how many are refused."""
        found = self._api.items(f"{GROUP}/namespaces/{NAMESPACE}/podallocations")
        reasons = [value["spec"]["decision"]["reason"] for value in found]
        return reasons.count("Admitted"), sum(reason not in ("Admitted", "Reserved") for reason in reasons)


def _chart(helm: Path) -> str:
    values = ["--set", "placement.enabled=true", "--set", "image.repository=localhost/podnuma"]
    chart = str(ROOT / "deploy" / "chart" / "podnuma")
    argv = [str(helm), "template", "podnuma", chart, "--namespace", "podnuma-system", *values]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def _one(manifests: list[Any], kind: str, name: str) -> Json:
    return next(one for one in manifests if one and one["kind"] == kind and one["metadata"]["name"] == name)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement_cluster", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="sequences of pods for each row")
    parser.add_argument("--orders", type=int, default=1000, help="random orders of each sequence")
    parser.add_argument("--nodes", type=int, default=10, help="machines")
    parser.add_argument("--pods", type=int, help="of each sequence at most so many")
    parser.add_argument("--numa", type=int, nargs="*", default=[2, 4, 8], help="NUMA nodes of a machine")
    parser.add_argument("--fill", type=float, nargs="*", default=[0.8, 0.9, 0.97], help="share of all CPUs")
    chosen = parser.parse_args(arguments)
    console = Console(width=max(140, Console().width))
    table = Table(
        title=f"{chosen.nodes:,} machines of 96 CPUs, a real control plane: default scheduler | BeforeBinding"
    )
    for heading in (
        "NUMA nodes",
        "asked for",
        "offered",
        "refused per 1,000",
        "placed",
        "best order",
        "pods/s",
        "ratio",
        "requests",
        "MB",
        "operator ms",
        "other ms",
    ):
        table.add_column(heading, justify="right")
    tools = build.ensure(["helm"])
    with (
        tempfile.TemporaryDirectory(prefix="podnuma-bench-") as folder,
        ControlPlane() as plane,
        Kwok(plane),
    ):
        cluster = Cluster(plane, tools["helm"], Path(folder))
        for numa in chosen.numa:
            shared = rules(numa)
            search = OrderSearch(shared, chosen.nodes, budget)
            cluster.furnish(chosen.nodes, shared.topology, 96)
            totals = {(way, fill): Counts() for way in _WAYS for fill in chosen.fill}
            best = dict.fromkeys(chosen.fill, 0)
            for fill, seed in itertools.product(chosen.fill, range(chosen.seeds)):
                sizes = sequence(seed, fill, chosen.nodes)[: chosen.pods]
                for way in _WAYS[:: -1 if seed % 2 else 1]:
                    cluster.use(way)
                    counts = cluster.run(sizes)
                    totals[way, fill].add(counts)
                    console.print(
                        f"{numa} NUMA nodes, {fill:.0%}, sequence {seed}, {way}: {counts.placed:,} of "
                        f"{counts.offered:,} in {counts.seconds:.1f} s"
                    )
                if chosen.orders:
                    best[fill] += search.most(sizes, chosen.orders, seed)
            for fill in chosen.fill:
                table.add_row(str(numa), f"{fill:.0%}", *_cells(totals, fill, best[fill]))
            console.print(table)
            cluster.strip()
        cluster.close()
    return 0


def _cells(totals: dict[tuple[str, float], Counts], fill: float, best: int) -> list[str]:
    after, before = totals["AfterBinding", fill], totals["BeforeBinding", fill]
    refused = (f"{1000 * one.refused / one.offered:.0f}" for one in (after, before))
    share = (f"{one.placed:,}" + (f" ({one.placed / best:.1%})" if best else "") for one in (after, before))
    speed = (f"{one.offered / one.seconds:.0f}" for one in (after, before))
    requests = (f"{one.requests / max(1, one.placed):.1f}" for one in (after, before))
    memory = (f"{one.memory / 1e6:.0f}" for one in (after, before))
    operator = (f"{1000 * one.operator / one.offered:.1f}" for one in (after, before))
    others = (f"{1000 * one.others / one.offered:.0f}" for one in (after, before))
    return [
        f"{after.offered:,}",
        " | ".join(refused),
        " | ".join(share),
        f"{best:,}" if best else "-",
        " | ".join(speed),
        f"{(before.offered / before.seconds) / (after.offered / after.seconds):.2f}",
        *(" | ".join(pair) for pair in (requests, memory, operator, others)),
    ]


if __name__ == "__main__":
    sys.exit(main())
