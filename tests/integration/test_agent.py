"""One agent with the simulated runtime on a real API server; the operator's part is played by the test."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from podnuma.agent import app
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.decoding import FieldErrors, Fields
from podnuma.api.hardware import read_hardware
from podnuma.api.names import RESOURCES_ANNOTATION
from podnuma.api.node_settings import Mode, NodeSettings, OnUndecided, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod import read_pod
from podnuma.api.pod_allocation import Decision, render_pod_allocation

from testbed import machines
from testbed.cleanup import delete, let_go
from testbed.installation import AGENT_ACCOUNT, NAMESPACE, Installation
from testbed.kwok import node_manifest
from testbed.waiting import until

GROUP = "/apis/podnuma.dev/v1alpha1"
MACHINE = "xeon-2s-snc2-irregular"
GIB = 2**30
SETTINGS = ManagerSettings(
    cpu_manager_policy=CpuManagerPolicy.STATIC,
    reserved_system_cpus=cpuset.parse("0,40"),
    memory_manager_policy=MemoryManagerPolicy.STATIC,
    reserved_memory=(ReservedMemory(0, {"memory": GIB}),),
    topology_manager_policy=TopologyManagerPolicy.SINGLE_NUMA_NODE,
    topology_manager_scope=TopologyManagerScope.POD,
)
HANDLING = PodPolicy(on_undecided=OnUndecided.WAIT)
PODS = "kubepods.slice"
BURSTABLE = "kubepods.slice/kubepods-burstable.slice"


class AgentThread:
    """An agent in a thread with an event loop of its own, so that tests can block."""

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.run: app.Running | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.run is not None and self.run.port is not None, "the agent to start", 30)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with app.running(self.settings) as self.run:
            await self._stop.wait()

    def get(self, path: str) -> requests.Response:
        assert self.run is not None
        return requests.get(f"http://127.0.0.1:{self.run.port}{path}", timeout=5)

    def metric(self, line: str) -> float:
        for each in self.get("/metrics").text.splitlines():
            if each.startswith(f"{line} "):
                return float(each.split()[-1])
        return 0.0

    def ready(self) -> None:
        until(lambda: self.get("/readyz").ok, "the agent to be ready", 30)


class OneNode:
    """A node with its files, and the operator's words about it."""

    def __init__(self, cluster, name: str, folder: Path) -> None:
        self.cluster = cluster
        self.api = cluster.api
        self.name = name
        self.folder = folder
        self.machine = machines.load(MACHINE)
        machines.write_sysfs(self.machine, folder / "sys")
        machines.write_proc(self.machine, folder / "proc")
        (folder / "kubelet").mkdir()
        self.api.create(
            node_manifest(
                name, cpus=len(self.machine.online), memory=self.machine.memory, labels={"type": "none"}
            )
        )
        self.write_settings(NodeSettings(SETTINGS, HANDLING))
        self.allocator: NodeAllocator | None = None

    def settings(self, **more) -> AgentSettings:
        kubeconfig = self.cluster.kubeconfig_for(NAMESPACE, AGENT_ACCOUNT, node=self.name)
        return replace(
            AgentSettings(
                node_name=self.name,
                kubeconfig=kubeconfig,
                sys_root=self.folder / "sys",
                proc_root=self.folder / "proc",
                cgroup_root=self.folder / "cgroup",
                kubelet_root=self.folder / "kubelet",
                run_root=self.folder / "run",
                runtime=Runtime.SIMULATED,
                metrics_host="127.0.0.1",
                metrics_port=0,
                check_seconds=0.3,
            ),
            **more,
        )

    def write_settings(self, settings: NodeSettings) -> None:
        self.api.apply(render_node_topology(self.name, settings, None), manager="podnuma-operator")

    def topology(self):
        return self.api.get(f"{GROUP}/nodetopologies/{self.name}")

    def hardware(self):
        """Return the hardware as the operator reads it."""
        problems = FieldErrors()
        status = until(lambda: self.topology()["status"].get("hardware"), "the hardware", 30)
        found = read_hardware(Fields.of(status, "hardware", problems))
        problems.check("hardware")
        return found

    @property
    def machine_cpus(self) -> CpuSet:
        return cpuset.of(self.machine.online)

    def file(self, path: str) -> str:
        return (self.folder / "cgroup" / path).read_text().strip()

    def run_pod(self, namespace: str, manifest):
        """Create a pod on this node and let it be Running, as kubelet and scheduler would."""
        manifest["metadata"] |= {"namespace": namespace}
        manifest["spec"] |= {"nodeName": self.name, "terminationGracePeriodSeconds": 0}
        pod = self.api.create(manifest)
        path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
        self.api.request(
            "PATCH",
            f"{path}/status",
            {"status": {"phase": "Running"}},
            content_type="application/merge-patch+json",
        )
        return self.api.get(path)

    def decide(self, pod):
        """Write the PodAllocation of a pod, as the operator would."""
        if self.allocator is None:
            self.allocator = NodeAllocator.empty(SETTINGS, self.hardware().topology)
        decided = self.allocator.decide(read_pod(pod))
        assert isinstance(decided, Admitted), decided
        self.allocator.hold(decided)
        body = render_pod_allocation(decided.grant, self.name, Decision.of(decided))
        self.api.apply(body, manager="podnuma-operator")
        return decided.grant

    def allocation(self, namespace: str, name: str):
        return self.api.get(f"{GROUP}/namespaces/{namespace}/podallocations/{name}")

    def wait_phase(self, namespace: str, name: str, phase: str, timeout: float = 30):
        def reached():
            found = self.allocation(namespace, name)
            return found if found["status"].get("phase") == phase else None

        try:
            return until(reached, f"phase {phase}", timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.allocation(namespace, name)['status']}") from error

    def condition(self, found, kind: str):
        (condition,) = [each for each in found["status"]["conditions"] if each["type"] == kind]
        return condition


