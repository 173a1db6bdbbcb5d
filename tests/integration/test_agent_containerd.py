"""The agent on a real containerd: what reaches the low-level runtime, by NRI and by CRI.

The kernel is played by files: whatever the low-level runtime is told becomes the value of a fake cgroup.
No API server: decisions are handed to the agent as if they had been watched.
"""

import asyncio
import contextlib
import json
import tempfile
import threading
from dataclasses import replace
from pathlib import Path, PurePosixPath

import grpc
import pytest
from podnuma.agent import app
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.allocator import cpuset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import ContainerGrant, Isolation, PodGrant
from podnuma.allocator.manager_settings import CpuManagerPolicy, ManagerSettings, TopologyManagerScope
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import ContainerKind, Qos
from podnuma.api.node_settings import NodeSettings, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod_allocation import Decision, render_pod_allocation
from podnuma.api.pod_allocation_status import Verdict

from testbed import machines
from testbed.containerd.daemon import Containerd
from testbed.containerd.pods import Pod, Pods

MACHINE = "laptop-hybrid-6p8e"  # 20 CPUs
TWO_CPUS = {1: 100_000, 2: 200_000, 3: 2048}  # period, quota, shares of a LinuxContainerResources


class Shadow:
    """A thread that makes cgroups of what the low-level runtime is told, and settles the tree."""

    def __init__(self, runtime: Containerd, kernel: FakeKernel) -> None:
        self._lines = runtime.folder / "settings.jsonl"
        self._kernel = kernel
        self._folders: dict[str, PurePosixPath] = {}
        self._read = len(self._lines.read_text().splitlines())  # of the tests before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            lines = self._lines.read_text().splitlines()
            for entry in map(json.loads, lines[self._read :]):
                if entry["call"] == "create" or entry["id"] in self._folders:
                    self._take(entry)
            self._read = len(lines)
            self._kernel.settle(PurePosixPath("kubepods"))

    def _take(self, entry) -> None:
        cpu = entry["resources"].get("cpu", {})
        if entry["call"] == "update":
            self._write(self._kernel.root / self._folders[entry["id"]], cpu)
            return
        folder = self._folders[entry["id"]] = PurePosixPath(entry["cgroupsPath"].strip("/"))
        # A container is never seen without its values: the kernel has them before the first process.
        staging = PurePosixPath("staging") / entry["id"]
        self._kernel.make(staging)
        self._write(self._kernel.root / staging, cpu)
        self._kernel.settle(PurePosixPath("staging"))
        (self._kernel.root / staging).rename(self._kernel.root / folder)

    @staticmethod
    def _write(folder: Path, cpu) -> None:
        for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
            if cpu.get(key):
                (folder / file).write_text(f"{cpu[key]}\n")
        if "quota" in cpu:
            quota = cpu["quota"] if cpu["quota"] > 0 else "max"
            (folder / "cpu.max").write_text(f"{quota} {cpu.get('period', 100_000)}\n")


