"""The command as a kubectl plugin for krew: an archive per platform with all it needs, and the manifest.

    podnuma            a POSIX script, the plugin's `bin`; krew links it as kubectl-podnuma
    python/            the interpreter of deploy/debian-packages.txt, its libraries, podnuma and its packages
    licenses/          copyright files of what is not podnuma's own

A zipapp (shiv, pex) would be smaller, but asks the user for a Python 3.11 or newer, and must bring compiled
modules for each of its versions. The script starts the archive's own loader with its own libraries, so that
it runs on any Linux of its architecture, whatever its C library is, from any folder. There are no symbolic
links in it: krew unpacks none. The manifest follows krew's rules ("Writing Krew plugin manifests").
"""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deploy import debian
from deploy.python_packages import ROOT, loader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.python_packages import Builder

NAME = "podnuma"
# Of the standard library: what a command never imports.
_NEVER = {"test", "pydoc_data", "_pyrepl", "idlelib", "turtledemo", "turtle.py", "ensurepip"}
# The C++ library is gRPC's, the others are the image's root file system.
_WITHOUT = ("base-files", "ca-certificates", "netbase", "libstdc++6")

_SCRIPT = """\
#!/bin/sh
# Starts podnuma with the Python of this folder; krew links this file from another one.
here=$(dirname "$(readlink -f "$0")")
# Where the systems keep the certificates that all trust, for API servers whose kubeconfig names none.
if [ -z "${{SSL_CERT_FILE:-}}" ]; then
    for file in certs/ca-certificates.crt ca-bundle.pem cert.pem ../pki/tls/certs/ca-bundle.crt; do
        if [ -r "/etc/ssl/$file" ]; then export SSL_CERT_FILE="/etc/ssl/$file"; break; fi
    done
fi
python="$here/python/bin/{python}"
exec "$here/python/lib/{loader}" --library-path "$here/python/lib" --argv0 "$python" "$python" \\
    -I "$here/python/start.py" "$0" "$@"
"""

_START = """\
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).with_name("packages")))
from podnuma.cli.main import run

del sys.argv[0]
run()
"""


def build(target: Path, architecture: str, builder: Builder, scratch: Path) -> None:
    """Write the archive of one platform; `scratch` is a folder to work in."""
    root, tree = scratch / "root", scratch / "tree"
    wanted = [path for path in builder.packages(architecture) if _name(path) not in _WITHOUT]
    debian.unpack(wanted, root)
    program, libraries = loader(root, architecture)
    home = tree / "python"
    _copy(root / "usr/bin" / debian.PYTHON, home / "bin" / debian.PYTHON, 0o755)
    for library in [program, *_by_name(libraries)]:
        _copy(library.resolve(), home / "lib" / library.name, 0o755)
    shutil.copytree(root / "usr/lib" / debian.PYTHON, home / "lib" / debian.PYTHON, ignore=_unneeded)
    builder.install(home / "packages", architecture)
    builder.compile(tree, home / "lib" / debian.PYTHON, home / "packages", sources=False)
    for notice in sorted((root / "usr/share/doc").glob("*/copyright")):
        _copy(notice.resolve(), tree / "licenses" / notice.parent.name, 0o644)
    _copy(ROOT / "LICENSE", tree / "LICENSE", 0o644)
    debian.write(home / "start.py", _START)
    debian.write(tree / NAME, _SCRIPT.format(python=debian.PYTHON, loader=program.name), 0o755)
    target.write_bytes(builder.compress(_pack(tree)))


def _unneeded(folder: str, names: list[str]) -> set[str]:
    """Leave out also links of the standard library: they lead to what sites configure."""
    return {name for name in names if name in _NEVER or (Path(folder) / name).is_symlink()}


def _name(archive: Path) -> str:
    return archive.name.rpartition("-")[0]


def _by_name(libraries: Path) -> list[Path]:
    """Return each library once, by the name under which programs ask for it: a link's, if it has one."""
    found = sorted(libraries.glob("*.so*"))
    linked = {path.resolve() for path in found if path.is_symlink()}
    return [path for path in found if path.is_symlink() or path not in linked]


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _pack(tree: Path) -> bytes:
    """Return files and folders as a tar file: sorted, without times, owned by nobody in particular."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(tree.rglob("*"), key=str):
            entry = tarfile.TarInfo(str(path.relative_to(tree)))
            entry.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(entry, content)
    return packed.getvalue()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def manifest(version: str, homepage: str, platforms: Sequence[tuple[str, str, str]]) -> str:
    """Return krew's manifest; a platform is (architecture, where its archive will be found, SHA-256)."""
    return yaml.dump(
        {
            "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
            "kind": "Plugin",
            "metadata": {"name": NAME},
            "spec": {
                "version": f"v{version}",
                "homepage": homepage,
                "shortDescription": "Show and plan which CPUs and memory pods get",
                "description": _DESCRIPTION,
                "caveats": _CAVEATS,
                "platforms": [_platform(*found) for found in platforms],
            },
        },
        Dumper=_Dumper,
        sort_keys=False,
        width=100,
    )


def _platform(architecture: str, uri: str, sha256: str) -> dict[str, Any]:
    labels = {"os": "linux", "arch": architecture}
    return {"selector": {"matchLabels": labels}, "uri": uri, "sha256": sha256, "bin": NAME}


_DESCRIPTION = """\
podnuma gives pods NUMA-aligned budgets with exclusive slices and shared
sidecars, without touching the kubelet. This plugin shows who holds which
CPUs and memory of a node, explains why a pod was placed or refused, plans
manifests, checks an installation, and shows all of it live in a browser.
It reads; it changes only what its help says.
"""
_CAVEATS = """\
Most answers need podnuma's operator and agents in the cluster:
run "kubectl podnuma check" to see what is there and what is missing.
"""
