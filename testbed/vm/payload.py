"""The second disk of the virtual machine: programs, configuration, keys and images of one run.

Made fresh for every run in about a second; `files/payload/setup` says how it is used at boot.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import build
from testbed.vm.oci import Image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterable

FILES = Path(__file__).parent / "files" / "payload"
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "probe")
# What the pods of the suite run; `pause` holds a sandbox as the Kubernetes image does.
APPLETS = (
    "sh",
    "sleep",
    "cat",
    "grep",
    "echo",
    "date",
    "true",
    "seq",
    "usleep",
    "ls",
    "mkdir",
    "chroot",
    "nproc",
    "kill",
    "wget",
)
BUSYBOX = "localhost/busybox:1"
PAUSE = "localhost/pause:1"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who the machine is to the control plane.

    name: of the Node; kubelet_port: where the kubelet serves, the same number inside and outside.
    api_server: host:port as the guest sees it; service_address: the cluster IP of `kubernetes`.
    """

    name: str
    kubelet_port: int
    api_server: str
    service_address: str
    kubeconfig: str
    ca_file: Path


def write_payload(
    identity: NodeIdentity, authorized_key: str, images: Iterable[Path], disk: Path, busybox: Path
) -> None:
    """Write the payload disk; `images` are OCI tar files the node shall have beside pause and busybox."""
    with tempfile.TemporaryDirectory(prefix="payload-", dir=disk.parent) as scratch:
        root = Path(scratch) / "root"
        shutil.copytree(FILES, root)
        _add_programs(root / "bin")
        _add_images(root / "images", images, busybox)
        configuration = root / "etc" / "kubernetes"
        (configuration / "kubelet.kubeconfig").write_text(identity.kubeconfig)
        shutil.copy(identity.ca_file, configuration / "ca.crt")
        with (configuration / "kubelet.yaml").open("a") as file:
            file.write(f"port: {identity.kubelet_port}\n")
        (root / "node").write_text(f"NODE_NAME={identity.name}\nNODE_IP=10.0.2.15\n")
        (root / "api-server").write_text(
            f"SERVICE_ADDRESS={identity.service_address}\nAPI_SERVER={identity.api_server}\n"
        )
        (root / "authorized_keys").write_text(authorized_key)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        subprocess.run(["truncate", "-s", str(int(size * 1.15) + (96 << 20)), str(disk)], check=True)
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(disk)],
            check=True,
            capture_output=True,
        )


def _add_programs(folder: Path) -> None:
    folder.mkdir()
    for path in build.ensure(PROGRAMS).values():
        shutil.copy(path, folder)


def _add_images(folder: Path, images: Iterable[Path], busybox: Path) -> None:
    first = folder / "first"
    first.mkdir(parents=True)
    for image in images:
        shutil.copy(image, folder)
    links = {f"bin/{name}": "busybox" for name in APPLETS}
    programs = {"bin/busybox": busybox, "bin/probe": build.tool_path("probe")}
    write_image(Image(BUSYBOX, ("/bin/sh",), programs, links), first / "busybox.tar")
    write_image(
        Image(PAUSE, ("/bin/busybox", "sleep", "infinity"), {"bin/busybox": busybox}), first / "pause.tar"
    )
