"""The images that kubeadm's control plane runs, under the names that kubeadm asks for.

Each is one static program; kube-proxy also has Debian's iptables with its libraries. All have GOMAXPROCS=2:
sixteen emulated CPUs are played by a few real ones, and idle threads that look for work would take theirs.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.kind.archive import write_image, write_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REGISTRY = "registry.k8s.io"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_XTABLES = "usr/sbin/xtables-nft-multi"
_EXTENSIONS = "usr/lib/x86_64-linux-gnu/xtables"
_IPTABLES = tuple(
    f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")
)
_ENVIRONMENT = ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin", "GOMAXPROCS=2", "GODEBUG=tlsmlkem=0"]


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """An image: its reference, its files by path, links by path, what it runs if nothing else is said."""

    reference: str
    programs: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    links: Mapping[str, str] = field(default_factory=dict)

    def write(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="layer-", dir=target.parent) as scratch:
            layer = Path(scratch) / "layer.tar"
            write_layer(self.programs, self.links, layer)
            config = {"Entrypoint": list(self.entrypoint), "Env": _ENVIRONMENT}
            write_image(self.reference, layer, config, target)


def references(listed: Iterable[str]) -> dict[str, str]:
    """Return program -> reference from what `kubeadm config images list` prints."""
    found = {}
    for line in listed:
        name = line.strip().rpartition(":")[0].rpartition("/")[2]
        if name:
            found[name] = line.strip()
    return found


def of_control_plane(
    tools: Mapping[str, Path], root: Path, busybox: Path, sandbox: str, named: Mapping[str, str]
) -> list[ProgramImage]:
    """Return all images of a node.

    tools: the programs; root: a Debian system with iptables; sandbox: the reference of the image that holds
    a pod's namespaces; named: program -> reference of the others.
    """
    plain = [
        ProgramImage(named[name], {f"usr/local/bin/{name}": tools[name]}, (name,))
        for name in (*COMPONENTS, "etcd")
    ]
    proxy = {
        "usr/local/bin/kube-proxy": tools["kube-proxy"],
        _XTABLES: root / _XTABLES,
        **{f"{_EXTENSIONS}/{path.name}": path for path in (root / _EXTENSIONS).glob("*.so")},
        **libraries(root, _XTABLES),
    }
    links = {f"usr/sbin/{name}": Path(_XTABLES).name for name in _IPTABLES}
    return [
        *plain,
        ProgramImage(named["kube-proxy"], proxy, ("kube-proxy",), links),
        ProgramImage(sandbox, {"bin/busybox": busybox}, ("/bin/busybox", "sleep", "infinity")),
    ]


def libraries(root: Path, program: str) -> dict[str, Path]:
    """Return the shared libraries of a program of a Debian system: path -> file."""
    told = subprocess.run(
        ["chroot", str(root), "ldd", f"/{program}"], check=True, capture_output=True, text=True
    ).stdout
    return {path.lstrip("/"): (root / path.lstrip("/")).resolve() for path in library_paths(told)}


def library_paths(told: str) -> list[str]:
    """Return the paths in what `ldd` prints; the kernel's own library has none."""
    return re.findall(r"(?:=>\s*|^\s*)(/\S+)", told, re.MULTILINE)
