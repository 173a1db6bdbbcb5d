"""Operator, agents and Prometheus at work, and what makes each panel and alert say something.

`healthy` brings pods and takes some away; `in_trouble` does what the alerts are about, one after another.
Both wait until the processes themselves say so: afterwards only Prometheus' own interval is to be waited for.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from podnuma.allocator import cpuset

from testbed.control_plane import ControlPlane
from testbed.installation import Installation
from testbed.kwok import Kwok
from testbed.prometheus import ContainerMemory, Prometheus
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.program import Program

ROOT = Path(__file__).resolve().parents[2]
MACHINES = {
    "node-1": ("epyc7401-2s-8numa-16l3", "databases"),
    "node-2": ("xeon-2s-snc2-irregular", "training"),
}
NAMESPACE = "shop"
SOON = 180
# The databases' profile, but a pod that does not fit stays, and one that is not decided starts.
LENIENT = {"onRejection": "Share", "onUndecided": "Share"}


class Run:
    """podnuma on two nodes, watched by Prometheus."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        self.cluster = stack.enter_context(ControlPlane())
        self._kwok = stack.enter_context(Kwok(self.cluster))
        self.site = stack.enter_context(Installation(self.cluster, self._folder))
        self.site.install()
        self.cluster.apply_files(ROOT / "examples" / "profiles")
        self.cluster.api.merge("/apis/podnuma.dev/v1alpha1/nodeprofiles/databases", {"spec": LENIENT})
        for name, (machine, pool) in MACHINES.items():
            self.site.add_node(self._kwok, name, machine, {"node-pool": pool})
        self.operator = self.site.start_operator()
        self.agents = {name: self.site.start_agent(name, "--check-seconds=1") for name in MACHINES}
        for program in (self.operator, *self.agents.values()):
            program.wait_ready(SOON)
        self.cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        memory = {("podnuma-operator-0", "operator"): self.operator.process.pid}
        memory |= {
            (f"podnuma-agent-{name}", "agent"): agent.process.pid for name, agent in self.agents.items()
        }
        cadvisor = stack.enter_context(ContainerMemory(memory))
        targets = {
            self.operator.port: {"component": "operator", "node": "node-1"},
            **{agent.port: {"component": "agent", "node": name} for name, agent in self.agents.items()},
            cadvisor.port: {"job": "kubelet"},
        }
        self.prometheus = stack.enter_context(Prometheus(self._folder / "prometheus", targets))
        until(
            lambda: len([1 for _, up in self.prometheus.ask("up") if up == 1]) == len(targets),
            "every target to be scraped",
            SOON,
        )

    # -- a good day -----------------------------------------------------------------------------------

    def pod(self, example: str, name: str) -> Any:
        """Run a pod of examples/pods, and wait until its decision is applied."""
        self.site.create_example(NAMESPACE, example, name)
        return self.site.wait_applied(NAMESPACE, name, SOON)

    def end(self, name: str) -> None:
        """Delete a pod, and wait until what it held is free."""
        self.cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
        until(lambda: name not in self.site.allocations(NAMESPACE), f"{name} to be released", SOON)

    def healthy(self) -> None:
        """Let pods come and go."""
        for name in ("orders", "payments", "sessions"):
            self.pod("database", name)
        self.pod("ml-training", "ranking")
        self.end("sessions")
        self.pod("database", "carts")

    # -- a bad day ------------------------------------------------------------------------------------

    def in_trouble(self) -> Iterator[str]:
        """Do what the alerts are about; the operator and the API server last, which the others need."""
        for step in (
            self.reject,
            self.resize_too_far,
            self.fight,
            self.block_writes,
            self.pin_by_kubelet,
            self.add_node_without_agent,
            self.start_undecided,
            self.lose_api_server,
        ):
            step()
            yield step.__name__

    def reject(self) -> None:
        """Ask for what no NUMA node has."""
        self.site.create_example(NAMESPACE, "too-large")
        self.metric(self.operator, "podnuma_pods_rejected", 1)

    def resize_too_far(self) -> None:
        """Resize a pod to what its node does not have."""
        api, path = self.cluster.api, f"/api/v1/namespaces/{NAMESPACE}/pods/orders"
        declared = {"status": {"declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling"]}}
        api.merge("/api/v1/nodes/node-1/status", declared)
        # The API server lets only pods be resized whose kubelet reports the resources of their containers.
        status = api.get(path)["status"]
        for listing in ("initContainerStatuses", "containerStatuses"):
            status[listing] = [{**one, "resources": {}} for one in status.get(listing, [])]
        api.merge(f"{path}/status", {"status": status})
        amounts = [
            {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}
            for cpu, memory in (("40", "16Gi"), ("34", "12Gi"))
        ]
        spec = {"resources": amounts[0], "containers": [{"name": "database", "resources": amounts[1]}]}
        merge = "application/strategic-merge-patch+json"
        api.request("PATCH", f"{path}/resize", {"spec": spec}, content_type=merge)
        self.metric(self.operator, "podnuma_pods_resize_pending", 1)

    def fight(self) -> None:
        """Undo what the agent writes, again and again, until it gives way."""
        file = self._cpus_of("payments", "database")
        wanted = file.read_text()

        def undone() -> bool:
            if file.read_text() == wanted:
                file.write_text("0-95\n")
            return self.value(self.agents["node-1"], "podnuma_cgroups_contended") == 1

        until(undone, "the agent to give way", SOON)

    def block_writes(self) -> None:
        """Let no write be taken any more by the slice that holds other pods, on node-1."""
        root = self.site.nodes["node-1"].cgroup_root
        file = root / "kubepods.slice" / "kubepods-burstable.slice" / "cpuset.cpus"
        file.rename(file.with_name("aside")).write_text("\n")
        file.symlink_to("/nowhere/cpuset.cpus")
        agent = self.agents["node-1"]
        for name in ("podnuma_containers_not_isolated", "podnuma_cgroups_out_of_sync"):
            until(lambda name=name: self.value(agent, name) > 0, name, SOON)  # type: ignore[misc]

    def pin_by_kubelet(self) -> None:
        """Give node-2's kubelet the static policy."""
        state = self.site.nodes["node-2"].kubelet_root / "cpu_manager_state"
        state.write_text('{"policyName":"static","defaultCpuSet":""}')
        self.metric(self.agents["node-2"], "podnuma_paused", 1)

    def add_node_without_agent(self) -> None:
        """Add a node that a profile selects, where no agent runs, and bind a pod to it."""
        self.site.add_node(self._kwok, "node-3", "xeon-2s-snc2-irregular", {"node-pool": "training"})
        self.bind("lonely", "node-3")
        self.metric(self.operator, "podnuma_pods_waiting", 1)
        self.metric(self.operator, 'podnuma_nodes{state="HardwareUnknown"}', 1)

    def bind(self, name: str, node: str) -> None:
        """Create a pod on a node, past the scheduler."""
        amounts = {"cpu": "1", "memory": "1Gi"}
        resources = {"requests": amounts, "limits": amounts}
        containers = [{"name": "main", "image": "none", "resources": resources}]
        self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"nodeName": node, "containers": containers, "resources": resources},
            }
        )

    def start_undecided(self) -> None:
        """Kill the operator, and start a pod that nobody decides."""
        self.operator.kill()
        self.bind("early", "node-1")
        self.metric(self.agents["node-1"], "podnuma_undecided_starts_total", 1)

    def lose_api_server(self) -> None:
        """Bring the operator back, and take its API server away, until one request in ten has failed."""
        self.operator.start().wait_ready(SOON)
        with self.cluster.apiserver_gone():
            until(self._errors, "requests that fail", SOON)

    def _errors(self) -> bool:
        counts = {"error": 0.0, "": 0.0}
        for line in self.operator.metrics().splitlines():
            if line.startswith("podnuma_api_requests_total{"):
                counts["error" if 'code="error"' in line else ""] += float(line.split()[-1])
        return counts["error"] > 0.2 * counts[""]

    # -- what is said ---------------------------------------------------------------------------------

    def held(self) -> dict[str, int]:
        """Return how many CPUs pods hold on each node, by their PodAllocations."""
        counts: Counter[str] = Counter()
        for found in self.site.allocations(NAMESPACE).values():
            spec = found["spec"]
            counts[spec["nodeName"]] += cpuset.parse(spec["cpus"]).bit_count()
        return dict(counts)

    def _cpus_of(self, pod: str, container: str) -> Path:
        """Return the file with the CPUs of a container."""
        status = self.site.allocations(NAMESPACE)[pod]["status"]
        (found,) = [one["containerID"] for one in status["containers"] if one["name"] == container]
        (folder,) = self.site.nodes["node-1"].cgroup_root.rglob(f"*{found}*")
        return folder / "cpuset.cpus"

    @staticmethod
    def value(program: Program, name: str) -> float:
        """Return a series of a process; -1 if it has none."""
        for line in program.metrics().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return -1

    def metric(self, program: Program, name: str, value: float) -> None:
        """Wait until a process says a value."""
        try:
            until(lambda: self.value(program, name) == value, f"{name} {value:g}", SOON)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {self.value(program, name):g}\n{self.site.logs()}") from error
