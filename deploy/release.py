"""Make all that a release consists of, in one folder: `make release`.

    podnuma-VERSION-image-linux-ARCH.tar          the image, an OCI archive
    podnuma-VERSION-image-linux-ARCH.spdx.json    what is in it
    podnuma-VERSION.tgz                           the chart
    podnuma-VERSION-py3-none-any.whl              the package for pip and pipx
    kubectl-podnuma-VERSION-linux-ARCH.tar.gz     the command with a Python of its own
    podnuma.yaml                                  krew's manifest of it
    SHA256SUMS                                    of all of them

The version is that of pyproject.toml, also in the chart. The same commit gives the same bytes, in any folder:
nothing has a time but the commit's, and Debian's packages and Python's are pinned. What compresses is pinned
too, but for the wheel, which takes the zlib of the Python that runs this. There is no source distribution:
the sources are the repository. Nothing is published.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import yaml

from deploy import debian, image, plugin, sbom
from deploy.python_packages import ROOT, Builder

if TYPE_CHECKING:
    from collections.abc import Callable

CHART = ROOT / "deploy" / "chart" / "podnuma"
SUMS = "SHA256SUMS"


def build(
    target: Path,
    helm: Path,
    architectures: list[str],
    builder: Builder,
    begin: Callable[[str], None],
    url: str = "",
) -> list[Path]:
    """Write everything into a folder; return the paths.

    `begin` is told each step as it begins: some take minutes. `url` is where archives will be found.
    """
    version = image.version()
    target.mkdir(parents=True, exist_ok=True)
    platforms, made = [], []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        begin("building the wheel")
        made.append(Path(shutil.copy(builder.wheel, target)))
        begin("packaging the chart")
        made.append(_chart(target / f"podnuma-{version}.tgz", helm, version, scratch, builder))
        for architecture in architectures:
            name = f"podnuma-{version}-image-linux-{architecture}"
            archive = target / f"{name}.tar"
            begin(f"building the image for linux/{architecture}")
            image.build(archive, f"localhost/podnuma:{version}", architecture, builder)
            bill = target / f"{name}.spdx.json"
            begin(f"listing what is in the image for linux/{architecture}")
            sbom.write(bill, image.read(archive))
            command = target / f"kubectl-podnuma-{version}-linux-{architecture}.tar.gz"
            begin(f"building the krew plugin for linux/{architecture}")
            plugin.build(command, architecture, builder, scratch / architecture)
            uri = f"{url.rstrip('/')}/{command.name}" if url else command.name
            platforms.append((architecture, uri, _sha256(command)))
            made += [archive, bill, command]
    begin("writing manifest and checksums")
    homepage = yaml.safe_load((CHART / "Chart.yaml").read_text())["home"]
    listed = target / f"{plugin.NAME}.yaml"
    listed.write_text(plugin.manifest(version, homepage, platforms))
    made.append(listed)
    sums = target / SUMS
    sums.write_text("".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(made)))
    return [*sorted(made), sums]


def _chart(target: Path, helm: Path, version: str, scratch: Path, builder: Builder) -> Path:
    """Have helm package the chart, and take the times out."""
    packaged = scratch / "chart"
    command: list[str | Path] = [
        helm,
        "package",
        CHART,
        "--destination",
        packaged,
        "--version",
        version,
        "--app-version",
        version,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = packaged.glob("*.tgz")
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(found.read_bytes()))) as before,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in before:
            member.mtime, member.pax_headers = 0, {}
            after.addfile(member, before.extractfile(member))
    target.write_bytes(builder.compress(plain.getvalue()))
    return target


def _told(out: TextIO) -> Callable[[str], None]:
    """Return what writes the steps of one run, each with the time since its begin."""
    began = time.monotonic()

    def begin(step: str) -> None:
        seconds = int(time.monotonic() - began)
        print(f"{seconds // 60:3d}:{seconds % 60:02d}  {step}", file=out, flush=True)

    return begin


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> int:
    """Make what a release consists of."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--helm", type=Path, required=True, help="the program that packages the chart")
    parser.add_argument("--architecture", choices=debian.MACHINES, action="append", help="all by default")
    parser.add_argument("--url", default="", help="where archives will be found, for krew's manifest")
    parser.add_argument("--newest-if-gone", action="store_true", help="for tests, see deploy.image")
    options = parser.parse_args()
    architectures = options.architecture or [*debian.MACHINES]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            builder = Builder(Path(scratch), options.newest_if_gone)
            begin = _told(sys.stderr)
            made = build(options.output, options.helm, architectures, builder, begin, options.url)
    except debian.PackageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in made:
        sys.stdout.write(f"{path.stat().st_size / 10**6:7.1f} MB  {path}\n")
    if not options.url:
        sys.stdout.write(
            "krew's manifest names no address: install with --archive, or make it with URL=...\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
