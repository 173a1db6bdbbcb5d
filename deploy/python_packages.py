"""podnuma and what it needs as Python packages in a folder, for one architecture, compiled.

pip is run by the interpreter of deploy/debian-packages.txt, so that versions and files are chosen for the
Python that will run them and not for the one that builds. Only wheels are taken: nothing is compiled here,
and those of another architecture are the same step. Byte code is the same everywhere; an interpreter of this
machine's own writes it. Neither root nor an emulator is needed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pip

from deploy import debian

ROOT = Path(__file__).resolve().parents[1]
_NEVER = re.compile(r".*\.(a|pyi|pyx|pxd|h|exe)|RECORD|REQUESTED|INSTALLER|direct_url\.json")
_RUN_PIP = "runpy.run_module('pip', run_name='__main__')"
_QUIETLY = ("install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore")
# glibc of Debian 13 and older ones down to that of the oldest wheels.
_GLIBC = range(41, 16, -1)


def loader(root: Path, architecture: str) -> tuple[Path, Path]:
    """Return the program that starts programs of an unpacked Debian, and the folder of its libraries."""
    machine = debian.MACHINES[architecture]
    name = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}[architecture]
    return root / "usr" / name, root / "usr" / "lib" / f"{machine}-linux-gnu"


@dataclass(frozen=True)
class Builder:
    """An unpacked interpreter for this machine, and podnuma's own wheel."""

    folder: Path
    newest_if_gone: bool = False

    def packages(self, architecture: str) -> list[Path]:
        """Return the files of Debian's packages."""
        return debian.fetch(architecture, newest_if_gone=self.newest_if_gone)

    @cached_property
    def _python(self) -> list[str | Path]:
        architecture, root = debian.own_architecture(), self.folder / "python"
        debian.unpack(self.packages(architecture), root)
        program, libraries = loader(root, architecture)
        python = root / "usr" / "bin" / debian.PYTHON
        return [program, "--library-path", libraries, "--argv0", python, python]

    @cached_property
    def wheel(self) -> Path:
        """Podnuma itself, built by hatchling."""
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        target = self.folder / "wheel"
        subprocess.run([*command, "--wheel-dir", target, ROOT], check=True)
        return next(target.glob("podnuma-*.whl"))

    def install(self, site: Path, architecture: str, extras: str = "") -> None:
        """Install podnuma with its dependencies in the versions of constraints.txt."""
        machine = debian.MACHINES[architecture]
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            (Path(scratch) / "pip").symlink_to(Path(pip.__file__).parent)
            start = f"import runpy, sys; sys.path.insert(0, {scratch!r}); {_RUN_PIP}"
            platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC]
            pinned = ["--constraint", str(ROOT / "constraints.txt"), "--only-binary=:all:", *platforms]
            install = [*_QUIETLY, "--no-compile", *pinned]
            command = [*self._python, "-I", "-B", "-c", start, *install, "--target", str(site)]
            subprocess.run([*command, f"{self.wheel}{extras}"], check=True)
        shutil.rmtree(site / "bin", ignore_errors=True)
        for path in sorted(site.rglob("*"), reverse=True):
            if path.name in {"__pycache__", "tests", "test"} and path.is_dir():
                shutil.rmtree(path)
            elif path.is_file() and _NEVER.fullmatch(path.name):
                path.unlink()

    def compile(self, tree: Path, *folders: Path, sources: bool = True) -> None:
        """Compile now: where it runs nothing may be written. Byte code has no times in it, nor this tree.

        sources: whether they stay; without them a stack trace has lines' numbers and not their text.
        """
        for folder in folders:
            command = [*self._python, "-I", "-B", "-m", "compileall", "-qq", *([] if sources else ["-b"])]
            places = [
                "--invalidation-mode",
                "unchecked-hash",
                "-r",
                "20",
                "-s",
                str(tree),
                "-p",
                "/",
                str(folder),
            ]
            subprocess.run([*command, *places], check=False)
            for source in [] if sources else sorted(folder.rglob("*.py")):
                # What is no Python of this version has no byte code.
                if source.with_suffix(".pyc").exists():
                    source.unlink()

    def compress(self, data: bytes) -> bytes:
        """Return gzip's form of it without a time, by the pinned zlib: others write other bytes."""
        program = (
            "import gzip, sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read(), 6, mtime=0))"
        )
        return subprocess.run(
            [*self._python, "-I", "-c", program], check=True, input=data, capture_output=True
        ).stdout
