"""The product's image, built by `deploy/image.py` once per state of the sources and kept in the cache.

    $PODNUMA_CACHE/images/podnuma-<key>.tar

<key> is a hash of everything that goes in; an archive appears by rename.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from testbed.build import BuildError, Progress, cache_folder, one_build_at_a_time
from testbed.processes import tail

ROOT = Path(__file__).parents[2]
SOURCES = ("allocator", "api", "plumbing", "operator", "node-agent", "cli")
FILES = ("pyproject.toml", "constraints.txt", "hatch_build.py", "deploy/image.py")
_KEPT = 2


def ensure(out: TextIO = sys.stderr) -> Path:
    """Return the archive of the image that the manifests of `deploy/` name."""
    archive = cache_folder() / "images" / f"podnuma-{_key()}.tar"
    if not archive.exists():
        with one_build_at_a_time(out):
            if not archive.exists():
                _build(archive, out)
    return archive


def _key() -> str:
    digest = hashlib.sha256(sys.version.encode())
    found = [path for source in SOURCES for path in (ROOT / source).rglob("*") if path.is_file()]
    for path in sorted([*found, *(ROOT / name for name in FILES)]):
        if "__pycache__" not in path.parts and path.suffix != ".pyi":
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(archive: Path, out: TextIO) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress("building the podnuma image", out)
    progress.show()
    scratch, log = archive.with_suffix(".new"), archive.with_suffix(".log")
    with log.open("w") as sink:
        done = subprocess.run(
            [sys.executable, str(ROOT / "deploy" / "image.py"), "--output", str(scratch)],
            check=False,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        raise BuildError(f"deploy/image.py failed\n{tail(log)}")
    log.unlink()
    scratch.rename(archive)
    for old in sorted(archive.parent.glob("podnuma-*.tar"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        old.unlink()
    progress.done()
