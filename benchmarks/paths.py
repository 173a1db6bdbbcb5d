"""What each hot path costs, in microseconds of CPU time: `python -m benchmarks.paths`.

Nothing waits and nothing goes over a network; `benchmarks.scale` measures requests.
The agent's paths run on a fake cgroup tree with 17 pods of three containers, each pod on two CPUs of its own.
Its cgroups have the files that the kernel's have, and each container a process, which may run on all of them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
import json
import random
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.discover.machine import Discovered
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CpuMax
from podnuma.agent.model.containers import Container, RuntimeDescription, StartingContainer
from podnuma.agent.plan.write_order import order_writes
from podnuma.agent.status.metrics import AdmissionCounts
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.reporter import StatusReporter
from podnuma.allocator import Admitted, cpuset
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import Qos
from podnuma.api.node_profile import read_node_profile
from podnuma.api.pod_allocation import Decision, SentSpec, numa_nodes, render_pod_allocation
from podnuma.operator.cache import decode
from podnuma.operator.cache.cluster import ClusterCache
from rich.console import Console
from rich.table import Table

from benchmarks import scale
from tests.unit.agent.conftest import Bench, container_grant, pod_grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podnuma.allocator import PodRequest

SECONDS = 1.0
PODS = 17
CPUS = "0-63"
KERNEL_FILES = {
    "cgroup.events": "populated 1\nfrozen 0",
    "cpu.stat": "usage_usec 9\nuser_usec 8\nsystem_usec 1\nnr_periods 200\nnr_throttled 9\nthrottled_usec 7",
    **{f"hugetlb.{size}.{kind}max": "max" for size in ("2MB", "1GB") for kind in ("", "rsvd.")},
}
STRANGERS = 2000  # more requests than the allocator remembers
FOLLOWERS = 110  # the kubelet's default maximum of pods per node


def micros(act: Callable[[], object]) -> float:
    """Return microseconds of CPU time per call."""
    act()
    calls, took, batch = 0, 0.0, 1
    while took < SECONDS:
        start = time.process_time()
        for _ in range(batch):
            act()
        took += time.process_time() - start
        calls += batch
        batch = min(2 * batch, 1000)
    return 1e6 * took / calls


def stored(pod: Any, qos: str) -> Any:
    """Return a bound pod as the API server stores it."""
    metadata = {**pod["metadata"], "namespace": "default", "uid": f"u-{qos}", "resourceVersion": "7"}
    return {**pod, "metadata": metadata, "status": {"phase": "Pending", "qosClass": qos}}


def unlike(request: PodRequest) -> PodRequest:
    """Return an equal request that the allocator cannot know: it has other objects."""
    return dataclasses.replace(request, containers=(*request.containers,))


def operator() -> Iterator[tuple[str, float]]:
    """From an event to the object that is written."""
    other = json.dumps(stored(scale.other_pod("web-1", "n1"), "Burstable"))
    managed = json.dumps(stored(scale.managed_pod("db-1", "n1"), "Guaranteed"))
    yield "JSON of one pod to Python", micros(lambda: json.loads(other))
    burstable, guaranteed = json.loads(other), json.loads(managed)
    yield "event of a pod that can hold nothing", micros(lambda: decode.decode_pod(burstable))
    yield "event of a pod that may hold something", micros(lambda: decode.decode_pod(guaranteed))
    record = decode.decode_pod(guaranteed)
    if record is None or record.request is None:
        raise RuntimeError(f"the pod of the bench cannot be read: {record}")
    cache = ClusterCache()
    yield "its record taken in, nothing new", micros(lambda: cache.update(record))
    request = record.request
    settings = read_node_profile(scale.PROFILE).node.managers
    node = NodeAllocator.empty(settings, scale.machine())
    answer = node.decide(request)
    if not isinstance(answer, Admitted):
        raise TypeError(f"the pod of the bench does not fit: {answer}")
    yield "admission, 128 CPUs", micros(lambda: node.decide(request))
    strangers = itertools.cycle([unlike(request) for _ in range(STRANGERS)])
    yield "first admission, 128 CPUs", micros(lambda: node.decide(next(strangers)))
    grant, decision = answer.grant, Decision.of(answer)
    numa = numa_nodes(grant, node.topology)

    def rendered() -> Any:
        return render_pod_allocation(grant, "n1", decision, "", numa)

    yield "PodAllocation from the grant", micros(rendered)
    body = json.loads(json.dumps(rendered()))
    body["metadata"] |= {"uid": "a", "resourceVersion": "8", "generation": 1}
    sent = SentSpec(rendered()["spec"], grant)
    yield "PodAllocation read back", micros(lambda: decode.decode_allocation(body, sent))


class StillBench(Bench):
    """A bench whose kernel has nothing to work out between passes, so that only the agent is measured."""

    def add_files(self, folder: PurePosixPath) -> None:
        """Give a cgroup the files that a kernel's has beyond those of the fake one."""
        for name, text in KERNEL_FILES.items():
            (self.root / folder / name).write_text(f"{text}\n")

    def let_run(self, cgroup: ContainerCgroup, pid: int) -> None:
        """Let a process that never bound itself run in a container."""
        self.put(cgroup, "cgroup.procs", str(pid))
        cpus = self.effective(cgroup)
        if hasattr(self, "affinities"):
            self.affinities[pid] = cpuset.parse(cpus)
        else:  # builds that read /proc
            folder = self.root / "proc" / str(pid)
            folder.mkdir(parents=True, exist_ok=True)
            status = Path("/proc/self/status").read_text().replace("Cpus_allowed_list", "Before")
            (folder / "status").write_text(f"{status}Cpus_allowed_list:\t{cpus}\n")

    async def containers(self) -> tuple[Container, ...]:
        return tuple(self.running.values())