@pytest.fixture(scope="session")
def rights(crds):
    """The service accounts and roles that `deploy/` ships."""
    with Installation(crds) as installation:
        installation.install()
        yield crds


@pytest.fixture
def node(rights, clean_cluster, tmp_path):  # noqa: ARG001 - cleans afterwards
    return OneNode(rights, f"node-{time.monotonic_ns() % 10**9}", tmp_path)


def database(name: str = "db", cpus: str = "8", own: str = "6"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "resources": {
                "requests": {"cpu": cpus, "memory": "16Gi"},
                "limits": {"cpu": cpus, "memory": "16Gi"},
            },
            "initContainers": [{"name": "backup", "image": "x", "restartPolicy": "Always"}],
            "containers": [
                {
                    "name": "database",
                    "image": "x",
                    "resources": {
                        "requests": {"cpu": own, "memory": "12Gi"},
                        "limits": {"cpu": own, "memory": "12Gi"},
                    },
                },
                {"name": "metrics", "image": "x"},
            ],
        },
    }


def burstable(name: str, resources):
    containers = [{"name": "web", "image": "x", "resources": resources}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}}


def _says(node: OneNode, file: str, text: str) -> bool:
    # The pod's folder is made when the agent has seen the pod.
    return (node.folder / "cgroup" / file).exists() and node.file(file) == text


def pod_folder(pod) -> str:
    return f"{PODS}/kubepods-pod{pod['metadata']['uid'].replace('-', '_')}.slice"


def values(found) -> dict[str, tuple[str, str, str]]:
    return {
        each["name"]: (each["effective"]["cpus"], each["effective"]["mems"], each["effective"]["cpuMax"])
        for each in found["status"]["containers"]
    }


def test_a_decision_becomes_cgroup_values_and_the_status_tells_them(node, namespace):
    with AgentThread(node.settings()) as agent:
        pod = node.run_pod(namespace, database())
        grant = node.decide(pod)
        found = node.wait_phase(namespace, "db", "Applied")
        own = grant.container("database").cpus
        shared = CpuSet(grant.exclusive_cpus & ~own)
        assert values(found) == {
            "backup": (cpuset.render(shared), "0", "800000 100000"),
            "database": (cpuset.render(own), "0", "max 100000"),
            "metrics": (cpuset.render(shared), "0", "800000 100000"),
        }
        assert {each["verdict"] for each in found["status"]["containers"]} == {"PinnedAtStart"}
        assert node.condition(found, "Ready")["status"] == "True"
        pool = cpuset.render(CpuSet(node.allocator.shared_pool))
        assert node.file(f"{BURSTABLE}/cpuset.cpus.effective") == pool
        assert node.file(f"{pod_folder(pod)}/cpuset.cpus") == "", "nothing to keep it away from"
        assert agent.metric('resource_manager_allocations_total{resource_name="cpu",source="pod"}') == 3
        assert (
            agent.metric(
                'resource_manager_container_assignments{assignment_type="pod_shared",resource_name="cpu"}'
            )
            == 2
        )


