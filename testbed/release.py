"""What `make release` makes, once per state of the sources and commit, kept in the cache.

    $PODNUMA_CACHE/releases/<key>/    for this machine's architecture

A folder appears by rename. Where a mirror of Debian lacks a pinned version, today's is taken: tests of what
is made need no particular one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO

from deploy import debian
from testbed import build
from testbed.build import BuildError, cache_folder
from testbed.e2e.image import ROOT, sources_key
from testbed.making import Progress, make_once
from testbed.processes import tail

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 2


def ensure(out: TextIO = sys.stderr) -> Path:
    """Return the folder with everything a release consists of."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    folder = cache_folder() / "releases" / f"{sources_key('deploy')}-{commit}"
    if not folder.exists():
        helm = build.ensure(["helm"], out)["helm"]
        lock = cache_folder() / "release.lock"
        make_once("a release", folder.exists, lambda: _make(folder, helm, out), lock, out)
    return folder


def command(folder: Path, helm: Path) -> list[str]:
    """Return the command that makes a release in a folder."""
    words = [sys.executable, "-m", "deploy.release", "--helm", str(helm), "--newest-if-gone"]
    return [*words, "--architecture", debian.own_architecture(), "--output", str(folder)]


def _make(folder: Path, helm: Path, out: TextIO) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress("making a release", out)
    progress.show()
    scratch, log = folder.with_suffix(".new"), folder.with_suffix(".log")
    shutil.rmtree(scratch, ignore_errors=True)
    with log.open("w") as sink:
        made = command(scratch, helm)
        done = subprocess.run(made, check=False, stdout=sink, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode != 0:
        raise BuildError(f"deploy/release.py failed\n{tail(log)}")
    log.unlink()
    scratch.rename(folder)
    found = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    whole = [path for path in found if path.is_dir() and not path.suffix]
    for old in {*found} - {*whole[-_KEPT:]}:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    progress.done()
