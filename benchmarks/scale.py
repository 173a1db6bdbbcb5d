"""How the operator copes with a large cluster: `make bench-scale`.

A real API server with NODES nodes and PODS bound pods, of which MANAGED hold CPUs. There are no kubelets
and no agents: the bench reports each node's hardware once and its heartbeat once a minute. Measured and
printed next to the target:

    cold start     from the start of the process until it is ready with everything in memory
    memory         resident set of the operator after that, and its peak
    latency        from the answer to the request that binds a pod until a watch sees its PodAllocation,
                   at each RATE of new managed pods a second
    queue          latency of the last fifth of these pods by that of the first fifth: 1 where no queue grows
    requests       of the operator to the API server per new managed pod

API server, etcd, this bench and the operator share the machine, so the figures depend on its size.
This is not a test: the exit status says whether the run was complete.

With `--profile` the operator runs under a profiler, and its CPU time by part is printed instead; the
figures of such a run mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api.conditions import timestamp
from podnuma.api.hardware import Hardware
from podnuma.api.node_topology import AgentReport, render_agent_status
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import profiled
from testbed.api import Api, Json
from testbed.control_plane import ControlPlane
from testbed.installation import Installation
from testbed.kwok import node_manifest
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from testbed.program import Program

Value = TypeVar("Value")
CORES_PER_NODE = 32
HEARTBEAT = 60.0  # seconds between two of one node
GIB = 2**30
CLIENTS = 8
API_VERSION = "podnuma.dev/v1alpha1"
ALLOCATIONS = "/apis/podnuma.dev/v1alpha1/podallocations"
TOPOLOGIES = "/apis/podnuma.dev/v1alpha1/nodetopologies"
PROFILE: Json = {
    "apiVersion": API_VERSION,
    "kind": "NodeProfile",
    "metadata": {"name": "all"},
    "spec": {
        "nodeSelector": {"matchLabels": {"type": "kwok"}},
        "cpuManagerPolicy": "static",
        "memoryManagerPolicy": "Static",
        "topologyManagerPolicy": "best-effort",
        "topologyManagerScope": "pod",
        "reservedSystemCPUs": "0,64",
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "2Gi"}}],
    },
}


@dataclass(frozen=True, slots=True)
class Size:
    """How large the cluster is and how fast pods arrive in the second part."""

    nodes: int
    pods: int
    managed: int
    rates: tuple[int, ...]
    seconds: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Seconds from bound to decided in the order of binding; requests of the operator per pod, by kind."""

    latencies: list[float]
    by_kind: dict[str, float]

    @property
    def median(self) -> float:
        """The median of the latencies."""
        return statistics.median(self.latencies)

    @property
    def p99(self) -> float:
        """What 99 of 100 pods stay below."""
        return statistics.quantiles(self.latencies, n=100)[98]

    @property
    def growth(self) -> float:
        """How much longer the last fifth waited than the first: a queue that grows is far above 1."""
        part = max(1, len(self.latencies) // 5)
        first = statistics.median(self.latencies[:part])
        return statistics.median(self.latencies[-part:]) / max(first, 1e-6)

    @property
    def requests_per_pod(self) -> float:
        """Requests of all kinds."""
        return sum(self.by_kind.values())


@dataclass(slots=True)
class Figures:
    """What was measured, in seconds, bytes and requests."""

    cold_start: float = 0.0
    resident_at_start: int = 0
    resident: int = 0
    peak: int = 0
    arrivals: dict[int, Arrivals] = field(default_factory=dict)  # by pods a second


def machine() -> Topology:
    """128 CPUs: two sockets, one NUMA node each, 32 cores of two threads per node."""
    cores = 2 * CORES_PER_NODE
    cpus = [
        Cpu(
            thread * cores + core,
            core,
            core // CORES_PER_NODE,
            core // CORES_PER_NODE,
            core // CORES_PER_NODE,
        )
        for thread in range(2)
        for core in range(cores)
    ]
    nodes = [NumaNode(node, 256 * GIB, {}, (10, 21) if node == 0 else (21, 10)) for node in range(2)]
    return Topology.build(cpus, nodes)


def managed_pod(name: str, node: str) -> Json:
    """Return a pod of 4 CPUs: two exclusive ones, a sidecar and an exporter."""
    amounts = {"cpu": "4", "memory": "8Gi"}
    own = {"cpu": "2", "memory": "4Gi"}
    pod = _pod(name, node, ["main", "proxy", "exporter"])
    pod["spec"]["resources"] = {"requests": amounts, "limits": amounts}
    pod["spec"]["containers"][0]["resources"] = {"requests": own, "limits": own}
    return pod


def other_pod(name: str, node: str) -> Json:
    """Return a Burstable pod of two containers."""
    pod = _pod(name, node, ["app", "proxy"])
    for container in pod["spec"]["containers"]:
        container["resources"] = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    return pod


def _pod(name: str, node: str, containers: Iterable[str]) -> Json:
    """Return a pod of realistic size: about 6 KB with environment and probes."""
    environment = [{"name": f"SETTING_{index}", "value": "v" * 40} for index in range(20)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name.rpartition("-")[0], "tier": "backend"}},
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": container,
                    "image": f"registry.example/{container}:1.2.3",
                    "env": environment,
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 10},
                }
                for container in containers
            ],
        },
    }