@contextmanager
def running(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[StillBench, list[ContainerCgroup]]]:
    """Return an agent after its first pass, and its containers."""
    with tempfile.TemporaryDirectory(prefix="podnuma-paths-") as folder:
        bench = StillBench(Path(folder), CPUS)
        bench.settings()
        cgroups: list[ContainerCgroup] = []
        for number in range(PODS):
            own = f"{2 * number + 1}-{2 * number + 2}"
            containers = [container_grant(name, own, 300_000) for name in ("app", "log", "mesh")]
            bench.grant(pod_grant(f"p{number}", *containers, cpus=own, quota=300_000))
            pod = bench.pod(f"p{number}")
            cgroups += [bench.start(pod, name) for name in ("app", "log", "mesh")]
        for cgroup in dict.fromkeys(above for each in cgroups for above in (each.pod, each)):
            bench.add_files(bench.layout.folder(cgroup))
        bench.add_files(bench.layout.kubepods)
        for _ in range(2):
            loop.run_until_complete(bench.reconciler.run_pass())
            bench.kernel.settle(bench.layout.kubepods)
            for pid, cgroup in enumerate(cgroups, start=1000):
                bench.let_run(cgroup, pid)
        yield bench, cgroups


def reporting(bench: Bench) -> StatusReporter:
    """Return what reports on the passes of an agent, to a writer that writes nothing."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    writer = StatusWriter(lambda _, body: body, rng=random.Random(1))
    node = NodeStatus(
        AgentIdentity("node", "0.1", "boot"), bench.desired, writer, clock=lambda: now, heartbeat=60
    )
    node.discovered(Discovered(bench.machine, ()))
    node.backend("systemd", lambda: RuntimeDescription("Fake", "fake 1"))
    return StatusReporter(bench.desired, writer, node, AdmissionCounts(), lambda: now)


def agent() -> Iterator[tuple[str, float]]:
    """Let a container start, then let nothing happen."""
    loop = asyncio.new_event_loop()
    with running(loop) as (bench, cgroups):
        hook = bench.hook
        starting = StartingContainer(cgroups[0], "default", {}, CpuMax(300_000, 100_000))

        def ask(count: int = 200) -> None:
            async def many() -> None:
                for _ in range(count):
                    await hook.start(starting, 0.8)

            loop.run_until_complete(many())

        yield "start of a container, decided, nobody in the way", micros(ask) / 200
        yield (
            f"a pass over {len(cgroups)} containers, nothing to do",
            micros(lambda: loop.run_until_complete(bench.reconciler.run_pass())),
        )
        reporter = reporting(bench)

        def report() -> None:
            loop.run_until_complete(reporter.report(bench.reconciler.snapshot, bench.reconciler.verdicts))

        yield f"statuses of {PODS} pods and the node after it, all as before", micros(report)
    loop.close()
    yield f"order of the writes when {FOLLOWERS} pods leave the CPUs of a new one", micros(leaving())


def leaving() -> Callable[[], object]:
    """Return what orders the writes of a node whose pods, all Guaranteed, run in the shared pool."""
    everything, left, own = (cpuset.parse(text) for text in ("0-127", "0-3,8-127", "4-7"))
    seen: dict[CgroupRef, CgroupValues] = {}
    targets: dict[CgroupRef, CgroupTarget] = {}
    for number in range(FOLLOWERS):
        pod = PodCgroup(f"pod-{number}", Qos.GUARANTEED)
        for cgroup in (
            pod,
            ContainerCgroup(pod, "app", f"{number}-app"),
            ContainerCgroup(pod, "log", f"{number}-log"),
        ):
            seen[cgroup], targets[cgroup] = CgroupValues(everything), CgroupTarget(left)
    new = ContainerCgroup(PodCgroup("new", Qos.GUARANTEED), "app", "new-app")
    seen[new], targets[new] = CgroupValues(None), CgroupTarget(own)
    return lambda: order_writes(seen, targets, pool=left, everything=everything)


def main() -> int:
    """Measure and print."""
    table = Table(title="processor time, one thread")
    table.add_column("path")
    table.add_column("µs", justify="right")
    for part, paths in (("operator", operator()), ("agent", agent())):
        for path, cost in paths:
            table.add_row(f"{part}: {path}", f"{cost:,.1f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
