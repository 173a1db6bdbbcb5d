"""Two builds of podnuma beside each other: a commit, and the working tree as it is now.

Each is a git worktree in a temporary folder with a virtual environment of its own, and both environments are
made alike: the sources of that worktree, and the packages of the environment that runs this. So ratios show
podnuma's own code, not its dependencies; `differing_packages` says which requirements were others.

A command is measured in a process of one build, by default by the benchmarks of today (`Driver.TODAY`): the
folder `benchmarks` of now is put before the build's own in the import path, while podnuma, testbed and tests
are the build's. Where today's benchmarks need what the commit has not, its own are tried
(`Driver.OWN`: only `figures` and `whole` are of today).
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOTS = ("allocator", "api", "plumbing", "operator", "node-agent", "cli")
GENERATED = ("*_pb2.py", "*_pb2.pyi")
NOT_THERE = ("ImportError", "ModuleNotFoundError", "AttributeError", "TypeError", "StopIteration", "KeyError")


class CannotMeasureError(RuntimeError):
    """A build has not what a command measures, or failed at it; the text is the last line that it said."""


class Driver(enum.Enum):
    """Whose benchmarks measure."""

    TODAY = "today's"
    OWN = "its own"


@dataclass(frozen=True, slots=True)
class Build:
    """Sources with their environment. `drivers`: whose benchmarks -> the folder to import them from."""

    name: str
    tree: Path
    drivers: Mapping[Driver, Path]
    python: Path

    def measure(
        self, command: str, driver: Driver, log: Path, quick: float | None = None
    ) -> dict[str, float]:
        """Run a command in a process of this build and return its figures."""
        target = log.with_suffix(".json")
        # -P: else the working directory, which is the build's own tree, would be searched first.
        places = os.pathsep.join(str(place) for place in (self.drivers[driver], self.tree))
        words = [str(self.python), "-P", "-m", "benchmarks.figures", command, str(target)]
        words += [] if quick is None else [str(quick)]
        scratch = log.parent / "tmp"  # removed with everything, however the command ends
        scratch.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": places, "TMPDIR": str(scratch)}
        with log.open("w") as out:
            status = _run(words, self.tree, environment, out.fileno())
        if status != 0:
            raise CannotMeasureError(_last_line(log) or f"ended with status {status}")
        found: dict[str, float] = json.loads(target.read_text())
        return found


def _run(words: list[str], folder: Path, environment: Mapping[str, str], out: int) -> int:
    """Run a child in a process group of its own, and end the whole group when this is interrupted."""
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    ) as child:
        try:
            return child.wait()
        except BaseException:
            for number in (signal.SIGINT, signal.SIGKILL):  # a control plane is taken down in order
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(20)
            raise


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def lacks(error: CannotMeasureError) -> bool:
    """Say whether a failure looks like a build that has not got something."""
    return str(error).partition(":")[0] in NOT_THERE


def git(root: Path, *words: str) -> str:
    """Run git in a folder and return what it says; its errors are CannotMeasureError."""
    done = subprocess.run(["git", "-C", str(root), *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotMeasureError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def both(root: Path, base: str) -> Iterator[tuple[Build, Build, Path]]:
    """Yield the commit's build, that of now, and a folder for logs; all of it is removed at the end."""
    commit = git(root, "rev-parse", "--verify", f"{base}^{{commit}}").strip()
    folder = Path(tempfile.mkdtemp(prefix="podnuma-compare-"))
    trees = {"base": folder / "base", "now": folder / "now"}
    try:
        today, figures_only = folder / "today", folder / "figures"
        shutil.copytree(root / "benchmarks", today / "benchmarks")
        (figures_only / "benchmarks").mkdir(parents=True)
        for name in ("figures.py", "whole.py"):
            shutil.copy(root / "benchmarks" / name, figures_only / "benchmarks")
        drivers = {Driver.TODAY: today, Driver.OWN: figures_only}
        for name, of in (("base", commit), ("now", "HEAD")):
            git(root, "worktree", "add", "--detach", "--quiet", str(trees[name]), of)
        _copy_changes(root, trees["now"])
        for tree in trees.values():
            _generate(root, tree)
            _environment(tree)
        base_build, now = (
            Build(name, tree, drivers, tree / ".venv/bin/python") for name, tree in trees.items()
        )
        yield base_build, now, folder
    finally:
        for tree in trees.values():
            with contextlib.suppress(CannotMeasureError):
                git(root, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(folder, ignore_errors=True)
        git(root, "worktree", "prune")


def _copy_changes(root: Path, tree: Path) -> None:
    """Make a worktree of HEAD what the working tree is: files that were changed, added or deleted."""
    names = git(root, "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard").split(
        "\0"
    )
    staged = git(root, "diff", "-z", "--name-only", "--no-renames", "HEAD").split("\0")
    for name in sorted({*names, *staged} - {""}):
        source, target = root / name, tree / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)


def _generate(root: Path, tree: Path) -> None:
    """Give a worktree its modules for protobuf messages: those of here, if the messages are the same."""
    for proto in (tree / "node-agent").rglob("*.proto"):
        here = root / proto.relative_to(tree)
        if not here.is_file() or here.read_bytes() != proto.read_bytes():
            _build_package(tree)
            return
        for generated in (here.with_name(f"{here.stem}_pb2{suffix}") for suffix in (".py", ".pyi")):
            shutil.copy2(generated, proto.parent)


def _build_package(tree: Path) -> None:
    """Let the package's own build write the modules: its messages are others than those of here."""
    with tempfile.TemporaryDirectory(prefix="podnuma-wheel-") as target:
        words = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            f"--target={target}",
            "-e",
            ".",
        ]
        done = subprocess.run(words, cwd=tree, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotMeasureError(
            f"{tree.name}: its protobuf messages cannot be generated: {done.stderr[-300:]}"
        )


def _environment(tree: Path) -> None:
    """Make a virtual environment with the sources of a tree and the packages of the running one."""
    target = tree / ".venv"
    venv.create(target, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(target), "platbase": str(target)}))
    packages = sysconfig.get_path("purelib")
    # A path in a .pth file is not searched for further .pth files: podnuma's of the running one has no say.
    site.joinpath("compare.pth").write_text("".join(f"{tree / root}\n" for root in ROOTS) + f"{packages}\n")
    here, there = Path(sys.executable).parent, target / "bin"
    for script in here.iterdir():
        with contextlib.suppress(UnicodeDecodeError, OSError):
            first, newline, rest = script.read_text().partition("\n")
            if first.startswith("#!") and str(here) in first and not (there / script.name).exists():
                there.joinpath(script.name).write_text(f"#!{there / 'python'}{newline}{rest}")
                there.joinpath(script.name).chmod(0o755)
    target.joinpath(".installed").touch()


def differing_packages(base: Path, now: Path) -> list[str]:
    """Return requirements of the first tree that the second one has not, as written there."""
    return sorted(_requirements(base) - _requirements(now))


def _requirements(tree: Path) -> set[str]:
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    optional = project.get("optional-dependencies", {})
    named = [
        *project["dependencies"],
        *(one for name in ("operator", "agent", "test") for one in optional.get(name, ())),
    ]
    return set(named)
