"""Container images as Docker archives (the format of `docker save`); a layer is a file, never in memory.

`docker load`, `ctr image import` and `kind load image-archive` take them. Docker without the containerd image
store does not take the OCI layouts that `testbed.vm.oci` writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("bin", "tmp", "proc", "sys", "dev", "etc")


def write_layer(programs: Mapping[str, Path], links: Mapping[str, str], target: Path) -> None:
    """Write a layer of programs (path in the image -> file here) and symbolic links (path -> where to)."""
    with tarfile.open(target, "w") as layer:
        for name in _FOLDERS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            layer.addfile(entry)
        for name, program in sorted(programs.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = program.stat().st_size, 0o755
            with program.open("rb") as file:
                layer.addfile(entry, file)
        for name, to in sorted(links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            layer.addfile(entry)


def write_image(reference: str, layer: Path, config: Mapping[str, Any], target: Path) -> None:
    """Write an image of one layer (an uncompressed tar file) with a runtime configuration."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    described = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    named = f"{hashlib.sha256(described).hexdigest()}.json"
    inner = f"{digest}/layer.tar"
    manifest = json.dumps([{"Config": named, "RepoTags": [reference], "Layers": [inner]}]).encode()
    with tarfile.open(target, "w") as archive:
        for name, content in (("manifest.json", manifest), (named, described)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo(inner)
        entry.size = layer.stat().st_size
        with layer.open("rb") as file:
            archive.addfile(entry, file)
