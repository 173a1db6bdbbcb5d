"""Build podnuma's container image as an OCI archive, with nothing but Python: no Docker, no base image.

    the interpreter that runs this script, its standard library and the shared libraries it needs
  + podnuma and its dependencies, installed by pip in the versions of constraints.txt
  = one layer, one archive for `ctr image import`, `podman load`, `docker load` or a registry client

There is no shell and no package manager in it. Files have no times and no owners but root, so that
the same inputs give the same digest. Linux with glibc; the image is for the machine's own architecture.
The Containerfile makes an image of the same behaviour for people who build with Docker or Podman.
"""

import argparse
import compileall
import gzip
import hashlib
import io
import json
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = "opt/podnuma"
PYTHON = f"{HOME}/python"
LIBRARIES = f"{HOME}/lib"
TEMPORARY = "tmp"
USER = 65532

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
# Of the standard library: what a server process never imports.
_LEFT_OUT = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data",
    "site-packages", "sqlite3",
}  # fmt: skip
# 60 MB of generated code, never needed in a stack trace.
_BYTECODE_ONLY = ("kubernetes",)
_NEVER = re.compile(r"config-.*|_tkinter.*|_sqlite3.*|_test.*|xxlimited.*|.*\.(a|pyi|pyx|pxd|h|exe)")
# glibc loads these by name when a host name is looked up.
_BY_NAME = ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2")
_LDD = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x", re.MULTILINE)


def build(archive: Path, reference: str) -> str:
    """Write the archive and return the manifest's digest. `reference` is the image's name and tag."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        fill(tree)
        layer = pack(tree)
    return write_archive(archive, reference, layer)


def fill(tree: Path) -> None:
    """Lay out the image's files below a folder."""
    _copy_interpreter(tree)
    site = tree / PYTHON / "lib" / _python_name() / "site-packages"
    _install(site)
    _copy_libraries(tree)
    for name in _BYTECODE_ONLY:
        _compile(site / name, tree, legacy=True)
        for source in (site / name).rglob("*.py"):
            source.unlink()
    _compile(tree / PYTHON, tree, legacy=False)
    _write(tree / HOME / "bin" / "podnuma", _SCRIPT.format(python=f"/{PYTHON}/bin/{_python_name()}"), 0o755)
    # For `helm test`, which runs a script of the chart.
    (tree / HOME / "bin" / "python").symlink_to(f"../python/bin/{_python_name()}")
    _write(tree / "etc" / "passwd", f"root:x:0:0:root:/:/none\npodnuma:x:{USER}:{USER}::/:/none\n")
    _write(tree / "etc" / "group", f"root:x:0:\npodnuma:x:{USER}:\n")
    # OpenSSL reads the certificates of a kubeconfig from files only.
    (tree / TEMPORARY).mkdir()


_SCRIPT = """#!{python} -I
from podnuma.cli.main import run

run()
"""


def _compile(folder: Path, tree: Path, *, legacy: bool) -> None:
    """Compile now: the root file system of a container is read-only. Byte code is bound to no file times."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(
        str(folder), quiet=2, stripdir=str(tree), legacy=legacy, maxlevels=20, invalidation_mode=unchecked
    )


def _python_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _copy_interpreter(tree: Path) -> None:
    name = _python_name()
    interpreter = Path(sys.base_prefix) / "bin" / name
    target = tree / PYTHON / "bin" / name
    target.parent.mkdir(parents=True)
    shutil.copy2(interpreter, target)
    library = Path(sysconfig.get_paths(vars={"base": sys.base_prefix})["stdlib"])
    shutil.copytree(library, tree / PYTHON / "lib" / name, ignore=_ignored)


def _ignored(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _LEFT_OUT or _NEVER.fullmatch(name)}


def _install(site: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run(
        [*pip, "--constraint", ROOT / "constraints.txt", "--target", site, f"{ROOT}[operator,agent]"],
        check=True,
    )
    shutil.rmtree(site / "bin", ignore_errors=True)
    for path in sorted(site.rglob("*"), reverse=True):
        if path.name in {"__pycache__", "tests", "test"} and path.is_dir():
            shutil.rmtree(path)
        elif path.is_file() and (_NEVER.fullmatch(path.name) or path.name in {"RECORD", "direct_url.json"}):
            path.unlink()


def _copy_libraries(tree: Path) -> None:
    """Copy every shared library that some program of the tree needs, and the loader to its fixed path."""
    folder = tree / LIBRARIES
    folder.mkdir()
    programs = [tree / PYTHON / "bin" / _python_name(), *(tree / PYTHON).rglob("*.so*")]
    found: dict[str, Path] = {}
    for program in programs:
        done = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
        for name, path in _LDD.findall(done.stdout):
            if not Path(path).is_relative_to(tree):
                found[name or path] = Path(path)
    nearby = next(path.parent for name, path in found.items() if name.startswith("libc."))
    found |= {name: nearby / name for name in _BY_NAME if (nearby / name).exists()}
    for name, path in sorted(found.items()):
        target = tree / name.lstrip("/") if name.startswith("/") else folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), target)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


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


def write_archive(archive: Path, reference: str, layer: bytes) -> str:
    """Write an OCI image layout as a tar file; return the digest of its manifest."""
    blobs: dict[str, bytes] = {}
    packed = gzip.compress(layer, compresslevel=6, mtime=0)
    configuration = _json(_configuration(_digest(layer)))
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


def _configuration(layer: str) -> dict[str, object]:
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": [f"/{HOME}/bin/podnuma"],
            "Env": [f"PATH=/{HOME}/bin", f"LD_LIBRARY_PATH=/{LIBRARIES}", "PYTHONUNBUFFERED=1"],
            "Labels": {
                "org.opencontainers.image.title": "podnuma",
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }


def _blob(blobs: dict[str, bytes], kind: str, data: bytes) -> dict[str, object]:
    blobs[_digest(data)] = data
    return {"mediaType": kind, "digest": f"sha256:{_digest(data)}", "size": len(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def version() -> str:
    """Return podnuma's version as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def main() -> None:
    """Build the image."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "podnuma-image.tar")
    parser.add_argument("--reference", default=f"localhost/podnuma:{version()}", help="name and tag")
    options = parser.parse_args()
    digest = build(options.output, options.reference)
    size = options.output.stat().st_size / 2**20
    sys.stdout.write(f"{options.output}  {options.reference}  {digest}  {size:.0f} MiB\n")


if __name__ == "__main__":
    main()
