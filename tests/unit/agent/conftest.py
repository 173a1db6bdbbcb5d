"""A bench: the D16 machine (8 cores, siblings n and n+8, two sockets that are NUMA nodes) as a fake cgroup
tree, a runtime that lists what the test started, and a reconciler over both."""

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.hugetlb import HugetlbLimits
from podnuma.agent.cgroups.writers.refusals import WriteRefused
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile.apply import WriteResult
from podnuma.agent.reconcile.processes import Processes
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdict
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.start.gate import StartGate
from podnuma.agent.start.hook import StartHook
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import ContainerGrant, Isolation, PodGrant
from podnuma.allocator.manager_settings import CpuManagerPolicy, ManagerSettings, TopologyManagerScope
from podnuma.allocator.request import ContainerKind, Qos
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api.node_settings import Mode, NodeSettings, OnUndecided, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod_allocation import Decision, render_pod_allocation

PERIOD = 100_000

ADMITTED = Decision(admitted=True)


def machine(cpus: str = "0-15", offline: str = "") -> Machine:
    online = [
        Cpu(id=cpu, core=cpu % 8, socket=cpu % 8 // 4, node=cpu % 8 // 4)
        for cpu in cpuset.ids(cpuset.parse(cpus))
    ]
    nodes = [NumaNode(0, 32 * 2**30, distances=(10, 21)), NumaNode(1, 32 * 2**30, distances=(21, 10))]
    return Machine(Topology.build(online, nodes, offline=cpuset.parse(offline)))


def container_grant(name: str, cpus: str | None = None, quota: int = -1, mems: str | None = None, **more):
    exclusive = cpus is not None and quota < 0
    kind = AssignmentType.POD_EXCLUSIVE if exclusive else AssignmentType.POD_SHARED
    return dataclasses.replace(
        ContainerGrant(
            name=name,
            kind=ContainerKind.APP,
            cpu_assignment=kind if cpus else AssignmentType.NODE_SHARED,
            memory_assignment=AssignmentType.NODE_SHARED,
            isolation=Isolation.CONTAINER if exclusive else Isolation.POD,
            cpus=cpuset.parse(cpus) if cpus else None,
            memory_nodes=nodeset.parse(mems) if mems else None,
            memory=(),
            cpu_quota=quota,
            cpu_period=PERIOD,
            memory_limit=None,
            cpu_shares=1024,
        ),
        **more,
    )


def pod_grant(uid: str, *containers: ContainerGrant, cpus: str | None = None, quota: int = -1) -> PodGrant:
    return PodGrant(
        uid=uid,
        namespace="default",
        name=uid,
        scope=TopologyManagerScope.POD,
        pod_level=cpus is not None,
        cpus=cpuset.parse(cpus) if cpus else None,
        memory=(),
        containers=containers,
        pod_quota=quota,
        pod_shares=1024,
    )


class Observer:
    """Counts what a reconciler tells."""

    def __init__(self) -> None:
        self.writes: list[WriteResult] = []
        self.repairs: list[CgroupRef] = []
        self.verdicts: list[PinVerdict] = []
        self.huge_pages_restored = 0

    def wrote(self, result: WriteResult) -> None:
        self.writes.append(result)

    def repaired(self, cgroup: CgroupRef) -> None:
        self.repairs.append(cgroup)

    def judged(self, judged: PinVerdict) -> None:
        self.verdicts.append(judged)

    def restored_huge_pages(self) -> None:
        self.huge_pages_restored += 1

    def took(self, seconds: float) -> None:
        assert seconds >= 0


class FakeWays:
    """Writes the tree as the kernel would take it; `refuse` may raise first."""

    name = "fake"
    piggybacks = False

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self.refuse: Callable[[CgroupWrite], None] = lambda _: None
        self.written: list[CgroupWrite] = []

    def takes(self, cgroup: CgroupRef) -> bool:
        del cgroup
        return True

    async def write(self, write: CgroupWrite) -> None:
        self.refuse(write)
        self.written.append(write)
        self._bench.writer.write(write)
        self._bench.kernel.settle(self._bench.layout.kubepods)


class Bench:
    """See the module. Everything is plain and can be changed by a test."""

    def __init__(self, root: Path, cpus: str = "0-15") -> None:
        self.root = root
        self.layout = CgroupLayout(CgroupDriver.SYSTEMD)
        self.machine = machine(cpus)
        self.kernel = FakeKernel(root, cpus, "0-1")
        for qos in Qos:
            self.kernel.make(self.layout.qos(qos))
        self.writer = CgroupfsWriter(root, self.layout)
        self.reader = CgroupReader(root, self.layout)
        self.running: dict[str, Container] = {}
        self.affinities: dict[int, CpuSet] = {}
        self.pause_reason: str | None = None
        self.changes = 0
        self.desired = DesiredState(self._change)
        self.ways = FakeWays(self)
        self.observer = Observer()
        self.now = 1000.0
        self.reconciler = Reconciler(
            desired=self.desired,
            reader=self.reader,
            runtime=self,
            mechanisms=(self.ways,),
            huge_pages=HugetlbLimits(self.reader),
            machine=self._machine,
            pause_reason=lambda _: self.pause_reason,
            processes=Processes(self.affinities.get),
            observer=self.observer,
            movable_bytes=64 * 2**20,
            now=lambda: self.now,
        )
        self.desired.take_allocations(Listed(()))
        self.desired.take_topology(Listed(()))
        self.settings(policy=CpuManagerPolicy.NONE)

    async def _machine(self) -> Machine:
        return self.machine

    @property
    def hook(self) -> StartHook:
        """The hook over the reconciler of now."""
        return StartHook(StartGate(self.desired, lambda _: None), self.reconciler)

    def _change(self) -> None:
        self.changes += 1

    # the runtime's side

    @property
    def name(self) -> str:
        return "fake"

    async def containers(self) -> tuple[Container, ...]:
        self.kernel.settle(self.layout.kubepods)
        return tuple(self.running.values())

    def pod(self, uid: str, qos: Qos = Qos.GUARANTEED) -> PodCgroup:
        cgroup = PodCgroup(uid, qos)
        self.kernel.make(self.layout.pod(cgroup))
        return cgroup

    def start(
        self, pod: PodCgroup, name: str, cpu_max: str = "max 100000", number: int = 1
    ) -> ContainerCgroup:
        container_id = "".join(filter(str.isalnum, f"{pod.uid}x{name}x{number}")).ljust(24, "0")
        cgroup = ContainerCgroup(pod, name, container_id)
        self.kernel.make(self.layout.folder(cgroup))
        self.put(cgroup, "cpu.max", cpu_max)
        self.running[cgroup.id] = Container(pod.uid, "default", pod.uid, name, cgroup.id, self.now)
        return cgroup

    def stop(self, cgroup: ContainerCgroup) -> None:
        del self.running[cgroup.id]
        self.kernel.remove(self.layout.folder(cgroup))

    # the API server's side

    def grant(self, grant: PodGrant, generation: int = 1, said: Decision = ADMITTED) -> None:
        item = render_pod_allocation(grant, "node", said)
        item["metadata"] |= {"uid": f"pa-{grant.uid}", "generation": generation}
        self.desired.take_allocations(Changed(WatchEventType.ADDED, item))

    def delete(self, grant: PodGrant) -> None:
        """Let the allocation be one that is being deleted and is still held by a finalizer."""
        item = render_pod_allocation(grant, "node", Decision(admitted=True))
        item["metadata"] |= {
            "uid": f"pa-{grant.uid}",
            "generation": 2,
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["podnuma.dev/cgroup"],
        }
        self.desired.take_allocations(Changed(WatchEventType.MODIFIED, item))

    def release(self, grant: PodGrant) -> None:
        item = {"metadata": {"namespace": grant.namespace, "name": grant.name}}
        self.desired.take_allocations(Changed(WatchEventType.DELETED, item))

    def settings(
        self,
        reserved: str | None = None,
        mode: Mode = Mode.ENFORCE,
        policy: CpuManagerPolicy = CpuManagerPolicy.STATIC,
        on_undecided: OnUndecided = OnUndecided.WAIT,
        **more,
    ) -> None:
        rules = ManagerSettings(
            cpu_manager_policy=policy,
            reserved_system_cpus=cpuset.parse(reserved) if reserved else None,
            **more,
        )
        body = render_node_topology(
            "node", NodeSettings(rules, PodPolicy(mode=mode, on_undecided=on_undecided)), None
        )
        body["metadata"] |= {"uid": "nt", "generation": 1}
        self.desired.take_topology(Changed(WatchEventType.ADDED, body))

    # looking

    def run_pass(self) -> NodeSnapshot:
        return asyncio.run(self.reconciler.run_pass())

    def file(self, cgroup: CgroupRef, name: str) -> str:
        return (self.root / self.layout.folder(cgroup) / name).read_text().strip()

    def put(self, cgroup: CgroupRef, name: str, text: str) -> None:
        (self.root / self.layout.folder(cgroup) / name).write_text(f"{text}\n")

    def cpus(self, cgroup: CgroupRef) -> str:
        return self.file(cgroup, "cpuset.cpus")

    def effective(self, cgroup: CgroupRef) -> str:
        return self.file(cgroup, "cpuset.cpus.effective")


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def switch(bench) -> Callable[[str], None]:
    """Return a function that lets just these CPUs of the bench be online."""

    def online(cpus: str) -> None:
        offline = cpuset.render(CpuSet(cpuset.parse("0-15") & ~cpuset.parse(cpus)))
        bench.machine = machine(cpus, offline)
        bench.kernel = dataclasses.replace(bench.kernel, cpus=cpus)
        bench.kernel.settle(PurePosixPath())

    return online


@pytest.fixture(scope="session")
def bench_class() -> type[Bench]:
    """For tests that need a new bench per example."""
    return Bench


BURSTABLE = QosCgroup(Qos.BURSTABLE)
BEST_EFFORT = QosCgroup(Qos.BEST_EFFORT)


class Words:
    """Short words for tests, handed over as a fixture."""

    burstable = BURSTABLE
    best_effort = BEST_EFFORT
    period = PERIOD
    machine = staticmethod(machine)
    container = staticmethod(container_grant)
    pod = staticmethod(pod_grant)
    refused = WriteRefused

    @staticmethod
    def cpus(text: str) -> CpuSet:
        return cpuset.parse(text)

    @staticmethod
    def values(cpus: str | None = None, **more) -> CgroupValues:
        return CgroupValues(cpuset.parse(cpus) if cpus else None, **more)

    @staticmethod
    def cpu_max(text: str) -> CpuMax:
        quota, period = text.split()
        return CpuMax(None if quota == "max" else int(quota), int(period))


@pytest.fixture(scope="session")
def words() -> Words:
    return Words()


@pytest.fixture
def reached():
    """Wait until a fact holds, five seconds at the longest."""

    async def wait(fact: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not fact():  # noqa: ASYNC110 - facts of many kinds, and a deadline
                await asyncio.sleep(0.005)

    return wait
