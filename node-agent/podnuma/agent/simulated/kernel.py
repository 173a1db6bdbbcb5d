"""Plain files that behave like cgroup v2 as far as cpuset and cpu.max go.

A group's effective CPUs are its own within its parent's, or its parent's where that leaves nothing or
nothing was written; likewise memory nodes. `settle` makes the files say so after writes from outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from podnuma.agent.cgroups import files
from podnuma.agent.plan.places import Bandwidth
from podnuma.allocator import cpuset, nodeset

_CONTROLLERS = "cpuset cpu memory"


@dataclass(frozen=True, slots=True)
class FakeKernel:
    """The tree below `root`. `cpus` and `nodes`: kernel lists of what the machine has online."""

    root: Path
    cpus: str
    nodes: str

    def make(self, folder: PurePosixPath, bandwidth: Bandwidth | None = None) -> None:
        """Make a group, and the groups above it, if they are not there."""
        for group in (*reversed(folder.parents), folder):
            path = self.root / group
            path.mkdir(parents=True, exist_ok=True)
            for name, text in self._fresh(group).items():
                if not (path / name).exists():
                    (path / name).write_text(f"{text}\n", encoding="ascii")
        if bandwidth is not None:
            (self.root / folder / files.MAX.name).write_text(
                f"{files.MAX.render(bandwidth)}\n", encoding="ascii"
            )

    def remove(self, folder: PurePosixPath) -> None:
        """Remove a group and those below it."""
        path = self.root / folder
        for entry in sorted(path.rglob("*"), reverse=True):
            entry.rmdir() if entry.is_dir() else entry.unlink()
        if path.is_dir():
            path.rmdir()

    def settle(self, folder: PurePosixPath) -> None:
        """Work out the effective sets of a group and of all below it."""
        path = self.root / folder
        above = path.parent if folder.parts else None
        self._settle(path, above, cpuset.parse, files.CPUS.name, self.cpus)
        self._settle(path, above, nodeset.parse, files.MEMS.name, self.nodes)
        for entry in sorted(path.iterdir()):
            if entry.is_dir():
                self.settle(folder / entry.name)

    def _settle(
        self, path: Path, above: Path | None, parse: Callable[[str], int], name: str, machine: str
    ) -> None:
        effective = f"{name}.effective"
        parents = parse(machine if above is None else _text(above / effective))
        own = _parsed(_text(path / name), parse)
        text = cpuset.render(own & parents or parents)
        if _text(path / effective) != text:
            (path / effective).write_text(f"{text}\n", encoding="ascii")

    def _fresh(self, group: PurePosixPath) -> dict[str, str]:
        everything = {
            files.CONTROLLERS: _CONTROLLERS,
            files.SUBTREE: _CONTROLLERS,
            files.PROCESSES: "",
            files.EFFECTIVE_CPUS.name: self.cpus,
            files.EFFECTIVE_MEMS.name: self.nodes,
        }
        if not group.parts:
            return everything
        own = {
            files.CPUS.name: "",
            files.MEMS.name: "",
            files.MAX.name: "max 100000",
            files.RESIDENT.name: "0",
        }
        return everything | own


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _parsed(text: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(text)
    except ValueError:
        return 0
