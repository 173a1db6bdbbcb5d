"""Container images without a container engine: an OCI image layout in one tar file.

`write_image` makes the images of static programs that tests run; the product's own image is made by
`deploy/image.py`. Specification: OCI image-spec 1.1 (image layout, manifest, configuration, layer).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is: its reference, programs by path (static ones), links by path, command."""

    reference: str
    entrypoint: tuple[str, ...]
    programs: dict[str, Path]
    links: dict[str, str] = field(default_factory=dict)


def write_image(image: Image, target: Path) -> None:
    """Write the image as a tar file that `ctr image import` and `kind load image-archive` take."""
    config = {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/bin"]}
    pack(image.reference, [_layer(image)], config, target)


def pack(
    reference: str, layers: Sequence[bytes], config: dict[str, Any], target: Path, *, known: int = 0
) -> None:
    """Write an image of layers (uncompressed tar files) with the given runtime configuration.

    known: how many of the lower layers are left out of the file; only who has them already can import it.
    """
    blobs: dict[str, bytes] = {}
    diffs = [_add(blobs, layer) for layer in layers]
    for diff in diffs[:known]:
        del blobs[diff]
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    configured = _add(blobs, json.dumps(described).encode())
    manifest = _add(
        blobs,
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, "digest": configured, "size": len(blobs[configured])},
                "layers": [
                    {"mediaType": _LAYER, "digest": diff, "size": len(layer)}
                    for diff, layer in zip(diffs, layers, strict=True)
                ],
            }
        ).encode(),
    )
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    entry = {"mediaType": _MANIFEST, "digest": manifest, "size": len(blobs[manifest]), "annotations": names}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(target, "w") as archive:
        _put(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _put(archive, "index.json", index)
        for digest, blob in blobs.items():
            _put(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}", blob)


def _add(blobs: dict[str, bytes], blob: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    blobs[digest] = blob
    return digest


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for path, program in image.programs.items():
            _put(archive, path, program.read_bytes(), 0o755)
        for path, to in image.links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            archive.addfile(entry)
    return buffer.getvalue()


def _put(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
