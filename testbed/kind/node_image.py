"""kind's node image, from the parts of the test bed: Debian, pinned Go modules, files of kind's own module.

    $PODNUMA_CACHE/kind/node-<key>.tar      for `docker load`, under REFERENCE

By the recipe of images/base/Dockerfile and pkg/build/nodeimage of sigs.k8s.io/kind: systemd without units
that touch the host, kind's entrypoint and containerd configuration, Kubernetes in /usr/bin, /kind/version,
two manifests, and the control plane's images in containerd, imported but not unpacked. Different are

* Debian's runc and CNI plugins, and no clients of network storage;
* the network of pods: kindnetd is in no module, so each node's containerd writes the configuration of a
  bridge itself, from the node's share of the pod network. No routes lead from one node's pods to another's;
* no CoreDNS: it takes long to build and nothing here asks it for names. `cluster` has kubeadm leave it out;
* the storage class, which provisions nothing: what kind's provisioner is made of is in no module either.

<key> is a hash of everything that goes in; an archive appears by rename. Nothing is mounted. debootstrap
needs root.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from testbed import build
from testbed.build import cache_folder, run_logged
from testbed.kind import archive, images
from testbed.making import Progress, make_once
from testbed.processes import Process
from testbed.vm import rootfs
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = build.version_of(build.RELEASES[build.DEFAULT_RELEASE], "k8s.io/kubernetes")
REFERENCE = f"localhost/podnuma-kind-node:{VERSION}"
FILES = Path(__file__).parent / "files" / "node"
SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux"),
    *("mount", "kmod", "libseccomp2", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps"),
    *("runc", "containernetworking-plugins"),
)
IN_USR_BIN = ("kubeadm", "kubelet", "kubectl")
IN_LOCAL_BIN = ("containerd", "containerd-shim-runc-v2", "ctr", "crictl")
IN_IMAGES = (*images.COMPONENTS, "etcd", "kube-proxy")
# What kind's Dockerfile removes: a unit is wanted only by what enables it afterwards.
UNWANTED = (
    *("sysinit.target.wants/systemd-tmpfiles-setup.service", "multi-user.target.wants/*"),
    *("local-fs.target.wants/*", "sockets.target.wants/*udev*", "sockets.target.wants/*initctl*"),
    "basic.target.wants/*",
)
ENABLED = ("containerd", "kubelet", "undo-mount-hacks")
# kind waits 30 s until systemd is up. Under emulation that is too short with what a container can do without:
# file systems that nothing here uses, modules and device nodes that are the machine's, and all generators.
WITHOUT = (
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "proc-sys-fs-binfmt_misc.automount"),
    *("modprobe@.service", "kmod-static-nodes.service", "systemd-modules-load.service"),
    *("systemd-remount-fs.service", "systemd-tmpfiles-setup-dev-early.service"),
    *("systemd-tmpfiles-setup-dev.service", "systemd-journal-flush.service"),
    *("systemd-ask-password-console.path", "systemd-binfmt.service"),
)
_SYSTEMD, _MASKS = "usr/lib/systemd", "etc/systemd"
_LEFT_OUT = (
    *("./var/cache/apt", "./var/lib/apt/lists", "./usr/share/doc", "./usr/share/man", "./usr/share/locale"),
    *("./usr/share/info", "./var/log", "./run", "./tmp", "./proc", "./sys", "./dev"),
)
_CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap", "ptp")
_CNI_TEMPLATE = "/etc/cni/template.json"
# A containerd that only keeps content needs none of these; some would write outside its folders.
_DISABLED = (
    *("grpc.v1.cri", "cri.v1.images", "cri.v1.runtime", "nri.v1.nri", "internal.v1.opt"),
    *(f"snapshotter.v1.{name}" for name in ("blockfile", "btrfs", "devmapper", "erofs", "overlayfs", "zfs")),
)
_CONTAINERD_ALONE = """\
version = 3
root = '{root}/var/lib/containerd'
state = '{state}/state'
disabled_plugins = [{disabled}]
[grpc]
  address = '{state}/containerd.sock'
[ttrpc]
  address = '{state}/containerd.sock.ttrpc'
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an image is made of: programs by name, the files of kind's base image, a static busybox."""

    tools: Mapping[str, Path]
    base: Path
    busybox: Path