def test_an_agent_that_starts_without_settings_writes_nothing_until_it_has_read_them(node, namespace):
    """The NodeTopology comes late, as from a slow API server; it says Audit, then Enforce."""
    with AgentThread(node.settings()):
        pod = node.run_pod(namespace, database())
        grant = node.decide(pod)
        node.wait_phase(namespace, "db", "Applied")
    folder = pod_folder(pod)
    (container,) = [
        each["containerID"]
        for each in node.allocation(namespace, "db")["status"]["containers"]
        if each["name"] == "database"
    ]
    file = f"{folder}/cri-containerd-{container}.scope/cpuset.cpus"
    node.api.request("DELETE", f"{GROUP}/nodetopologies/{node.name}")
    (node.folder / "cgroup" / file).write_text("0-79\n")

    def ready_says(reason: str) -> bool:
        return bool(node.condition(node.allocation(namespace, "db"), "Ready")["reason"] == reason)

    with AgentThread(node.settings()) as agent:
        path = f"{GROUP}/nodetopologies/{node.name}"
        until(
            lambda: (node.api.find(path) or {}).get("status", {}).get("hardware"),
            "the agent to register the node anew",
            30,
        )
        assert node.topology()["spec"]["mode"] == "Audit"
        node.write_settings(NodeSettings(SETTINGS, replace(HANDLING, mode=Mode.AUDIT)))
        until(lambda: ready_says("Audit"), "the agent to know of Audit", 30)
        assert agent.metric('podnuma_writes_total{outcome="done"}') == 0
        assert node.file(file) == "0-79"
        node.write_settings(NodeSettings(SETTINGS, HANDLING))
        own = cpuset.render(grant.container("database").cpus)
        until(lambda: node.file(file) == own, "the container to be pinned again", 30)


def test_a_deleted_allocation_is_held_until_the_last_process_has_ended(node, namespace):
    """The pod was deleted by force: whoever is to give its CPUs on waits for the phase Released."""
    path = f"{GROUP}/namespaces/{namespace}/podallocations/db"
    with AgentThread(node.settings()):
        pod = node.run_pod(namespace, database())
        grant = node.decide(pod)
        node.wait_phase(namespace, "db", "Applied")
        held = {"metadata": {"finalizers": ["podnuma.dev/cgroup"]}}
        node.api.request("PATCH", path, held, content_type="application/merge-patch+json")
        node.api.request("DELETE", path)

        def says_held():
            found = node.allocation(namespace, "db")
            return [each for each in found["status"]["conditions"] if each["type"] == "HeldByProcesses"]

        (condition,) = until(says_held, "the agent to say who is there", 30)
        assert f"CPUs {cpuset.render(grant.exclusive_cpus)} stay theirs" in condition["message"]
        assert values(node.wait_phase(namespace, "db", "Applied"))["database"][0] == cpuset.render(
            grant.container("database").cpus
        )
        node.api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/db")
        node.wait_phase(namespace, "db", "Released")
        assert says_held() == []
        free: dict[str, Any] = {"metadata": {"finalizers": []}}
        node.api.request("PATCH", path, free, content_type="application/merge-patch+json")


def test_a_container_beside_others_that_could_not_be_taken_off_is_not_applied(node, namespace):
    with AgentThread(node.settings()) as agent:
        node.decide(node.run_pod(namespace, database()))
        found = node.wait_phase(namespace, "db", "Applied")
        own = values(found)["database"][0]
        file = node.folder / "cgroup" / BURSTABLE / "cpuset.cpus"
        aside = file.rename(file.with_name("aside"))  # the kernel never makes such a file anew
        aside.write_text("\n")
        file.symlink_to("/nowhere/cpuset.cpus")  # no write is taken here any more
        found = node.wait_phase(namespace, "db", "Drifted")
        assert node.condition(found, "Ready")["reason"] == "NotIsolated"
        text = node.condition(found, "NotIsolated")["message"]
        assert f"container database: the burstable slice may run on its CPUs {own}" in text
        until(lambda: node.condition(node.topology(), "Isolated")["status"] == "False", "the node's word", 30)
        assert agent.metric("podnuma_containers_not_isolated") == 3
        file.unlink()
        aside.rename(file)
        node.wait_phase(namespace, "db", "Applied")
        until(lambda: node.condition(node.topology(), "Isolated")["status"] == "True", "the node's word", 30)


