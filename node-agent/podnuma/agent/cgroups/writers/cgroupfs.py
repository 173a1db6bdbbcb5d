"""Writes cgroup files. For nodes without systemd in charge, and for trees that no kernel looks at.

The cpuset controller may be missing in a folder: then it is switched on from the root down, as far as
the folder's parent, which is what makes the files appear. Never in a cgroup with processes of its own, below
the root: of such a one the kernel may make a threaded one, in which no container can start any more
(ZelAnton/ProcessKit-rs#39).
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.layout import CgroupLayout
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused, from_errno
from podnuma.agent.model.cgroup_ref import describe
from podnuma.agent.model.cgroup_values import CgroupValues, CgroupWrite
from podnuma.allocator import cpuset

_CONTROLLERS = {"cpuset.": "+cpuset", "cpu.": "+cpu"}


@dataclass(frozen=True, slots=True)
class CgroupfsWriter:
    """Carries out writes on files below `root`."""

    root: Path
    layout: CgroupLayout

    def write(self, write: CgroupWrite, folder: PurePosixPath | None = None) -> None:
        """Carry out a write. Raises CgroupGone, or WriteRefused for a value after the others were written.

        `folder`, relative to the root, is for containers whose folder the runtime named.
        """
        where = folder or self.layout.folder(write.cgroup)
        if not (self.root / where).is_dir():
            raise CgroupGone(describe(write.cgroup))
        if write.cpus == cpuset.EMPTY:
            raise ValueError(f"{describe(write.cgroup)}: the empty set means 'all CPUs' and is never written")
        # Memory nodes first: a set of CPUs without its memory is slower than the other way round.
        values = (
            (files.MEMS.name, None if write.mems is None else files.MEMS.render(write.mems)),
            (files.CPUS.name, None if write.cpus is None else files.CPUS.render(write.cpus)),
            (files.MAX.name, None if write.cpu_max is None else files.MAX.render(write.cpu_max)),
        )
        refusals = []
        for file, value in values:
            if value is None:
                continue
            try:
                self._write(where, file, value)
            except WriteRefused as refused:
                refusals.append(refused)
        if refusals:
            raise refusals[0]

    def write_leaf(self, write: CgroupWrite, folder: PurePosixPath, values: CgroupValues) -> None:
        """Carry out a write to a container in the group that crun makes in it, which has `values`.

        Only what is set there: crun gives it what the container was created with, and no later write to the
        container's own cgroup changes that.
        """
        limited = values.cpu_max is not None and values.cpu_max.quota is not None
        within = CgroupWrite(
            write.cgroup,
            cpus=write.cpus if values.cpus is not None and values.cpus != write.cpus else None,
            mems=write.mems if values.mems is not None and values.mems != write.mems else None,
            cpu_max=write.cpu_max if limited and values.cpu_max != write.cpu_max else None,
        )
        self.write(within, folder)

    def clear(self, folder: PurePosixPath) -> None:
        """Make a cgroup follow its parent again. Raises CgroupGone or WriteRefused."""
        if not (self.root / folder).is_dir():
            raise CgroupGone(str(folder))
        for file in (files.CPUS.name, files.MEMS.name):
            if (self.root / folder / file).exists():
                self._write(folder, file, "")

    def _write(self, folder: PurePosixPath, file: str, value: str) -> None:
        path = self.root / folder / file
        if not path.exists():
            self._switch_on(folder, file)
        try:
            # An empty write is a no-op for the kernel; a line break is how "nothing" is said.
            path.write_text(f"{value}\n", encoding="ascii")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CgroupGone(str(path)) from error
        except OSError as error:
            if not path.parent.is_dir():
                raise CgroupGone(str(path)) from error
            raise from_errno(str(path), value, error) from error

    def _switch_on(self, folder: PurePosixPath, file: str) -> None:
        word = next(word for prefix, word in _CONTROLLERS.items() if file.startswith(prefix))
        for above in (*reversed(folder.parents),):
            path = self.root / above / files.SUBTREE
            try:
                there = word[1:] in path.read_text(encoding="ascii").split()
                if not there and above.parts and files.content(str(path.with_name("cgroup.procs"))):
                    raise from_errno(str(path), word, OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
                if not there:
                    path.write_text(word, encoding="ascii")
            except WriteRefused:
                raise
            except OSError as error:
                # A controller that a cgroup cannot hand down is "not there", too.
                if not (self.root / folder).is_dir():
                    raise CgroupGone(str(path)) from error
                raise from_errno(str(path), word, error) from error