def ensure(out: TextIO = sys.stderr) -> Path:
    """Build the image if the cache lacks it and return its archive."""
    tools = build.ensure((*IN_USR_BIN, *IN_LOCAL_BIN, *IN_IMAGES), out)
    target = cache_folder() / "kind" / f"node-{_key(tools)}.tar"
    if not target.exists():
        rootfs.require_tools()
        parts = Parts(tools, _base_files(), rootfs.ensure(out).busybox)
        lock = cache_folder() / "kind.lock"
        make_once("kind's node image", target.exists, lambda: _build(parts, target, out), lock, out)
    return target


def _key(tools: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(json.dumps([SUITE, PACKAGES, build.tool_folder("kind").name]).encode())
    # Each program lies in a folder that is named by what it was built from.
    digest.update(json.dumps(sorted(f"{path.parent.name}/{path.name}" for path in tools.values())).encode())
    code = (Path(module.__file__ or "") for module in (archive, images))
    for path in (Path(__file__), *code, *sorted(FILES.iterdir())):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _base_files() -> Path:
    where = ["-C", str(build.MODULES / "kind"), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind"]
    told = subprocess.run([build.find_go(), *where], check=True, capture_output=True, text=True).stdout
    return Path(told.strip()) / "images" / "base" / "files"


def _build(parts: Parts, target: Path, out: TextIO) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress("building kind's node image", out)
    with (
        tempfile.TemporaryDirectory(prefix=".node-", dir=target.parent) as scratch,
        tempfile.TemporaryDirectory(prefix="podnuma-kind-") as short,  # sockets have short names only
    ):
        folder, root = Path(scratch), Path(scratch) / "root"
        log = folder / "log"
        include = f"--include={','.join(PACKAGES)}"
        run_logged(["debootstrap", "--variant=minbase", include, SUITE, str(root)], log, progress)
        _add_base(root, parts.base)
        _add_programs(root, parts.tools)
        _trim_units(root)
        run_logged(["chroot", str(root), "systemctl", "enable", *ENABLED], log, progress)
        sandbox = _configure_containerd(root, parts.tools["ctr"])
        _add_images(root, folder, Path(short), parts, sandbox, progress)
        for path in (root / "var/log").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        # What systemd would do after an update of /usr: the packages have just done it.
        for name in ("etc/.updated", "var/.updated"):
            (root / name).touch()
        layer = folder / "layer.tar"
        left_out = [f"--exclude={path}/*" for path in _LEFT_OUT]
        packed = ["tar", "--numeric-owner", "--sort=name", *left_out, "-C", str(root), "-cf", str(layer), "."]
        run_logged(packed, log, progress)
        made = folder / "made.tar"
        archive.write_image(REFERENCE, layer, CONFIG, made)
        made.rename(target)
    for old in target.parent.glob("node-*.tar"):
        if old != target:
            old.unlink()
    progress.done()


# systemd looks for `container`, and stops on a signal of its own.
CONFIG = {
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "container=docker",
        "GOMAXPROCS=2",
        "GODEBUG=tlsmlkem=0",
    ],
    "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
    "StopSignal": "SIGRTMIN+3",
}


def _add_base(root: Path, base: Path) -> None:
    """Copy the files of kind's base image; in a Go module none may be executed or written."""
    for source in sorted(path for path in base.rglob("*") if path.is_file()):
        target = root / source.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if target.parent.name == "bin" else 0o644)
    for name in ("default-cni.yaml", "default-storage.yaml"):
        _put(root, f"kind/manifests/{name}", (FILES / name).read_text())
    _put(root, "kind/version", VERSION)
    _put(root, _CNI_TEMPLATE.lstrip("/"), (FILES / "cni-template.json").read_text())
    drop_ins = (("containerd", "few-cpus"), ("kubelet", "few-cpus"), ("containerd", "after-systemd"))
    for unit, name in drop_ins:
        _put(
            root, f"etc/systemd/system/{unit}.service.d/20-{name}.conf", (FILES / f"{name}.conf").read_text()
        )
    (root / "etc/kubernetes/manifests").mkdir(parents=True)
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("[Journal]\nReadKMsg=no\n")