def test_a_program_that_undoes_every_value_is_named_and_answered_once_a_minute(node, namespace):
    with AgentThread(node.settings()) as agent:
        pod = node.run_pod(namespace, database())
        node.decide(pod)
        found = node.wait_phase(namespace, "db", "Applied")
        own = values(found)["database"][0]
        container = next(
            each["containerID"] for each in found["status"]["containers"] if each["name"] == "database"
        )
        file = node.folder / "cgroup" / pod_folder(pod) / f"cri-containerd-{container}.scope/cpuset.cpus"

        def undone_and_said():
            if file.read_text().strip() == own:
                file.write_text("0-79\n")
            found = node.allocation(namespace, "db")
            return [each for each in found["status"]["conditions"] if each["type"] == "Contended"]

        (condition,) = until(undone_and_said, "the condition Contended", 40)
        assert f"wanted {own}; somebody else changed it 5 times within" in condition["message"]
        assert "container database" in condition["message"]
        assert agent.metric("podnuma_cgroups_contended") == 1
        repairs = agent.metric('podnuma_drift_repairs_total{cgroup="container"}')
        time.sleep(5)
        assert agent.metric('podnuma_drift_repairs_total{cgroup="container"}') == repairs
        topology = node.condition(node.topology(), "Contended")
        assert topology["status"] == "True"
        assert topology["message"].startswith(f"container database of pod {namespace}/db: cpuset.cpus")


def test_a_pod_is_kept_off_the_cpus_of_the_next_one(node, namespace):
    with AgentThread(node.settings()):
        first = node.run_pod(namespace, database("first"))
        node.decide(first)
        node.wait_phase(namespace, "first", "Applied")
        grant = node.decide(node.run_pod(namespace, database("second")))
        node.wait_phase(namespace, "second", "Applied")
        allowed = CpuSet(node.machine_cpus & ~grant.exclusive_cpus)
        until(
            lambda: node.file(f"{pod_folder(first)}/cpuset.cpus.effective") == cpuset.render(allowed),
            "the first pod to be kept off",
            30,
        )


def test_a_budget_in_an_annotation_is_applied_within_the_burstable_slice(node, namespace):
    manifest = database("burstable")
    manifest["metadata"]["annotations"] = {
        RESOURCES_ANNOTATION: json.dumps(manifest["spec"].pop("resources"))
    }
    with AgentThread(node.settings()):
        web = {"requests": {"cpu": "100m"}}
        before = node.run_pod(namespace, burstable("before", web))
        pod = node.run_pod(namespace, manifest)
        assert pod["status"]["qosClass"] == "Burstable"
        grant = node.decide(pod)
        found = node.wait_phase(namespace, "burstable", "Applied")
        assert {each["verdict"] for each in found["status"]["containers"]} == {"PinnedAtStart"}
        own = grant.container("database").cpus
        assert values(found)["database"] == (cpuset.render(own), "0", "max 100000")
        pool = cpuset.render(node.allocator.shared_pool)
        after = node.run_pod(namespace, burstable("after", web))
        for other in (before, after):
            name = f"kubepods-burstable-pod{other['metadata']['uid'].replace('-', '_')}.slice"
            file = f"{BURSTABLE}/{name}/cpuset.cpus.effective"
            until(partial(_says, node, file, pool), file, 30)
        assert node.file(f"{BURSTABLE}/cpuset.cpus.effective") == "0-79", "its holder's CPUs and the pool"


