"""Where the suite runs: the virtual machine of this test bed, or an existing cluster.

    with machine(cell) as target: ...                     goes on from a snapshot, has its own control plane
    with existing_cluster(kubeconfig, node) as target:    touches only that cluster, through that file

On an existing cluster, root access to the node goes through a privileged pod in the suite's namespace.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import build
from testbed.e2e import image
from testbed.e2e.cluster import Cluster, KubectlError
from testbed.program import Program
from testbed.vm import snapshot
from testbed.vm.node import Node, resumed
from testbed.vm.payload import BUSYBOX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.control_plane import ControlPlane
    from testbed.e2e.product import Product
    from testbed.vm.cell import Cell
    from testbed.vm.snapshot import Snapshot

OPERATOR_SECONDS = 60
_HELPER, _HELPER_NAMESPACE = "podnuma-e2e-node", "podnuma-e2e"


@dataclass(slots=True)
class MachineTarget:
    """The virtual machine, its control plane, and the snapshot that both go on from.

    operator: a process of this host, once started.
    """

    cluster: Cluster
    control_plane: ControlPlane
    node: Node
    snapshot: Snapshot
    operator: Program | None = None

    def start_operator(self) -> None:
        """Start the operator with the shipped service account and wait until it is ready."""
        kubeconfig = self.control_plane.kubeconfig_for("podnuma-system", "podnuma-operator")
        arguments = ["operator", f"--kubeconfig={kubeconfig}", "--namespace=podnuma-system"]
        log = self.control_plane.folder / "operator.log"
        self.operator = Program("operator", arguments, log).start()
        self.operator.wait_ready(OPERATOR_SECONDS)


@contextmanager
def machine(cell: Cell) -> Iterator[MachineTarget]:
    """Go on with the saved machine of a cell, saved first if need be, and podnuma's image on it."""
    archives = image.layered()
    saved = snapshot.ensure(cell, (archives.below,))
    with resumed(saved, archives.upper) as (control_plane, node):

        def shell(command: str) -> str:
            return node.machine.run(command).output

        cluster = Cluster(
            kubectl=str(control_plane.tools["kubectl"]),
            kubeconfig=control_plane.kubeconfig,
            node=node.name,
            shell=shell,
            image=BUSYBOX,
            probe="/payload/bin/probe",
            web=lambda url: shell(f"busybox wget -qO- {url}"),
        )
        target = MachineTarget(cluster, control_plane, node, saved)
        try:
            yield target
        finally:
            if target.operator is not None:
                target.operator.stop()


@contextmanager
def existing_cluster(kubeconfig: Path, node: str | None, busybox: str) -> Iterator[Cluster]:
    """Use a cluster that its owner named: the current context of this kubeconfig and nothing else."""
    kubectl = shutil.which("kubectl") or str(build.ensure(["kubectl"])["kubectl"])
    if not kubeconfig.is_file():
        raise KubectlError(f"{kubeconfig} is not a file; name the kubeconfig of the cluster to be used")

    def run(*args: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [kubectl, f"--kubeconfig={kubeconfig}", f"--namespace={_HELPER_NAMESPACE}", *args],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=300,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    name = node or _a_worker(json.loads(run("get", "nodes", "-o", "json")))
    run("apply", "--server-side", "-f", "-", stdin=json.dumps(_helper(name, busybox)))
    try:
        run("wait", "pod", _HELPER, "--for=condition=Ready", "--timeout=240s")

        def shell(command: str) -> str:
            return run("exec", _HELPER, "--", "chroot", "/host", "sh", "-c", command)

        run("exec", _HELPER, "--", "sh", "-c", "cp /bin/probe /host/var/tmp/podnuma-probe")
        yield Cluster(
            kubectl=kubectl,
            kubeconfig=kubeconfig,
            node=name,
            shell=shell,
            image=busybox,
            probe="/var/tmp/podnuma-probe",
            web=lambda url: run("exec", _HELPER, "--", "wget", "-qO-", url),
            namespace=_HELPER_NAMESPACE,
        )
    finally:
        run("delete", "namespace", _HELPER_NAMESPACE, "--ignore-not-found")


def _a_worker(nodes: dict[str, list[dict[str, dict[str, object]]]]) -> str:
    names = [str(node["metadata"]["name"]) for node in nodes["items"] if not node["spec"].get("taints")]
    if not names:
        raise KubectlError("no node of this cluster is free of taints: name one with NODE=")
    return names[-1]


def _helper(node: str, busybox: str) -> dict[str, object]:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": _HELPER_NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        },
    }
    container = {
        "name": "shell",
        "image": busybox,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _HELPER, "namespace": _HELPER_NAMESPACE},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [namespace, pod]}


def start_operator(target: MachineTarget | Cluster, product: Product) -> None:
    """Start the operator as the target needs it, and wait until it is ready."""
    if isinstance(target, MachineTarget):
        target.start_operator()
    else:
        waited = ("rollout", "status", "deployment/podnuma-operator", "--timeout=300s")
        product.cluster.run_anywhere("--namespace=podnuma-system", *waited, timeout=310)
