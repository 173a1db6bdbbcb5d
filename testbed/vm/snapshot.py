"""A machine that has booted and joined a control plane, saved with that control plane.

    $PODNUMA_CACHE/vm/snapshots/<cell>-<key>/
        root.img payload.img late.img vmlinuz initrd.img   what the machine was booted from, as it left it
        memory                                             its memory and devices
        control-plane/                                     what the API server knew, and its authority
        key  about.json                                    for ssh; the kubelet's port, when it was made

<key> is a hash of everything that goes in: programs, packages, configuration, the code that makes it,
QEMU, the model of this host's CPU (a guest measures its clock against it once). A folder appears by
rename, after a pod has run in the machine, and is never changed; certificates outlive it by far, and after
MAXIMUM_AGE it is made anew.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import yaml

from testbed import build
from testbed.control_plane import SERVICE_ADDRESS, STATE, ControlPlane
from testbed.making import make_once
from testbed.ports import free_port
from testbed.vm import rootfs
from testbed.vm.machine import Parts, VirtualMachine
from testbed.vm.payload import BUSYBOX, FILES, Content, NodeIdentity, programs, write_payload
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.api import Json
    from testbed.vm.cell import Cell

NODE_NAME = "localhost"
READY_SECONDS = 420
POD_SECONDS = 180
MAXIMUM_AGE = dt.timedelta(days=30)
# The disk whose content a run brings along: an archive of images, written from its first byte on.
LATE_SIZE = 512 << 20
_KEPT = 2
_ROOT = Path(__file__).parents[1]
# Of the code: what decides how a machine is when it is saved.
_CODE = (
    *("control_plane.py", "pki.py"),
    *(f"vm/{name}.py" for name in ("cell", "machine", "oci", "payload", "qmp", "snapshot")),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A saved machine: its folder, its cell, the kubelet's port, when it was made."""

    folder: Path
    cell: Cell
    kubelet_port: int
    made: dt.datetime

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def control_plane(self) -> Path:
        return self.folder / "control-plane"

    def parts(self, late: Path) -> Parts:
        """Return what a machine goes on from, with another last disk."""
        return _parts(self.folder, late, self.folder / "memory")


def ensure(cell: Cell, images: tuple[Path, ...] = (), out: TextIO = sys.stderr) -> Snapshot:
    """Return the snapshot of a cell; boot a machine and save it if there is none, or none of this kind.

    images: archives that it has imported, beside what all pods of the suite run, named by their content.
    """
    rootfs.require_tools()
    build.ensure_release(build.CONTROL_PLANE, cell.kubernetes, out)
    programs(cell)
    base = rootfs.ensure(out)
    folder = _snapshots() / f"{cell}-{_key(cell, images, base)}"

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _make(cell, images, base, folder, out)

    lock = build.cache_folder() / f"snapshot-{cell}.lock"
    make_once(f"a saved machine {cell}", lambda: _usable(folder), make, lock, out)
    return _read(cell, folder)


def _snapshots() -> Path:
    return build.cache_folder() / "vm" / "snapshots"


def _usable(folder: Path) -> bool:
    return folder.exists() and _made(folder) + MAXIMUM_AGE > dt.datetime.now(dt.UTC)


def _made(folder: Path) -> dt.datetime:
    return dt.datetime.fromisoformat(_about(folder)["made"])


def _about(folder: Path) -> Json:
    found: Json = json.loads((folder / "about.json").read_text())
    return found


def _read(cell: Cell, folder: Path) -> Snapshot:
    return Snapshot(folder, cell, _about(folder)["kubeletPort"], _made(folder))