def test_hardware_and_agent_stand_in_the_status_of_the_node(node):
    with AgentThread(node.settings()) as agent:
        agent.ready()
        hardware = node.hardware()
        assert len(hardware.topology.cpus) == 80
        assert [dict(numa.hugepages) for numa in hardware.topology.nodes] == [{"hugepages-2Mi": 5 * GIB}] * 4
        found = until(
            lambda: node.topology() if node.topology()["status"].get("agent") else None, "the agent", 30
        )
        assert found["status"]["agent"]["mechanism"] == "Simulated"
        until(lambda: node.condition(node.topology(), "AgentReady")["status"] == "True", "AgentReady", 30)
        assert node.condition(node.topology(), "HardwareKnown")["reason"] == "Known"


def test_a_deleted_pod_gives_its_cpus_back(node, namespace):
    with AgentThread(node.settings()):
        node.decide(node.run_pod(namespace, database()))
        node.wait_phase(namespace, "db", "Applied")
        before = node.file(f"{BURSTABLE}/cpuset.cpus.effective")
        assert before != "0-79"
        node.api.delete(f"/api/v1/namespaces/{namespace}/pods/db", grace_seconds=0)
        # The garbage collector may be faster.
        path = f"{GROUP}/namespaces/{namespace}/podallocations/db"
        delete(node.api, path)
        node.wait_phase(namespace, "db", "Released")
        let_go(node.api, path)
        until(lambda: node.file(f"{BURSTABLE}/cpuset.cpus.effective") == "0-79", "the CPUs to come back", 30)


def test_drift_by_hand_is_repaired_and_counted(node, namespace):
    with AgentThread(node.settings()) as agent:
        grant = node.decide(node.run_pod(namespace, database()))
        found = node.wait_phase(namespace, "db", "Applied")
        (db,) = [each for each in found["status"]["containers"] if each["name"] == "database"]
        (folder,) = (node.folder / "cgroup").rglob(f"*{db['containerID']}*")
        (folder / "cpuset.cpus").write_text("0-79\n")
        (folder / "cpu.max").write_text("50000 100000\n")
        wanted = cpuset.render(grant.container("database").cpus)
        until(lambda: (folder / "cpuset.cpus").read_text().strip() == wanted, "the repair", 30)
        until(lambda: (folder / "cpu.max").read_text().strip() == "max 100000", "the repair of cpu.max", 30)
        (node.folder / "cgroup" / BURSTABLE / "cpuset.cpus").write_text("0-79\n")
        pool = cpuset.render(node.allocator.shared_pool)
        until(lambda: node.file(f"{BURSTABLE}/cpuset.cpus") == pool, "the repair", 30)
        until(lambda: agent.metric('podnuma_drift_repairs_total{cgroup="qos"}') >= 1, "the count", 30)
        assert agent.metric('podnuma_drift_repairs_total{cgroup="container"}') >= 1


def test_a_container_waits_for_its_decision(node, namespace):
    with AgentThread(node.settings()) as agent:
        agent.ready()
        pod = node.run_pod(namespace, database())
        until(lambda: agent.metric("podnuma_deferred_starts_total") >= 1, "a refused start", 30)
        assert not list((node.folder / "cgroup").rglob("cri-containerd-*"))
        node.decide(pod)
        node.wait_phase(namespace, "db", "Applied")


def test_a_restarted_agent_changes_nothing(node, namespace):
    with AgentThread(node.settings()):
        node.decide(node.run_pod(namespace, database()))
        node.wait_phase(namespace, "db", "Applied")
    before = {path: path.stat().st_mtime_ns for path in (node.folder / "cgroup").rglob("*")}
    status = node.allocation(namespace, "db")["status"]
    with AgentThread(node.settings()) as agent:
        agent.ready()
        until(lambda: agent.metric("podnuma_pass_seconds_count") >= 3, "passes", 30)
        assert {path: path.stat().st_mtime_ns for path in (node.folder / "cgroup").rglob("*")} == before
        assert node.allocation(namespace, "db")["status"] == status


def test_a_rotated_token_is_picked_up(node):
    short = node.cluster.token_file(NAMESPACE, AGENT_ACCOUNT, node=node.name)
    with AgentThread(node.settings(heartbeat_seconds=1)) as agent:
        agent.ready()
        until(lambda: node.topology()["status"].get("agent"), "the first heartbeat", 30)
        # The old token is taken away, as an expired one is: only who reads the file again gets on.
        good = short.read_text()
        short.write_text("not.a.token")
        until(lambda: "Unauthorized" in agent.get("/metrics").text, "a refused request", 30)
        short.write_text(node.cluster.token(NAMESPACE, AGENT_ACCOUNT, node=node.name, seconds=600))
        assert short.read_text() != good
        beat = node.topology()["status"]["agent"]["heartbeatTime"]
        until(lambda: node.topology()["status"]["agent"]["heartbeatTime"] > beat, "a new heartbeat", 30)


