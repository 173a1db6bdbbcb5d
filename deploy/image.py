"""Build podnuma's container image as an OCI archive, without root, Docker or a base image.

    Debian's packages of deploy/debian-packages.txt, unpacked: an interpreter, its libraries, dpkg's database
  + podnuma and its dependencies, installed by pip in the versions of constraints.txt
  = one layer, one archive for `ctr image import`, `podman load`, `docker load` or a registry client

There is no shell and no package manager in it, but a package database, so that scanners see what is there.
Files have no times and no owners but root, so that the same inputs give the same digest, on any machine: the
layer is compressed by the image's own zlib. For this machine's architecture or, with --architecture, another.
The Containerfile makes an image of the same behaviour for people who build with Docker or Podman.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from deploy import debian
from deploy.python_packages import Builder

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml"
HOME = "opt/podnuma"
SITE = f"{HOME}/lib/{debian.PYTHON}/site-packages"
TEMPORARY = "tmp"
USER = 65532


def build(archive: Path, reference: str, architecture: str = "", builder: Builder | None = None) -> str:
    """Write the archive and return the manifest's digest. `reference` is the image's name and tag."""
    architecture = architecture or debian.own_architecture()
    with tempfile.TemporaryDirectory() as scratch:
        tree, builder = Path(scratch) / "tree", builder or Builder(Path(scratch) / "builder")
        fill(tree, architecture, builder)
        layer = pack(tree)
        return write_archive(archive, reference, architecture, layer, builder.compress(layer))


def fill(tree: Path, architecture: str, builder: Builder) -> None:
    """Lay out the image's files below a folder."""
    debian.unpack(builder.packages(architecture), tree)
    builder.install(tree / SITE, architecture, "[operator,agent]")
    # 60 MB of generated code, never needed in a stack trace.
    builder.compile(tree, tree / SITE / "kubernetes", sources=False)
    builder.compile(tree, tree / "usr/lib" / debian.PYTHON, tree / SITE)
    # A virtual environment of Debian's interpreter.
    debian.write(tree / HOME / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    debian.write(tree / HOME / "bin" / "podnuma", _SCRIPT.format(python=f"/{HOME}/bin/python"), 0o755)
    # Also for `helm test`, which runs a script of the chart.
    (tree / HOME / "bin" / "python").symlink_to(f"/usr/bin/{debian.PYTHON}")
    debian.write(tree / "etc" / "passwd", f"root:x:0:0:root:/:/none\npodnuma:x:{USER}:{USER}::/:/none\n")
    debian.write(tree / "etc" / "group", f"root:x:0:\npodnuma:x:{USER}:\n")
    # OpenSSL reads the certificates of a kubeconfig from files only.
    (tree / TEMPORARY).mkdir(exist_ok=True)


_SCRIPT = """#!{python} -I
from podnuma.cli.main import run

run()
"""


def pack(tree: Path) -> bytes:
    """Return the tree as a tar layer: sorted, owned by root, without times."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(tree.rglob("*"), key=str):
            entry = tar.gettarinfo(path, str(path.relative_to(tree)))
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            executable = entry.isdir() or entry.mode & 0o100 or ".so" in path.name
            entry.mode = 0o1777 if entry.name == TEMPORARY else 0o755 if executable else 0o644
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return layer.getvalue()


def write_archive(archive: Path, reference: str, architecture: str, layer: bytes, packed: bytes) -> str:
    """Write an OCI image layout as a tar file; return the digest of its manifest."""
    blobs: dict[str, bytes] = {}
    configuration = _json(_configuration(architecture, _digest(layer)))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _blob(blobs, "application/vnd.oci.image.config.v1+json", configuration),
            "layers": [_blob(blobs, "application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        }
    )
    entry = _blob(blobs, "application/vnd.oci.image.manifest.v1+json", manifest)
    # containerd takes the whole name from the first, others the tag from the second.
    entry["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [entry]})
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return f"sha256:{_digest(manifest)}"


def _configuration(architecture: str, layer: str) -> dict[str, object]:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": [f"/{HOME}/bin/podnuma"],
            "Env": [f"PATH=/{HOME}/bin", "PYTHONUNBUFFERED=1"],
            "Labels": labels(),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }


def labels() -> dict[str, str]:
    """Return what the image says of itself; what git says is left out where there is no git."""
    found = {
        "title": "podnuma",
        "version": version(),
        "licenses": "Apache-2.0",
        "source": yaml.safe_load(CHART.read_text())["sources"][0],
    }
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%H %ct"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        revision, seconds = done.stdout.split()
        found["created"] = datetime.fromtimestamp(int(seconds), UTC).isoformat()
        # What has changes that are not committed is of no revision.
        if subprocess.run(["git", "-C", ROOT, "diff", "--quiet", "HEAD"], check=False).returncode == 0:
            found["revision"] = revision
    return {f"org.opencontainers.image.{name}": value for name, value in sorted(found.items())}


def _blob(blobs: dict[str, bytes], kind: str, data: bytes) -> dict[str, object]:
    blobs[_digest(data)] = data
    return {"mediaType": kind, "digest": f"sha256:{_digest(data)}", "size": len(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it is in an archive; of its files those that say what is in it."""

    architecture: str
    digest: str
    labels: dict[str, str]
    files: dict[str, bytes]


_TELLING = re.compile(r"var/lib/dpkg/status|usr/lib/os-release|.*\.dist-info/METADATA")


def read(archive: Path) -> Image:
    """Read an archive that `build` wrote."""
    with tarfile.open(archive) as tar:

        def blob(name: str) -> bytes:
            found = tar.extractfile(name)
            if found is None:
                raise ValueError(f"{archive} lacks {name}")
            return found.read()

        def named(descriptor: dict[str, str]) -> bytes:
            return blob(f"blobs/{descriptor['digest'].replace(':', '/')}")

        (entry,) = json.loads(blob("index.json"))["manifests"]
        manifest = json.loads(named(entry))
        configuration = json.loads(named(manifest["config"]))
        (packed,) = (named(layer) for layer in manifest["layers"])
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as layer:
        members = [member for member in layer if member.isreg() and _TELLING.fullmatch(member.name)]
        files = {member.name: found.read() for member in members if (found := layer.extractfile(member))}
    return Image(configuration["architecture"], entry["digest"], configuration["config"]["Labels"], files)


def version() -> str:
    """Return podnuma's version as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def main() -> int:
    """Build the image."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "podnuma-image.tar")
    parser.add_argument("--reference", default=f"localhost/podnuma:{version()}", help="name and tag")
    parser.add_argument(
        "--architecture", choices=debian.MACHINES, default="", help="this machine's by default"
    )
    parser.add_argument(
        "--newest-if-gone",
        action="store_true",
        help="take what Debian has today when its mirror lacks a pinned version; the digest is then another",
    )
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            builder = Builder(Path(scratch), options.newest_if_gone)
            digest = build(options.output, options.reference, options.architecture, builder)
    except debian.PackageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    size = options.output.stat().st_size / 2**20
    sys.stdout.write(f"{options.output}  {options.reference}  {digest}  {size:.0f} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
