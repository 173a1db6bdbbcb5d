"""The second disk of the virtual machine: programs, configuration, keys and images of one cell.

`files/payload/setup` says how it is used at boot.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import build
from testbed.vm.cell import Cell, Containerd, Driver
from testbed.vm.oci import Image, write_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILES = Path(__file__).parent / "files" / "payload"
# What is not here is Debian's.
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
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


def programs(cell: Cell) -> dict[str, Path]:
    """Return the programs that a machine of a cell gets beside Debian's, built if they are missing."""
    names = CONTAINERD if cell.containerd is Containerd.PINNED else ()
    return build.ensure((*names, "probe")) | build.ensure_release(("kubelet",), cell.kubernetes)


@dataclass(frozen=True, slots=True)
class Content:
    """What a machine is given: the cell's programs, images beside pause and busybox, the key for ssh."""

    cell: Cell
    images: tuple[Path, ...]
    busybox: Path
    authorized_key: str


def write_payload(content: Content, identity: NodeIdentity, disk: Path) -> None:
    """Write the payload disk of a machine."""
    cell = content.cell
    with tempfile.TemporaryDirectory(prefix="payload-", dir=disk.parent) as scratch:
        root = Path(scratch) / "root"
        shutil.copytree(FILES, root)
        _add_programs(root / "bin", programs(cell))
        _add_images(root / "images", content.images, content.busybox)
        _configure_containerd(root / "etc" / "containerd", cell)
        configuration = root / "etc" / "kubernetes"
        (configuration / "kubelet.kubeconfig").write_text(identity.kubeconfig)
        shutil.copy(identity.ca_file, configuration / "ca.crt")
        with (configuration / "kubelet.yaml").open("a") as file:
            file.write(f"port: {identity.kubelet_port}\ncgroupDriver: {cell.driver.value}\n")
        (root / "node").write_text(f"NODE_NAME={identity.name}\nNODE_IP=10.0.2.15\n")
        (root / "api-server").write_text(
            f"SERVICE_ADDRESS={identity.service_address}\nAPI_SERVER={identity.api_server}\n"
        )
        (root / "authorized_keys").write_text(content.authorized_key)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        subprocess.run(["truncate", "-s", str(int(size * 1.15) + (96 << 20)), str(disk)], check=True)
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(disk)],
            check=True,
            capture_output=True,
        )


def _configure_containerd(folder: Path, cell: Cell) -> None:
    config, of_version_1 = folder / "config.toml", folder / "config-1.toml"
    if cell.containerd is Containerd.DEBIAN:
        of_version_1.replace(config)
    else:
        of_version_1.unlink()
    text = config.read_text().replace("@RUNTIME@", cell.runtime.value)
    config.write_text(text.replace("@SYSTEMD@", str(cell.driver is Driver.SYSTEMD).lower()))


def _add_programs(folder: Path, found: Mapping[str, Path]) -> None:
    folder.mkdir()
    for name, path in found.items():
        shutil.copy(path, folder / name)


def _add_images(folder: Path, images: Iterable[Path], busybox: Path) -> None:
    folder.mkdir()
    for image in images:
        shutil.copy(image, folder)
    links = {f"bin/{name}": "busybox" for name in APPLETS}
    programs = {"bin/busybox": busybox, "bin/probe": build.tool_path("probe")}
    write_image(Image(BUSYBOX, ("/bin/sh",), programs, links), folder / "busybox.tar")
    write_image(
        Image(PAUSE, ("/bin/busybox", "sleep", "infinity"), {"bin/busybox": busybox}), folder / "pause.tar"
    )