def test_an_allocation_that_overlaps_an_applied_one_is_refused_with_a_condition(node, namespace):
    with AgentThread(node.settings()):
        first = node.decide(node.run_pod(namespace, database("first")))
        node.wait_phase(namespace, "first", "Applied")
        pod = node.run_pod(namespace, database("second"))
        forged = replace(
            first,
            uid=pod["metadata"]["uid"],
            name="second",
        )
        node.api.apply(
            render_pod_allocation(forged, node.name, Decision(admitted=True)), manager="podnuma-operator"
        )
        refused = until(
            lambda: next(
                (
                    each
                    for each in node.allocation(namespace, "second")["status"]["conditions"]
                    if each["reason"] == "Refused" and each["type"] == "Ready"
                ),
                None,
            ),
            "the refusal",
            30,
        )
        assert f"already held by pod {namespace}/first" in refused["message"]
        assert node.allocation(namespace, "first")["status"]["phase"] == "Applied"


@pytest.mark.parametrize("runs", ["a", "b"])
def test_of_two_allocations_from_a_backup_that_claim_the_same_cpus_the_one_stays_that_runs_there(
    node, namespace, runs
):
    with AgentThread(node.settings()):
        grant = node.decide(node.run_pod(namespace, database(runs)))
        node.wait_phase(namespace, runs, "Applied")
    (other,) = {"a", "b"} - {runs}
    uid = node.run_pod(namespace, database(other))["metadata"]["uid"]
    path = f"{GROUP}/namespaces/{namespace}/podallocations/{runs}"
    let_go(node.api, path)
    delete(node.api, path)
    for claim in (grant, replace(grant, uid=uid, name=other)):
        body = render_pod_allocation(claim, node.name, Decision(admitted=True))
        node.api.apply(body, manager="a-backup")
    with AgentThread(node.settings()):
        node.wait_phase(namespace, runs, "Applied")

        def is_refused():
            ready = node.condition(node.allocation(namespace, other), "Ready")
            return ready if ready["reason"] == "Refused" else None

        refused = until(is_refused, "the refusal", 30)
        assert f"already held by pod {namespace}/{runs}" in refused["message"]


def test_a_static_kubelet_makes_the_agent_stand_back(node, namespace):
    (node.folder / "kubelet" / "cpu_manager_state").write_text('{"policyName":"static","defaultCpuSet":""}')
    with AgentThread(node.settings()):
        node.decide(node.run_pod(namespace, database()))
        until(lambda: node.condition(node.topology(), "Paused")["status"] == "True", "Paused", 30)
        assert 'policyName "static"' in node.condition(node.topology(), "Paused")["message"]
        until(lambda: node.file(f"{BURSTABLE}/cpuset.cpus") == "", "nothing written", 30)
        (node.folder / "kubelet" / "cpu_manager_state").unlink()
        node.wait_phase(namespace, "db", "Applied")


def test_the_api_server_may_be_gone_for_a_while(node, namespace):
    with AgentThread(node.settings()) as agent:
        grant = node.decide(node.run_pod(namespace, database()))
        found = node.wait_phase(namespace, "db", "Applied")
        (db,) = [each for each in found["status"]["containers"] if each["name"] == "database"]
        (folder,) = (node.folder / "cgroup").rglob(f"*{db['containerID']}*")
        with node.cluster.apiserver_gone():
            until(lambda: not agent.get("/readyz").ok, "not ready", 30)
            (folder / "cpuset.cpus").write_text("0-79\n")
            wanted = cpuset.render(grant.container("database").cpus)
            until(lambda: (folder / "cpuset.cpus").read_text().strip() == wanted, "repair without API", 30)
        until(lambda: agent.get("/readyz").ok, "ready again", 30)
        assert node.allocation(namespace, "db")["status"]["phase"] == "Applied"