class Bench:
    """One run: fill the cluster, measure the start, measure arrivals."""

    def __init__(
        self, cluster: ControlPlane, folder: Path, size: Size, console: Console, *, profile: bool
    ) -> None:
        self._cluster = cluster
        self._profile = folder / "profile" if profile else None
        self._folder = folder
        self._size = size
        self._console = console
        self._installation = Installation(cluster, folder)
        self._hardware = Hardware(machine())
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.figures = Figures()
        self.profiles: list[Path] = []

    def run(self) -> Figures:
        """Do everything; the operator is stopped afterwards."""
        self._installation.install()
        self._cluster.api.apply(PROFILE)
        nodes = [f"node-{index:04}" for index in range(self._size.nodes)]
        share = 2 * CORES_PER_NODE * 2
        self._each(
            "nodes", nodes, lambda name: self._api().create(node_manifest(name, cpus=share, memory=512 * GIB))
        )
        through = (sys.executable, "-m", "benchmarks.profiled", str(self._profile)) if self._profile else ()
        operator = self._installation.start_operator(through=through)
        self._report_hardware(nodes)
        with self._heartbeats(nodes):
            self._create_pods(nodes)
            self._wait_for_allocations(self._size.managed)
            # A clean stop, so that the Lease is released: what is measured next is a start, not a takeover.
            operator.terminate()
            self._measure_start(operator)
            self._take_profile(operator)
            for rate in self._size.rates:
                self._measure_arrivals(operator, nodes, rate)
            self._take_profile(operator)
        operator.stop()
        return self.figures

    # -- filling ------------------------------------------------------------------------------------

    def _api(self) -> Api:
        found: Api | None = getattr(self._local, "api", None)
        if found is None:
            found = Api(
                self._cluster.server, self._cluster.ca_file, certificate=self._cluster.admin_certificate
            )
            self._local.api = found
        return found

    def _each(self, what: str, values: list[Value], act: Callable[[Value], object]) -> None:
        with Progress(console=self._console, transient=True) as progress:
            task = progress.add_task(f"creating {what}", total=len(values))
            for _ in self._pool.map(act, values):
                progress.advance(task)
        self._console.print(f"created {len(values)} {what}")

    def _report_hardware(self, nodes: list[str]) -> None:
        def all_there() -> bool:
            return len(self._names(TOPOLOGIES)) >= len(nodes)

        until(all_there, "a NodeTopology for every node", 300, 1)
        self._each("hardware reports", nodes, self._report)

    def _report(self, node: str) -> None:
        """Write what the agent of a node writes, with a current heartbeat."""
        beat = AgentReport(mechanism="NRI", heartbeat_time=timestamp(datetime.now(UTC)))
        body = {
            "apiVersion": API_VERSION,
            "kind": "NodeTopology",
            "metadata": {"name": node},
            "status": render_agent_status(self._hardware, beat, []),
        }
        self._api().apply(body, manager="podnuma-agent", subresource="status")

    @contextmanager
    def _heartbeats(self, nodes: list[str]) -> Iterator[None]:
        """Renew every node's heartbeat once a minute."""
        stop = threading.Event()

        def beat() -> None:
            for node in itertools.cycle(nodes):
                if stop.wait(HEARTBEAT / len(nodes)):
                    return
                self._report(node)

        beating = threading.Thread(target=beat)
        beating.start()
        try:
            yield
        finally:
            stop.set()
            beating.join()

    def _create_pods(self, nodes: list[str]) -> None:
        size = self._size
        pods = [other_pod(f"web-{i}", nodes[i % len(nodes)]) for i in range(size.pods - size.managed)]
        pods += [managed_pod(f"db-{i}", nodes[i % len(nodes)]) for i in range(size.managed)]
        self._each("pods", pods, lambda pod: self._api().create(pod))

    def _wait_for_allocations(self, count: int) -> None:
        until(lambda: len(self._names(ALLOCATIONS)) >= count, f"{count} PodAllocations", 900, 2)

    def _names(self, path: str) -> list[str]:
        """List names only: the API server sends tables of metadata."""
        found: list[str] = []
        token = ""
        while True:
            page = self._cluster.api.get(path, limit="1000", **({"continue": token} if token else {}))
            found += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    # -- measuring ----------------------------------------------------------------------------------

    def _measure_start(self, operator: Program) -> None:
        began = time.monotonic()
        operator.start()
        operator.wait_ready(600)
        until(lambda: "podnuma_operator_leader 1.0" in operator.metrics(), "the operator to lead", 60)
        self.figures.cold_start = time.monotonic() - began
        self.figures.resident_at_start, self.figures.peak = memory_of(operator.process.pid)

    def _take_profile(self, operator: Program) -> None:
        if self._profile is not None:
            path = Path(f"{self._profile}.{len(self.profiles) + 1}")
            operator.process.signal(signal.SIGUSR1)
            until(path.exists, f"{path}", 60)
            self.profiles.append(path)

    def _measure_arrivals(self, operator: Program, nodes: list[str], rate: int) -> None:
        count = rate * self._size.seconds
        names = [f"new-{rate}-{index}" for index in range(count)]
        bound: dict[str, float] = {}
        seen: dict[str, float] = {}
        watching, done = threading.Event(), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(set(names), seen, watching, done))
        watcher.start()
        watching.wait()
        # Status writes that the previous operator had no time for come first.
        before = settled(lambda: requests_of(operator.metrics()))
        began = time.monotonic()

        def create(index: int) -> None:
            time.sleep(max(0.0, began + index / rate - time.monotonic()))
            name = names[index]
            self._api().create(managed_pod(name, nodes[index * 7 % len(nodes)]))
            bound[name] = time.monotonic()

        self._each(f"pods at {rate} a second", list(range(count)), create)
        if not done.wait(120):
            raise TimeoutError(f"only {len(seen)} of {count} pods were decided within 120 s")
        watcher.join()
        latencies = [
            max(0.0, seen[name] - bound[name]) for name in sorted(names, key=lambda name: bound[name])
        ]
        # Status writes of nodes and events follow within a few seconds; wait until there are no more.
        after = settled(lambda: requests_of(operator.metrics()))
        rose = {key: value - before.get(key, 0.0) for key, value in after.items()}
        by_kind = {key: value / count for key, value in rose.items() if value}
        self.figures.arrivals[rate] = Arrivals(latencies, by_kind)
        self.figures.resident, self.figures.peak = memory_of(operator.process.pid)

    def _watch(
        self, names: set[str], seen: dict[str, float], watching: threading.Event, done: threading.Event
    ) -> None:
        with Api(
            self._cluster.server, self._cluster.ca_file, certificate=self._cluster.admin_certificate
        ) as api:
            version = api.get(ALLOCATIONS, limit="1")["metadata"]["resourceVersion"]
            watching.set()
            for _, found in api.watch(ALLOCATIONS, timeout=600, resourceVersion=version):
                name = found["metadata"]["name"]
                if name in names:
                    seen.setdefault(name, time.monotonic())
                    if len(seen) == len(names):
                        done.set()
                        return