def _key(cell: Cell, images: Iterable[Path], base: rootfs.Rootfs) -> str:
    tools = build.ensure_release(build.CONTROL_PLANE, cell.kubernetes)
    found = {**tools, **programs(cell)}
    digest = hashlib.sha256(
        json.dumps([str(cell), base.disk.parent.name, *(path.name for path in images)]).encode()
    )
    # Each program lies in a folder that is named by what it was built from.
    digest.update(json.dumps(sorted(f"{path.parent.name}/{path.name}" for path in found.values())).encode())
    for path in (*sorted(FILES.rglob("*")), *(_ROOT / name for name in _CODE)):
        if path.is_file():
            digest.update(str(path.relative_to(_ROOT)).encode() + path.read_bytes())
    digest.update(subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True).stdout)
    model = re.search(r"^model name.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    digest.update(model[0].encode() if model else os.uname().machine.encode())
    return digest.hexdigest()[:16]


def _parts(folder: Path, late: Path, memory: Path | None) -> Parts:
    names = ("vmlinuz", "initrd.img", "root.img", "payload.img")
    kernel, initrd, root, payload = (folder / name for name in names)
    return Parts(kernel, initrd, root, payload, late, memory)


def _make(cell: Cell, images: tuple[Path, ...], base: rootfs.Rootfs, target: Path, out: TextIO) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"booting a machine {cell}, to be saved", file=out, flush=True)
    began = time.monotonic()
    for left in target.parent.glob(f".new-{cell}-*"):
        shutil.rmtree(left)
    with (
        tempfile.TemporaryDirectory(prefix=f".new-{cell}-", dir=target.parent) as scratch,
        tempfile.TemporaryDirectory(prefix="podnuma-vm-") as short,  # sockets have short names only
    ):
        folder, run = Path(scratch) / "made", Path(short)
        folder.mkdir()
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        with ControlPlane(run / "control-plane", real_nodes=True, release=cell.kubernetes) as cluster:
            identity = NodeIdentity(
                name=NODE_NAME,
                kubelet_port=free_port(),
                api_server=f"10.0.2.2:{cluster.port}",
                service_address=SERVICE_ADDRESS,
                kubeconfig=_guest_kubeconfig(cluster),
                ca_file=cluster.ca_file,
            )
            content = Content(cell, images, base.busybox, key.with_suffix(".pub").read_text())
            write_payload(content, identity, folder / "payload.img")
            _copy(base, folder)
            with VirtualMachine(
                _parts(folder, folder / "late.img", None), key, run, identity.kubelet_port
            ) as machine:
                until(lambda: _ready(cluster), f"node {NODE_NAME} to be Ready", READY_SECONDS, 1)
                machine.run("systemctl start payload", timeout=READY_SECONDS)  # returns when it is through
                _run_a_pod(cluster)
                machine.save(folder / "memory")
                crashes = machine.crashes
        for name in STATE:
            whole = run / "control-plane" / name
            copy = shutil.copytree if whole.is_dir() else shutil.copy2
            (folder / "control-plane" / name).parent.mkdir(parents=True, exist_ok=True)
            copy(whole, folder / "control-plane" / name)
        about = {"made": dt.datetime.now(dt.UTC).isoformat(), "kubeletPort": identity.kubelet_port}
        (folder / "about.json").write_text(json.dumps(about))
        folder.rename(target)
    kept = sorted(target.parent.glob(f"{cell}-*"), key=lambda path: path.stat().st_mtime)[-_KEPT:]
    for old in target.parent.glob(f"{cell}-*"):
        if old not in kept:
            shutil.rmtree(old)
    again = f", boots that crashed before: {crashes}" if crashes else ""
    print(f"saved after {time.monotonic() - began:.0f} s{again}", file=out, flush=True)


def _copy(base: rootfs.Rootfs, folder: Path) -> None:
    # QEMU looks at kernel and initial RAM disk again when a machine goes on.
    for path, name in ((base.disk, "root.img"), (base.kernel, "vmlinuz"), (base.initrd, "initrd.img")):
        subprocess.run(["cp", "--sparse=always", str(path), str(folder / name)], check=True)
    with (folder / "late.img").open("wb") as late:
        late.truncate(LATE_SIZE)


def _ready(cluster: ControlPlane) -> bool:
    node = cluster.api.find(f"/api/v1/nodes/{NODE_NAME}")
    if node is None or node["spec"].get("taints"):
        return False
    conditions = node["status"].get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _run_a_pod(cluster: ControlPlane) -> None:
    """See a pod through to its end: what is saved works, and has in memory what every pod needs."""
    path = "/api/v1/namespaces/default/pods"
    container = {"name": "first", "image": BUSYBOX, "command": ["true"], "imagePullPolicy": "Never"}
    spec: Json = {"restartPolicy": "Never", "hostNetwork": True, "containers": [container]}
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"}, "spec": spec}
    accounts = "/api/v1/namespaces/default/serviceaccounts/default"
    until(lambda: cluster.api.find(accounts), "the default service account", READY_SECONDS, 0.5)
    cluster.api.request("POST", path, pod)

    def phase() -> str:
        found = cluster.api.find(f"{path}/first")
        return str(found["status"].get("phase")) if found else ""

    until(lambda: phase() == "Succeeded", "the first pod to have run", POD_SECONDS, 0.5)
    cluster.api.request("DELETE", f"{path}/first")
    until(lambda: phase() == "", "the first pod to be gone", POD_SECONDS, 0.5)


def _guest_kubeconfig(cluster: ControlPlane) -> str:
    """Return the kubelet's kubeconfig with everything in it; the machine knows where the service leads."""
    config = yaml.safe_load(
        cluster.kubeconfig_for_user(f"system:node:{NODE_NAME}", group="system:nodes").read_text()
    )
    entry = config["clusters"][0]["cluster"]
    entry["server"] = f"https://{SERVICE_ADDRESS}:443"
    entry["certificate-authority"] = "/etc/kubernetes/ca.crt"
    user = config["users"][0]["user"]
    for field in ("client-certificate", "client-key"):
        user[f"{field}-data"] = base64.b64encode(Path(user.pop(field)).read_bytes()).decode()
    text: str = yaml.safe_dump(config)
    return text
