"""Plain files that behave like cgroup v2 as far as cpuset and cpu.max go.

A group's effective CPUs are its own within its parent's, or its parent's where that leaves nothing or
nothing was written; likewise memory nodes. `run_pass` makes the files say so after writes from outside.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from podnuma.agent.cgroups import files
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.allocator import cpuset, nodeset

_CONTROLLERS = "cpuset cpu memory"


@dataclass(frozen=True, slots=True)
class FakeKernel:
    """The tree below `root`. `cpus` and `nodes`: kernel lists of what the machine has online."""

    root: Path
    cpus: str
    nodes: str

    def make(self, folder: PurePosixPath, cpu_max: CpuMax | None = None) -> None:
        """Make a group, and the groups above it, if they are not there."""
        for group in (*reversed(folder.parents), folder):
            path = self.root / group
            path.mkdir(parents=True, exist_ok=True)
            for name, text in self._fresh(group).items():
                if not (path / name).exists():
                    (path / name).write_text(f"{text}\n", encoding="ascii")
        if cpu_max is not None:
            (self.root / folder / files.MAX.name).write_text(
                f"{files.MAX.render(cpu_max)}\n", encoding="ascii"
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
        path = str(self.root / folder)
        above = str((self.root / folder).parent) if folder.parts else None
        self._settle(path, above)

    def _settle(self, path: str, above: str | None) -> None:
        for parse, name, machine in (
            (cpuset.parse, files.CPUS.name, self.cpus),
            (nodeset.parse, files.MEMS.name, self.nodes),
        ):
            allowed = machine if above is None else files.content(f"{above}/{name}.effective") or ""
            parents = _parsed(allowed, parse)
            own = _parsed(files.content(f"{path}/{name}") or "", parse)
            text = cpuset.render(own & parents or parents)
            if files.content(f"{path}/{name}.effective") != text:
                Path(f"{path}/{name}.effective").write_text(f"{text}\n", encoding="ascii")
        with os.scandir(path) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir())
        for group in below:
            self._settle(group, path)

    def _fresh(self, group: PurePosixPath) -> dict[str, str]:
        everything = {
            files.CONTROLLERS: _CONTROLLERS,
            files.SUBTREE: _CONTROLLERS,
            files.MAIN_PROCESS.name: "",
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


def _parsed(text: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(text)
    except ValueError:
        return 0
