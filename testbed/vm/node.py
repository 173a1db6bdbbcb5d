"""The virtual machine as a node of a control plane.

    with ControlPlane(real_nodes=True) as cluster, joined(cluster, images) as node:
        node.machine.run("systemctl restart kubelet")

The node is named `localhost`: that is its host name, under which the API server finds the kubelet's
forwarded port on this host (kubectl logs and exec work), without any change to /etc/hosts.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import yaml
from urllib3.exceptions import InsecureRequestWarning

from testbed.control_plane import SERVICE_ADDRESS, ControlPlane
from testbed.ports import free_port
from testbed.vm import rootfs
from testbed.vm.machine import VirtualMachine
from testbed.vm.payload import NodeIdentity, write_payload
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NODE_NAME = "localhost"
READY_SECONDS = 420


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
def joined(cluster: ControlPlane, images: Iterable[Path] = ()) -> Iterator[Node]:
    """Boot a machine, join it as a node and yield it when it is Ready; stop it afterwards."""
    base = rootfs.ensure()
    with tempfile.TemporaryDirectory(prefix="podnuma-vm-") as scratch:
        folder = Path(scratch)
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        identity = NodeIdentity(
            name=NODE_NAME,
            kubelet_port=free_port(),
            api_server=f"10.0.2.2:{cluster.port}",
            service_address=SERVICE_ADDRESS,
            kubeconfig=_guest_kubeconfig(cluster),
            ca_file=cluster.ca_file,
        )
        payload = folder / "payload.img"
        write_payload(identity, (folder / "key.pub").read_text(), images, payload, base.busybox)
        with VirtualMachine(base, payload, key, folder, identity.kubelet_port) as machine:
            until(lambda: _ready(cluster), f"node {NODE_NAME} to be Ready", READY_SECONDS, 1)
            address = f"https://127.0.0.1:{identity.kubelet_port}"
            yield Node(NODE_NAME, machine, address, cluster.admin_certificate)


def _ready(cluster: ControlPlane) -> bool:
    node = cluster.api.find(f"/api/v1/nodes/{NODE_NAME}")
    conditions = node["status"].get("conditions", []) if node else []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _guest_kubeconfig(cluster: ControlPlane) -> str:
    """Return the kubelet's kubeconfig with everything in it and the guest's view of the server."""
    config = yaml.safe_load(
        cluster.kubeconfig_for_user(f"system:node:{NODE_NAME}", group="system:nodes").read_text()
    )
    entry = config["clusters"][0]["cluster"]
    entry["server"] = f"https://10.0.2.2:{cluster.port}"
    entry["certificate-authority"] = "/etc/kubernetes/ca.crt"
    user = config["users"][0]["user"]
    for field in ("client-certificate", "client-key"):
        user[f"{field}-data"] = _base64(Path(user.pop(field)))
    text: str = yaml.safe_dump(config)
    return text


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
