"""podnuma installed on a control plane: custom resources, roles, and the product's own processes.

The operator and every agent are separate processes that know nothing of the test bed. Each has a
kubeconfig of the service account that `deploy/` ships, with the rights that `deploy/` grants and no
others; an agent's token is bound to its node, as the token of a DaemonSet's pod is.

A node is a folder: `sys`, `proc`, `cgroup`, `kubelet` and `run` take the place of what an agent mounts
from its host.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from podnuma.api.names import OPERATOR_LEASE
from podnuma.api.resource_types import LEASE

from testbed import cgroups, machines
from testbed.cleanup import GROUP, delete
from testbed.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from testbed.api import Api, Json
    from testbed.control_plane import ControlPlane
    from testbed.kwok import Kwok

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "podnuma-system"
OPERATOR_ACCOUNT = "podnuma-operator"
AGENT_ACCOUNT = "podnuma-agent"
# What an administrator applies beside the workloads, which run here as processes.
RIGHTS = frozenset(
    {
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "PriorityClass",
    }
)
# An agent with the simulated runtime reads pods; none with a real one does, so these are not in deploy/.
SIMULATED_RIGHTS = ROOT / "testbed" / "simulated" / "agent-rights.yaml"
APPLIED_SECONDS = 30


@dataclass(frozen=True, slots=True)
class FakeNode:
    """A node with the files of a real machine."""

    name: str
    machine: machines.Machine
    folder: Path

    @property
    def sys_root(self) -> Path:
        return self.folder / "sys"

    @property
    def proc_root(self) -> Path:
        return self.folder / "proc"

    @property
    def cgroup_root(self) -> Path:
        return self.folder / "cgroup"

    @property
    def kubelet_root(self) -> Path:
        return self.folder / "kubelet"

    @property
    def run_root(self) -> Path:
        return self.folder / "run"


class Installation:
    """podnuma on one control plane. Leaving the `with` block ends its processes.

    `through`, as in Program, is for all of them.
    """

    def __init__(
        self, cluster: ControlPlane, folder: Path | None = None, through: Iterable[str] = ()
    ) -> None:
        self.cluster = cluster
        self._through = tuple(through)
        self.folder = folder or cluster.folder
        self.nodes: dict[str, FakeNode] = {}
        self.agents: dict[str, Program] = {}
        self.operator: Program | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def install(self) -> None:
        """Apply custom resources, service accounts and roles."""
        self.cluster.apply_crds(ROOT / "crds")
        shipped = self.cluster.kubectl("kustomize", str(ROOT / "deploy" / "kustomize" / "base"))
        for manifest in sorted(yaml.safe_load_all(shipped), key=_namespaces_first):
            if manifest["kind"] in RIGHTS:
                self.cluster.api.apply(manifest, NAMESPACE)
        self.cluster.apply_files(SIMULATED_RIGHTS)

    def add_node(
        self, kwok: Kwok | None, name: str, machine: str, labels: Mapping[str, str] | None = None
    ) -> FakeNode:
        """Create a node with the hardware of a recorded machine; without kwok it is never Ready."""
        recorded = machines.load(machine)
        node = FakeNode(name, recorded, self.folder / "nodes" / name)
        machines.write_sysfs(recorded, node.sys_root)
        machines.write_proc(recorded, node.proc_root)
        machines.write_cgroup_root(recorded, node.cgroup_root)
        for empty in (node.kubelet_root, node.run_root):
            empty.mkdir(parents=True)
        amounts = self._amounts(recorded)
        if kwok is None:
            from testbed.kwok import UNMARKED, node_manifest  # noqa: PLC0415 - the kwok module imports ours

            manifest = node_manifest(name, labels=labels, **amounts)
            manifest["metadata"]["annotations"] = UNMARKED
            self.cluster.api.create(manifest)
        else:
            kwok.add_node(name, labels=labels, **amounts)
        self.nodes[name] = node
        return node

    @staticmethod
    def _amounts(machine: machines.Machine) -> dict[str, Any]:
        huge: dict[int, int] = {}
        for node in machine.nodes:
            for size, count in node.huge_pages.items():
                huge[size] = huge.get(size, 0) + size * count
        return {
            "cpus": len(machine.online),
            "memory": machine.memory - machines.KIB * sum(huge.values()),
            "extra": {f"hugepages-{size // 1024}Mi": f"{total}Ki" for size, total in huge.items()},
        }

    def start_operator(self, *options: str, through: Iterable[str] = ()) -> Program:
        """Start the operator; `options` are added to its command line, `through` is for it alone."""
        kubeconfig = self.cluster.kubeconfig_for(NAMESPACE, OPERATOR_ACCOUNT)
        arguments = ["operator", f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}", *options]
        self.operator = self._start("operator", arguments, through)
        return self.operator

    def start_agent(self, node: str, *options: str) -> Program:
        """Start the agent of a node that `add_node` made, with the simulated runtime."""
        fake = self.nodes[node]
        kubeconfig = self.cluster.kubeconfig_for(NAMESPACE, AGENT_ACCOUNT, node=node)
        arguments = [
            *("agent", "run", f"--node-name={node}", f"--kubeconfig={kubeconfig}"),
            f"--sys-root={fake.sys_root}",
            f"--proc-root={fake.proc_root}",
            f"--cgroup-root={fake.cgroup_root}",
            f"--kubelet-root={fake.kubelet_root}",
            f"--run-root={fake.run_root}",
            "--runtime=simulated",
            *options,
        ]
        self.agents[node] = self._start(f"agent-{node}", arguments)
        return self.agents[node]

    def _start(self, name: str, arguments: list[str], through: Iterable[str] = ()) -> Program:
        program = Program(name, arguments, self.folder / f"{name}.log", tuple(through) or self._through)
        self._stack.callback(program.stop)
        return program.start()

    def create_example(self, namespace: str, example: str, name: str | None = None) -> Json:
        """Create one of the pods of examples/pods, under another name if one is given."""
        pod = yaml.safe_load((ROOT / "examples" / "pods" / f"{example}.yaml").read_text())
        pod["metadata"] |= {"namespace": namespace, "name": name or example}
        return self.cluster.api.create(pod)

    def allocations(self, namespace: str) -> dict[str, Json]:
        """Return the PodAllocations of a namespace by name, without managedFields."""
        stored = {}
        for found in self.cluster.api.items(f"{GROUP}/namespaces/{namespace}/podallocations"):
            found["metadata"].pop("managedFields", None)
            stored[found["metadata"]["name"]] = found
        return stored

    def wait_applied(self, namespace: str, name: str, timeout: float = APPLIED_SECONDS) -> Json:
        """Wait until a pod's allocation is applied, and return it; TimeoutError with all logs if not."""
        try:
            return self.cluster.api.wait_for(
                f"{GROUP}/namespaces/{namespace}/podallocations",
                lambda found: found.get("status", {}).get("phase") in {"Applied", "Rejected"},
                f"PodAllocation {namespace}/{name} to be Applied",
                timeout=timeout,
                fieldSelector=f"metadata.name={name}",
            )
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.logs()}") from error

    def node_of(self, allocation: Json) -> FakeNode:
        """Return the node of a PodAllocation."""
        return self.nodes[allocation["spec"]["nodeName"]]

    def written(self, allocation: Json) -> dict[str, cgroups.Written]:
        """Return what the agent wrote for each container of a PodAllocation."""
        return cgroups.containers_of(self.node_of(allocation).cgroup_root, allocation)

    def logs(self) -> str:
        """Return the end of every process's log, for an error text."""
        programs = [*([self.operator] if self.operator else []), *self.agents.values()]
        return "\n".join(f"{program.name}\n{program.process.tail()}" for program in programs)


def _namespaces_first(manifest: Json) -> int:
    return 0 if manifest["kind"] == "Namespace" else 1


def forget_leader(api: Api) -> None:
    """Delete the Lease of an operator that was killed: for a minute it would count as one that leads."""
    delete(api, LEASE.path(NAMESPACE, OPERATOR_LEASE))
