"""Cgroup files that stay open, because each is read every few seconds for as long as the node lives.

A kept file is read with pread, for which the kernel renders it anew, and a text that is the same as before is
not parsed again. What is kept is never older than the cgroup: of one that is gone the kernel refuses to read
(ENODEV), and a plain file, as the simulated runtime has them, has lost its name.

Half of the files that this process may open are kept at most; those beyond are opened for each read. Not
`cgroup.procs`: an open one keeps a removed cgroup in the kernel's memory.
"""

import os
import resource
from typing import Any, TypeVar

from podnuma.agent.cgroups.files import LONGEST, File, read_bytes, text_of

T = TypeVar("T")

_USUALLY = 4096
_MOST = 65536


class FileBudget:
    """How many more files may be kept open by this process."""

    def __init__(self, most: int | None = None) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = _MOST if soft == resource.RLIM_INFINITY else min(soft // 2, _MOST)
        self.left = allowed if most is None else most


class _KeptFile:
    __slots__ = ("descriptor", "raw", "value")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.raw: bytes | None = None
        self.value: Any = None


class KeptFolder:
    """One cgroup's folder and the files of it that were read before. `used`: since the last sweep."""

    __slots__ = ("_budget", "_files", "path", "used")

    def __init__(self, path: str, budget: FileBudget) -> None:
        self.path = path
        self.used = True
        self._budget = budget
        self._files: dict[str, _KeptFile] = {}

    def exists(self) -> bool:
        """Tell whether the folder is still there, and not another one of its name."""
        for kept in self._files.values():
            return os.fstat(kept.descriptor).st_nlink > 0
        return is_folder(self.path)

    def value(self, file: File[T]) -> T | None:
        """Return what a file says; None if it cannot be read, is empty, or says nothing that makes sense."""
        kept = self._kept(file.name)
        if kept is None:
            return _parsed(file, read_bytes(f"{self.path}/{file.name}"))
        try:
            raw = _read(kept.descriptor)
        except OSError:
            self.close()
            return None
        if raw != kept.raw:
            kept.raw, kept.value = raw, _parsed(file, raw)
        value: T | None = kept.value
        return value

    def text(self, name: str) -> str | None:
        """Return a file's text without outer blanks; None if it cannot be read."""
        kept = self._kept(name)
        try:
            raw = read_bytes(f"{self.path}/{name}") if kept is None else _read(kept.descriptor)
        except OSError:
            self.close()
            return None
        return None if raw is None else text_of(raw)

    def close(self) -> None:
        """Keep none of its files."""
        for kept in self._files.values():
            os.close(kept.descriptor)
        self._budget.left += len(self._files)
        self._files.clear()

    def _kept(self, name: str) -> _KeptFile | None:
        kept = self._files.get(name)
        if kept is not None or self._budget.left <= 0:
            return kept
        try:
            kept = _KeptFile(os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None
        self._budget.left -= 1
        self._files[name] = kept
        return kept


def is_folder(path: str) -> bool:
    """Tell whether there is such a folder."""
    return os.path.isdir(path)  # noqa: PTH112 - asked hundreds of times in a pass


def _read(descriptor: int) -> bytes:
    raw = os.pread(descriptor, _USUALLY, 0)
    return raw if len(raw) < _USUALLY else os.pread(descriptor, LONGEST, 0)


def _parsed(file: File[T], raw: bytes | None) -> T | None:
    try:
        return None if raw is None else file.parse(text_of(raw))
    except ValueError:
        return None