class Site:
    """A node with a running agent."""

    def __init__(self, runtime: Containerd, folder: Path) -> None:
        self.runtime = runtime
        self.folder = folder
        # Of the runtime, as pods are, which outlive a test.
        self.kubelet_root = runtime.folder / "kubelet"
        self.layout = CgroupLayout(CgroupDriver.CGROUPFS)
        self.kernel = FakeKernel(folder / "cgroup", "0-19", "0")
        for qos in Qos:
            self.kernel.make(self.layout.qos(qos))
        machines.write_sysfs(machines.load(MACHINE), folder / "sys")
        self.run: app.Running | None = None

    @property
    def agent(self):
        assert self.run is not None
        assert self.run.agent is not None
        return self.run.agent

    @contextlib.asynccontextmanager
    async def running(self, kind: Runtime):
        settings = AgentSettings(
            node_name="node",
            kubeconfig=self.folder / "nowhere",
            sys_root=self.folder / "sys",
            proc_root=self.folder / "proc",
            cgroup_root=self.folder / "cgroup",
            kubelet_root=self.kubelet_root,
            run_root=self.folder / "run",
            nri_socket=self.runtime.nri_socket,
            cri_socket=self.runtime.socket,
            runtime=kind,
            metrics_port=None,
            check_seconds=0.1,
        )
        async with app.running(settings) as self.run:
            await self.until(lambda: self.run.agent is not None)
            rules = ManagerSettings(
                cpu_manager_policy=CpuManagerPolicy.STATIC, reserved_system_cpus=cpuset.parse("0-1")
            )
            body = render_node_topology("node", NodeSettings(rules, PodPolicy()), None)
            body["metadata"] |= {"uid": "nt", "generation": 1}
            self.agent.reconciler.desired.take_topology(Changed(WatchEventType.ADDED, body))
            self.agent.reconciler.desired.take_allocations(Listed(()))
            await self.until(lambda: self.agent._trouble is None, 30)
            yield self

    async def until(self, fact, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not fact():  # noqa: ASYNC110 - facts of many kinds, and a deadline
                await asyncio.sleep(0.01)

    async def call(self, method, *arguments):
        def in_thread():
            with Pods(self.runtime.socket) as pods:
                return method(pods, *arguments)

        return await asyncio.to_thread(in_thread)

    async def pod(self, uid: str, qos: Qos = Qos.GUARANTEED) -> tuple[Pod, str]:
        """Run a pod as the kubelet does: its folder and its cgroup first, then its sandbox."""
        (self.kubelet_root / "pods" / uid).mkdir(parents=True)
        folder = self.layout.pod(PodCgroup(uid, qos))
        self.kernel.make(folder)
        pod = Pod(uid, "shop", uid, f"/{folder}")
        return pod, await self.call(Pods.run, pod)

    async def container(self, pod: Pod, sandbox: str, name: str, resources=TWO_CPUS):
        container = await self.call(Pods.create, sandbox, pod, name, resources)
        await self.call(Pods.start, container)
        return container

    def decide(self, grant: PodGrant) -> None:
        item = render_pod_allocation(grant, "node", Decision(admitted=True))
        item["metadata"] |= {"uid": f"pa-{grant.uid}", "generation": 1}
        self.agent.reconciler.desired.take_allocations(Changed(WatchEventType.ADDED, item))

    def told(self, container: str) -> list[dict[str, object]]:
        """Return the CPU resources that the low-level runtime was told for a container, in order."""
        return [entry["resources"].get("cpu", {}) for entry in self.runtime.settings(container)]

    def verdict(self, container: str):
        return self.agent.reconciler.verdicts.of(container).verdict


def grant(uid: str, name: str = "db", cpus: str = "2-3") -> PodGrant:
    container = ContainerGrant(
        name=name,
        kind=ContainerKind.APP,
        cpu_assignment=AssignmentType.POD_EXCLUSIVE,
        memory_assignment=AssignmentType.NODE_SHARED,
        isolation=Isolation.CONTAINER,
        cpus=cpuset.parse(cpus),
        memory_nodes=NodeSet(1),
        memory=(),
        cpu_quota=-1,
        cpu_period=100_000,
        memory_limit=None,
        cpu_shares=2048,
    )
    return PodGrant(
        uid=uid,
        namespace="shop",
        name=uid,
        scope=TopologyManagerScope.POD,
        pod_level=True,
        cpus=cpuset.parse(cpus),
        memory=(),
        containers=(container,),
        pod_quota=-1,
        pod_shares=2048,
    )


@pytest.fixture(scope="module")
def containerd():
    with (
        tempfile.TemporaryDirectory(prefix="pn-") as folder,
        Containerd(Path(folder), systemd_cgroup=False) as runtime,
    ):
        yield runtime


@pytest.fixture
def site(containerd, tmp_path):
    site = Site(containerd, tmp_path)
    with Shadow(containerd, site.kernel):
        yield site


async def test_a_decided_container_has_its_values_before_it_exists(site):
    async with site.running(Runtime.AUTO):
        site.decide(grant("u-start"))
        pod, sandbox = await site.pod("u-start")
        db = await site.container(pod, sandbox, "db")
        first = site.told(db)[0]
        assert (first["cpus"], first["mems"], first["quota"]) == ("2-3", "0", 0)
        await site.until(lambda: site.verdict(db) is Verdict.PINNED_AT_START)
        pool = (site.folder / "cgroup/kubepods/burstable/cpuset.cpus").read_text().strip()
        assert pool == "0-1,4-19"
        assert site.agent.node_status._describe().mechanism == "NRI"


async def test_an_undecided_container_is_refused_and_starts_once_it_is_decided(site):
    async with site.running(Runtime.AUTO):
        pod, sandbox = await site.pod("u-wait")
        with pytest.raises(grpc.RpcError) as caught:
            await site.container(pod, sandbox, "db")
        assert "pod u-wait has no PodAllocation" in caught.value.details()
        site.decide(grant("u-wait", cpus="4-5"))
        db = await site.container(pod, sandbox, "db")
        assert site.told(db)[0]["cpus"] == "4-5"


async def test_other_classes_are_not_touched(site):
    async with site.running(Runtime.AUTO):
        pod, sandbox = await site.pod("u-burst", Qos.BURSTABLE)
        web = await site.container(pod, sandbox, "web")
        assert "cpus" not in site.told(web)[0]
        assert site.told(web)[0]["quota"] == 200_000


async def test_a_container_that_runs_already_is_pinned_late(site):
    pod, sandbox = await site.pod("u-late")
    db = await site.container(pod, sandbox, "db")
    assert "cpus" not in site.told(db)[0]
    async with site.running(Runtime.NRI):
        site.decide(grant("u-late", cpus="6-7"))
        await site.until(lambda: site.verdict(db) is Verdict.PINNED_LATE)
        assert site.told(db)[-1]["cpus"] == "6-7"
        assert site.told(db)[-1]["quota"] == -1


async def test_without_nri_values_go_through_cri(site):
    pod, sandbox = await site.pod("u-cri")
    db = await site.container(pod, sandbox, "db")
    async with site.running(Runtime.CRI):
        site.decide(grant("u-cri", cpus="8-9"))
        await site.until(lambda: site.verdict(db) is Verdict.PINNED_LATE)
        assert site.told(db)[-1]["cpus"] == "8-9"
        assert site.agent.node_status._describe().mechanism == "CRI"


async def test_a_resize_by_the_kubelet_does_not_unpin(site):
    async with site.running(Runtime.AUTO):
        site.decide(grant("u-resize", cpus="10-11"))
        pod, sandbox = await site.pod("u-resize")
        db = await site.container(pod, sandbox, "db")
        await site.call(Pods.update, db, {1: 100_000, 2: 150_000})
        assert (site.told(db)[-1]["cpus"], site.told(db)[-1]["quota"]) == ("10-11", -1)


async def test_a_new_instance_of_a_container_gets_the_same_cpus(site):
    async with site.running(Runtime.AUTO):
        site.decide(grant("u-again", cpus="12-13"))
        pod, sandbox = await site.pod("u-again")
        first = await site.container(pod, sandbox, "db")
        await site.until(lambda: site.verdict(first) is Verdict.PINNED_AT_START)
        await asyncio.to_thread(site.runtime.end, first)
        await site.call(Pods.remove, first)
        second = await site.container(pod, sandbox, "db")
        assert site.told(second)[0]["cpus"] == "12-13"
        await site.until(lambda: site.verdict(second) is Verdict.PINNED_AT_START)
        pool = (site.folder / "cgroup/kubepods/burstable/cpuset.cpus").read_text().strip()
        assert pool == "0-11,14-19"


async def test_a_runtime_restart_loses_nothing(site):
    async with site.running(Runtime.AUTO):
        site.decide(grant("u-restart", cpus="14-15"))
        pod, sandbox = await site.pod("u-restart")
        db = await site.container(pod, sandbox, "db")
        await site.until(lambda: site.verdict(db) is Verdict.PINNED_AT_START)
        before = len(site.told(db))
        await asyncio.to_thread(site.runtime.restart)
        await site.until(
            lambda: site.agent._trouble is None and site.agent.node_status._describe().mechanism == "NRI", 30
        )
        site.decide(replace(grant("u-next", cpus="16-17")))
        pod, sandbox = await site.pod("u-next")
        following = await site.container(pod, sandbox, "db")
        assert site.told(following)[0]["cpus"] == "16-17"
        assert len(site.told(db)) == before, "nothing is written for what is right"
