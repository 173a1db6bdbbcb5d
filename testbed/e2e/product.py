"""podnuma on a cluster, installed from `deploy/` with the rights and privileges granted there.

The agent is always the DaemonSet. The operator is the Deployment, except on the virtual machine: there
it is a process of the host, with the shipped service account and its rights, because the emulated
machine would need minutes to start two more Python processes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from testbed.waiting import until

if TYPE_CHECKING:
    from testbed.api import Json
    from testbed.e2e.cluster import Cluster

ROOT = Path(__file__).parents[2]
NAMESPACE = "podnuma-system"
AGENT = "podnuma-agent"
PROFILE = "e2e"
# A bound on a wait, no measure: on a busy host an emulated agent needs minutes to start beside busy pods.
READY_SECONDS = 900
METRICS_PORT = 9465
_FIRST = {"Namespace": 0, "CustomResourceDefinition": 1}
POD_SCOPE = {"topologyManagerPolicy": "single-numa-node", "topologyManagerScope": "pod"}
CONTAINER_SCOPE = {"topologyManagerPolicy": "best-effort", "topologyManagerScope": "container"}


@dataclass(frozen=True, slots=True)
class Product:
    """podnuma at work on one cluster."""

    cluster: Cluster

    def install(self, *, operator: bool) -> None:
        """Apply everything of `deploy/kustomize/base`; without the operator's Deployment if told so."""
        text = self.cluster.run("kustomize", str(ROOT / "deploy" / "kustomize" / "base"))
        manifests = [manifest for manifest in yaml.safe_load_all(text) if manifest]
        if not operator:
            manifests = [entry for entry in manifests if entry["kind"] != "Deployment"]
        self.cluster.apply(*sorted(manifests, key=lambda entry: _FIRST.get(entry["kind"], 2)))

    def profile(self, settings: Json) -> None:
        """Write the profile of the suite's node and wait until the node has applied it."""
        spec = {
            "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": self.cluster.node}},
            "cpuManagerPolicy": "static",
            "memoryManagerPolicy": "Static",
            "reservedSystemCPUs": "0,8",
            "reservedMemory": [{"numaNode": 0, "limits": {"memory": "400Mi"}}],
        }
        self.cluster.apply(
            {
                "apiVersion": "podnuma.dev/v1alpha1",
                "kind": "NodeProfile",
                "metadata": {"name": PROFILE},
                "spec": spec | settings,
            }
        )

        def settled(topology: Json | None) -> bool:
            return topology is not None and settings.items() <= topology["spec"].items()

        node = self.cluster.node
        self.cluster.awaited("nodetopology", node, settled, f"NodeTopology {node} to carry the profile", 60)

    def wait_agent(self) -> None:
        """Wait until the agent's pod is ready."""
        try:
            self._kubectl("rollout", "status", f"daemonset/{AGENT}", f"--timeout={READY_SECONDS}s")
        except RuntimeError as error:
            raise TimeoutError(f"{error}\n{self._kubectl('describe', 'pod')}\n{self.agent_log()}") from error
        self.wait_condition("AgentReady", "True")
        # Statuses may be those of an agent that is gone by now.
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the agent that runs now says itself that it is ready: it has passed over the node."""
        until(self._agent_is_ready, "the agent to say itself that it is ready", READY_SECONDS, 0.5)

    def wait_condition(self, kind: str, status: str, seconds: float = READY_SECONDS) -> Json:
        """Wait for a condition of the NodeTopology and return it."""

        def check(topology: Json | None) -> Json | None:
            for entry in _conditions(topology):
                if entry["type"] == kind and entry["status"] == status:
                    return entry
            return None

        try:
            what = f"condition {kind} of the NodeTopology to be {status}"
            return self.cluster.awaited("nodetopology", self.cluster.node, check, what, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nconditions: {self.conditions()}\n{self.agent_log()}") from error

    def conditions(self) -> list[Json]:
        """Return the conditions of the NodeTopology."""
        return _conditions(self.cluster.find("nodetopology", self.cluster.node))

    def allocation(self, pod: str) -> Json | None:
        """Return the PodAllocation of a pod of the suite."""
        return self.cluster.find("podallocation", pod)

    def wait_applied(self, pod: str, seconds: float = 60) -> Json:
        """Wait until the agent reports a pod's allocation as applied, and return it."""

        def check(found: Json | None) -> Json | None:
            return found if found and found.get("status", {}).get("phase") == "Applied" else None

        try:
            what = f"PodAllocation {pod} to be Applied"
            return self.cluster.awaited("podallocation", pod, check, what, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.allocation(pod)}\n{self.agent_log()}") from error

    def wait_released(self, seconds: float = 120) -> None:
        """Wait until no pod of the suite holds anything, not even one that is gone from the API."""
        until(
            lambda: not self.cluster.run("get", "podallocations", "--output=name").strip(),
            "the CPUs of deleted pods to be free",
            seconds,
            1,
        )

    def agent_pod(self) -> Json:
        """Return the agent's pod on the suite's node."""
        (pod,) = self._agent_pods()
        return pod

    def _agent_pods(self) -> list[Json]:
        text = self._kubectl("get", "pod", "-l", "app.kubernetes.io/component=agent", "-o", "json")
        return [
            pod
            for pod in json.loads(text)["items"]
            if pod["spec"].get("nodeName") == self.cluster.node and "deletionTimestamp" not in pod["metadata"]
        ]

    def agent_metrics(self) -> str:
        """Return the agent's metrics in text format."""
        address = self.agent_pod()["status"]["podIP"]
        return self.cluster.web(f"http://{address}:{METRICS_PORT}/metrics")

    def _agent_is_ready(self) -> bool:
        for pod in self._agent_pods():
            if address := pod.get("status", {}).get("podIP"):
                try:
                    self.cluster.web(f"http://{address}:{METRICS_PORT}/readyz")
                except RuntimeError:
                    return False
                return True
        return False

    def agent_log(self, lines: int = 25) -> str:
        """Return the end of the agent's log."""
        return self._kubectl("logs", f"daemonset/{AGENT}", f"--tail={lines}")

    def agent_process(self) -> int:
        """Return the process id of the agent on its node; 0 while it does not run."""
        # By what the kernel shows, not by a program that a node may not have. Arguments end with a zero
        # byte each; the brackets keep grep and its shell, which are there too, from being found.
        text = self.cluster.shell("grep -las 'podnuma.agent.[r]un' /proc/[0-9]*/cmdline | head -1; true")
        return int(text.split("/")[2]) if text.strip() else 0

    def kill_agent(self) -> None:
        """SIGKILL the agent; the kubelet starts it again."""
        self.cluster.shell(f"kill -9 {self.agent_process()}")

    def without_agent(self) -> None:
        """Take the agent off the node, as an administrator who cleans up does, and wait until it is gone."""
        self._select_nodes({"podnuma.dev/e2e": "nowhere"})
        until(lambda: self.agent_process() == 0, "the agent to be gone", READY_SECONDS, 0.5)

    def with_agent(self) -> None:
        """Bring the agent back."""
        self._select_nodes({"podnuma.dev/e2e": None})
        self.wait_agent()

    def clean(self) -> None:
        """Run the shipped job that gives all nodes back."""
        text = self.cluster.run("kustomize", str(ROOT / "deploy" / "kustomize" / "cleanup"))
        self.cluster.apply(*(manifest for manifest in yaml.safe_load_all(text) if manifest))
        try:
            self._kubectl(
                "wait", "job/podnuma-cleanup", "--for=condition=Complete", f"--timeout={READY_SECONDS}s"
            )
        except RuntimeError as error:
            logs = self._kubectl("logs", "job/podnuma-cleanup", "--tail=25")
            raise TimeoutError(f"{error}\n{logs}\n{self.agent_log()}") from error

    def _select_nodes(self, labels: dict[str, str | None]) -> None:
        patch = {"spec": {"template": {"spec": {"nodeSelector": labels}}}}
        self._kubectl("patch", "daemonset", AGENT, "--type=merge", "-p", json.dumps(patch))

    def _kubectl(self, *args: str) -> str:
        return self.cluster.run_anywhere(f"--namespace={NAMESPACE}", *args, timeout=READY_SECONDS + 10)


def _conditions(thing: Json | None) -> list[Json]:
    found: list[Json] = thing.get("status", {}).get("conditions", []) if thing else []
    return found
