"""The virtual machine as a node of a control plane, both going on from where they were saved.

    with resumed(snapshot.ensure(cell), images) as (cluster, node):
        node.machine.run("systemctl restart kubelet")

The node is named `localhost`: that is its host name, under which the API server finds the kubelet's
forwarded port on this host (kubectl logs and exec work), without any change to /etc/hosts.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import InsecureRequestWarning

from testbed.control_plane import STATE, ControlPlane
from testbed.ports import free_port
from testbed.vm.machine import VirtualMachine
from testbed.vm.snapshot import LATE_SIZE, NODE_NAME
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.vm.snapshot import Snapshot

READY_SECONDS = 240
CLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is Ready: its name, the machine behind it, where its kubelet serves and to whom."""

    name: str
    machine: VirtualMachine
    kubelet: str
    certificate: tuple[Path, Path]

    def kubelet_metrics(self) -> str:
        """Return the kubelet's metrics in text format."""
        # The kubelet signs its own serving certificate; the API server does not verify it either.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            answer = requests.get(
                f"{self.kubelet}/metrics",
                cert=(str(self.certificate[0]), str(self.certificate[1])),
                verify=False,
                timeout=60,
            )
        answer.raise_for_status()
        return answer.text


@contextmanager
def resumed(snapshot: Snapshot, images: Path) -> Iterator[tuple[ControlPlane, Node]]:
    """Go on with a saved machine and its control plane, and bring an archive of images along.

    Yields both once the kubelet has reported to the control plane; afterwards they are stopped and nothing
    of the run is left.
    """
    with tempfile.TemporaryDirectory(prefix="podnuma-vm-") as scratch:
        folder = Path(scratch)
        for name in STATE:
            whole, place = snapshot.control_plane / name, folder / "control-plane" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if whole.is_dir() else shutil.copy2)(whole, place)
        late = folder / "late.img"
        shutil.copy(images, late)
        with late.open("ab") as file:
            file.truncate(LATE_SIZE)
        port = snapshot.kubelet_port if _is_free(snapshot.kubelet_port) else free_port()
        with (
            ControlPlane(
                folder / "control-plane", real_nodes=True, release=snapshot.cell.kubernetes
            ) as cluster,
            VirtualMachine(snapshot.parts(late), snapshot.key, folder, port) as machine,
        ):
            before = _renewed(cluster)
            _set_clock(machine)
            machine.run(f"/payload/resumed 10.0.2.2:{cluster.port}")
            if port != snapshot.kubelet_port:
                _move_kubelet(cluster, machine, port)
            # The kernel has read the disk's first blocks before it had a content.
            imported = "blockdev --flushbufs /dev/vdc && ctr -n k8s.io image import --local /dev/vdc"
            machine.run(imported, timeout=READY_SECONDS)
            until(lambda: _renewed(cluster) > before, "the kubelet to report again", READY_SECONDS, 0.2)
            yield cluster, Node(NODE_NAME, machine, f"https://127.0.0.1:{port}", cluster.admin_certificate)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _set_clock(machine: VirtualMachine) -> None:
    """Set the machine's clock, which stood still while it was saved, to this host's."""
    machine.run(f"date -s @{time.time():.3f}")
    before = time.time()
    told = float(machine.run("date +%s.%N").output)
    if not before - CLOCK_SECONDS < told < time.time() + CLOCK_SECONDS:
        raise RuntimeError(f"the virtual machine's clock says {told:.3f} at {before:.3f}")


def _move_kubelet(cluster: ControlPlane, machine: VirtualMachine, port: int) -> None:
    """Have the kubelet serve another port: the one it was saved with is in use on this host."""
    config = "/etc/kubernetes/kubelet.yaml"
    machine.run(f"sed -i 's/^port: .*/port: {port}/' {config} && systemctl restart kubelet")

    def told() -> bool:
        node = cluster.api.get(f"/api/v1/nodes/{NODE_NAME}")
        return bool(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == port)

    until(told, f"the kubelet to serve port {port}", READY_SECONDS, 0.5)


def _renewed(cluster: ControlPlane) -> str:
    """Return when the kubelet last said that it lives; grows as text."""
    lease = cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE_NAME}")
    return str(lease["spec"]["renewTime"])