def measured(size: Size, console: Console) -> Figures:
    """Do a run on a control plane of its own."""
    with ControlPlane() as cluster, tempfile.TemporaryDirectory(prefix="podnuma-scale-") as folder:
        return Bench(cluster, Path(folder), size, console, profile=False).run()


def settled(
    read: Callable[[], dict[str, float]], quiet: float = 5.0, limit: float = 120.0
) -> dict[str, float]:
    """Return what `read` gives once it has not changed for `quiet` seconds."""
    deadline = time.monotonic() + limit
    last, since = read(), time.monotonic()
    while time.monotonic() - since < quiet and time.monotonic() < deadline:
        time.sleep(0.5)
        if (now := read()) != last:
            last, since = now, time.monotonic()
    return last


def requests_of(metrics: str) -> dict[str, float]:
    """Return `verb resource` -> requests so far, without the Lease, which does not depend on pods."""
    found: dict[str, float] = {}
    for labels, value in re.findall(r"^podnuma_api_requests_total\{(.*)\} (\S+)$", metrics, re.MULTILINE):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if named["resource"] != "leases":
            key = f"{named['verb']} {named['resource']}"
            found[key] = found.get(key, 0.0) + float(value)
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """Return resident and peak resident bytes of a process (proc(5), status)."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident, peak = (int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) for key in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return resident * 1024, peak * 1024


def processor_seconds_of(pid: int) -> float:
    """Return the processor time that a process has used so far (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(size: Size, figures: Figures) -> Table:
    """Put figures next to targets."""
    found = Table(title=f"{size.nodes} nodes, {size.pods} pods, {size.managed} of them managed")
    for heading in ("figure", "measured", "aim"):
        found.add_column(heading, justify="left" if heading == "figure" else "right")
    for row in (
        ("cold start until ready", f"{figures.cold_start:.1f} s", "< 60 s"),
        ("resident memory", f"{figures.resident / 1e6:.0f} MB", "< 500 MB"),
        ("peak memory", f"{figures.peak / 1e6:.0f} MB", ""),
    ):
        found.add_row(*row)
    for rate, seen in figures.arrivals.items():
        for row in (
            (f"bind to PodAllocation, median, {rate} pods/s", f"{seen.median * 1000:.0f} ms", ""),
            (f"bind to PodAllocation, p99, {rate} pods/s", f"{seen.p99 * 1000:.0f} ms", "< 500 ms"),
            ("    last fifth by first fifth", f"{seen.growth:.1f}", "about 1"),
            ("API requests per managed pod", f"{seen.requests_per_pod:.2f}", "<= 4"),
            *((f"    {kind}", f"{value:.2f}", "") for kind, value in sorted(seen.by_kind.items())),
        ):
            found.add_row(*row)
    return found


def profile_table(size: Size, profiles: Iterable[Path]) -> Table:
    """Show where CPU time goes, per pod listed at the start and per pod that arrives."""
    start, arrivals = (profiled.shares(path) for path in profiles)
    found = Table(title="processor time of the operator, under a profiler")
    for heading in ("part", "start, per 1,000 pods", "share", "per pod that arrives", "share"):
        found.add_column(heading, justify="left" if heading == "part" else "right")
    listed, arrived = size.pods / 1000, sum(size.rates) * size.seconds
    for part in sorted(start.keys() | arrivals.keys(), key=lambda part: -arrivals.get(part, 0.0)):
        first, later = start.get(part, 0.0), arrivals.get(part, 0.0)
        found.add_row(
            part,
            f"{1000 * first / listed:.1f} ms",
            f"{100 * first / sum(start.values()):.0f} %",
            f"{1000 * later / arrived:.2f} ms",
            f"{100 * later / sum(arrivals.values()):.0f} %",
        )
    return found


def main() -> int:
    """Run the bench and print the table."""
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=30_000, help="bound pods in all")
    parser.add_argument("--managed", type=int, default=3000, help="how many of them hold CPUs")
    parser.add_argument(
        "--rate", dest="rates", type=int, nargs="+", default=(50,), help="new managed pods a second, in turn"
    )
    parser.add_argument("--seconds", type=int, default=20, help="how long they arrive")
    parser.add_argument("--profile", action="store_true", help="show where the operator's time goes")
    chosen = vars(parser.parse_args())
    profile = chosen.pop("profile")
    size = Size(**{**chosen, "rates": tuple(chosen["rates"])})
    console = Console(stderr=True)
    if not profile:
        Console().print(table(size, measured(size, console)))
        return 0
    with ControlPlane() as cluster, tempfile.TemporaryDirectory(prefix="podnuma-scale-") as folder:
        bench = Bench(cluster, Path(folder), size, console, profile=True)
        bench.run()
        Console(width=120).print(profile_table(size, bench.profiles))
        for path in bench.profiles:
            for function, seconds in profiled.most_expensive(path, 12):
                console.print(f"{seconds:8.3f} s  {function}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
