"""The product's image, built by `deploy/image.py` once per state of the sources and kept in the cache.

    $PODNUMA_CACHE/images/podnuma-<key>.tar            as it is shipped, in one compressed layer
    $PODNUMA_CACHE/images/podnuma-<key>-upper.tar      the same files in two layers, not compressed; without
                                                       the lower one, for a machine that has it
    $PODNUMA_CACHE/images/podnuma-below-<digest>.tar   the lower one alone: what is not podnuma's own code

<key> is a hash of everything that goes in; an archive appears by rename. An emulated machine takes
minutes to unpack the image; one that has the lower layer already, in its snapshot, needs seconds.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed.build import BuildError, cache_folder
from testbed.making import Progress, make_once
from testbed.processes import tail
from testbed.vm.oci import pack

ROOT = Path(__file__).parents[2]
SOURCES = ("allocator", "api", "plumbing", "operator", "node-agent", "cli")
FILES = (
    *("pyproject.toml", "constraints.txt", "hatch_build.py"),
    *("deploy/image.py", "deploy/python_packages.py", "deploy/debian.py", "deploy/debian-packages.txt"),
)
_KEPT = 2
_BELOW = "localhost/podnuma-below:1"
_OWN = "/site-packages/podnuma"


@dataclass(frozen=True, slots=True)
class Layered:
    """Archives of the image without its lower layer, and of that layer."""

    upper: Path
    below: Path


def layered(out: TextIO = sys.stderr) -> Layered:
    """Return the image in layers, made from the shipped one."""
    shipped = ensure(out)
    top = shipped.with_name(f"{shipped.stem}-upper.tar")
    note = top.with_suffix(".below")

    def there() -> bool:
        return note.exists() and top.exists() and Path(note.read_text()).exists()

    make_once("the image in layers", there, lambda: _write_layers(shipped, top, note), _lock(), out)
    return Layered(top, Path(note.read_text()))


def _write_layers(shipped: Path, top: Path, note: Path) -> None:
    scratch = note.with_suffix(".new-below")
    scratch.write_text(str(_split(shipped, top)))
    scratch.rename(note)


def _split(shipped: Path, top: Path) -> Path:
    with tarfile.open(shipped) as archive:

        def blob(digest: str) -> bytes:
            found = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert found is not None
            return found.read()

        index = archive.extractfile("index.json")
        assert index is not None
        (entry,) = json.load(index)["manifests"]
        manifest = json.loads(blob(entry["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))["config"]
        (packed,) = (blob(layer["digest"]) for layer in manifest["layers"])
    lower, upper = io.BytesIO(), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as files,
        tarfile.open(fileobj=lower, mode="w", format=tarfile.PAX_FORMAT) as under,
        tarfile.open(fileobj=upper, mode="w", format=tarfile.PAX_FORMAT) as over,
    ):
        for member in files:
            target = over if _OWN in member.name else under
            target.addfile(member, files.extractfile(member) if member.isreg() else None)
    below = top.with_name(f"podnuma-below-{hashlib.sha256(lower.getvalue()).hexdigest()[:16]}.tar")
    reference = entry["annotations"]["io.containerd.image.name"]
    scratch = top.with_suffix(".new")
    pack(_BELOW, [lower.getvalue()], config, scratch)
    scratch.rename(below)
    pack(reference, [lower.getvalue(), upper.getvalue()], config, scratch, known=1)
    scratch.rename(top)
    return below


def ensure(out: TextIO = sys.stderr) -> Path:
    """Return the archive of the image that the manifests of `deploy/` name."""
    archive = cache_folder() / "images" / f"podnuma-{sources_key()}.tar"
    make_once("the podnuma image", archive.exists, lambda: _build(archive, out), _lock(), out)
    return archive


def _lock() -> Path:
    return cache_folder() / "image.lock"


def sources_key(*more: str) -> str:
    """Return a hash of all that goes into the image, and of more files and folders."""
    digest = hashlib.sha256(sys.version.encode())
    found = [path for source in (*SOURCES, *more) for path in (ROOT / source).rglob("*") if path.is_file()]
    for path in sorted([*found, *(ROOT / name for name in FILES)]):
        # What a build makes of the .proto files would change the key of the next one.
        made = "__pycache__" in path.parts or "_pb2" in path.name
        if not made:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(archive: Path, out: TextIO) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress("building the podnuma image", out)
    progress.show()
    scratch, log = archive.with_suffix(".new"), archive.with_suffix(".log")
    with log.open("w") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.image", "--newest-if-gone", "--output", str(scratch)],
            check=False,
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        raise BuildError(f"deploy/image.py failed\n{tail(log)}")
    log.unlink()
    scratch.rename(archive)
    kept = sorted(archive.parent.glob(f"podnuma-{'?' * 16}.tar"), key=lambda path: path.stat().st_mtime)
    for old in kept[:-_KEPT]:
        for path in archive.parent.glob(f"{old.stem}*"):
            path.unlink()
    progress.done()