def _add_programs(root: Path, tools: Mapping[str, Path]) -> None:
    for folder, names in (("usr/bin", IN_USR_BIN), ("usr/local/bin", IN_LOCAL_BIN)):
        for name in names:
            shutil.copy(tools[name], root / folder / name)
    (root / "opt/cni/bin").mkdir(parents=True)
    for name in _CNI_PLUGINS:
        shutil.copy(root / "usr/lib/cni" / name, root / "opt/cni/bin" / name)


def _trim_units(root: Path) -> None:
    """Leave nothing enabled, and mask what a node does without; a mask is a link to /dev/null."""
    for pattern in UNWANTED:
        for path in (root / _SYSTEMD / "system").glob(pattern):
            path.unlink()
    for path in (root / _MASKS / "system").glob("*.wants/*"):
        path.unlink()
    generators = (path.name for path in (root / _SYSTEMD / "system-generators").glob("*"))
    for folder, names in (("system", WITHOUT), ("system-generators", generators)):
        (root / _MASKS / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / _MASKS / folder / name).symlink_to("/dev/null")


def _configure_containerd(root: Path, ctr: Path) -> str:
    """Add what kind's Dockerfile adds, and the network; return the reference of the sandbox image."""
    told = subprocess.run([str(ctr), "oci", "spec"], check=True, capture_output=True, text=True).stdout
    _put(root, "etc/containerd/cri-base.json", json.dumps(base_spec(json.loads(told))))
    config = root / "etc/containerd/config.toml"
    text = config.read_text()
    config.write_text(with_network(text))
    return sandbox_image(text)


def base_spec(spec: dict[str, object]) -> dict[str, object]:
    """Return containerd's default specification as kind has it: its hook, and no limits of its own."""
    process = dict(spec["process"])  # type: ignore[call-overload]
    process.pop("rlimits", None)
    hooks = dict(spec.get("hooks") or {})  # type: ignore[call-overload]
    started = [*hooks.get("createContainer", ()), {"path": "/kind/bin/mount-product-files.sh"}]
    return spec | {"process": process, "hooks": hooks | {"createContainer": started}}


def with_network(config: str) -> str:
    """Return kind's containerd configuration, of version 2, with a template for the pods' network."""
    table = '[plugins."io.containerd.grpc.v1.cri".cni]'
    return f'{config.rstrip()}\n\n{table}\n  conf_template = "{_CNI_TEMPLATE}"\n'


def sandbox_image(config: str) -> str:
    """Return the reference of the image that holds a pod's namespaces."""
    for line in config.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "sandbox_image":
            return value.strip().strip('"')
    raise build.BuildError(
        "kind's containerd configuration (etc/containerd/config.toml) names no sandbox_image"
    )


def _put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _add_images(
    root: Path, folder: Path, short: Path, parts: Parts, sandbox: str, progress: Progress
) -> None:
    """Import the control plane's images into the containerd of the image, as kind does: without unpacking."""
    listed = subprocess.run(
        [str(parts.tools["kubeadm"]), "config", "images", "list", f"--kubernetes-version={VERSION}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    named = images.references(listed.splitlines())
    config = short / "config.toml"
    disabled = ", ".join(f"'io.containerd.{name}'" for name in _DISABLED)
    config.write_text(_CONTAINERD_ALONE.format(root=root, state=short, disabled=disabled))
    argv = [str(parts.tools["containerd"]), "--config", str(config)]
    daemon = Process("containerd", argv, folder / "containerd.log")
    try:
        socket = short / "containerd.sock"

        def listens() -> bool:
            daemon.check()
            return socket.exists()

        until(listens, "containerd to listen", 60)
        for image in images.of_control_plane(parts.tools, root, parts.busybox, sandbox, named):
            packed = folder / "image.tar"
            image.write(packed)
            pinned = "--label=io.cri-containerd.pinned=pinned"
            flags = ["--local", "--all-platforms", "--no-unpack", "--digests", pinned]
            ctr = [str(parts.tools["ctr"]), f"--address={socket}", "--namespace=k8s.io", "images", "import"]
            run_logged([*ctr, *flags, str(packed)], folder / "log", progress)
            packed.unlink()
    finally:
        daemon.terminate()
