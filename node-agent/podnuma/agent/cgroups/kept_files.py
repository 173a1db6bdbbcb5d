"""Cgroup files that stay open, because each is read every few seconds for as long as the node lives.

A kept file is read with pread, for which the kernel renders it anew, and a text that is the same as before is
not parsed again. What is kept is never older than the cgroup: of one that is gone the kernel refuses to read
(ENODEV), and a plain file, as the simulated runtime has them, has lost its name. Then the file that has the
path now is opened, if there is one.

Half of the files that this process may open are kept at most; those beyond are opened for each read.
"""

import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from podnuma.agent.cgroups.files import LONGEST, File, read_bytes, text_of, value_in
from podnuma.agent.model.wanting import unless_wanting

T = TypeVar("T")

_USUALLY = 4096
_MOST = 65536


class FileBudget:
    """How many more files may be kept open by this process."""

    def __init__(self, most: int | None = None) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = _MOST if soft == resource.RLIM_INFINITY else min(soft // 2, _MOST)
        self.left = allowed if most is None else most


@dataclass(frozen=True, slots=True, eq=False)
class FileGroup(Generic[T]):
    """Files of a folder that are read together, and what is made of what each of them says."""

    files: Sequence[File[Any]]
    made: Callable[..., T]


class _KeptFile:
    __slots__ = ("descriptor", "raw", "value")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.raw: bytes | None = None
        self.value: Any = None


class _KeptGroup:
    """Short files of a group, all of them kept, and what was made of them."""

    __slots__ = ("descriptors", "raw", "value")

    def __init__(self, kept: Sequence[_KeptFile], value: object) -> None:
        self.descriptors = [each.descriptor for each in kept]
        self.raw = [each.raw for each in kept]
        self.value: Any = value

    def is_unchanged(self) -> bool:
        """Read all of them, and tell whether each says what it said."""
        try:
            return [os.pread(each, _USUALLY, 0) for each in self.descriptors] == self.raw
        except OSError:
            return False


class KeptFolder:
    """One cgroup's folder and the files of it that were read before. `used`: since the last sweep."""

    __slots__ = ("_budget", "_files", "_groups", "path", "used")

    def __init__(self, path: str, budget: FileBudget) -> None:
        self.path = path
        self.used = True
        self._budget = budget
        self._files: dict[str, _KeptFile] = {}
        self._groups: dict[FileGroup[Any], _KeptGroup] = {}

    def exists(self) -> bool:
        """Tell whether the folder is still there, and not another one of its name."""
        for kept in self._files.values():
            return os.fstat(kept.descriptor).st_nlink > 0
        return is_there(self.path)

    def value(self, file: File[T]) -> T | None:
        """Return what a file says; None if it cannot be read, is empty, or says nothing that makes sense."""
        raw = self._read(file.name)
        kept = self._files.get(file.name)
        if kept is None:
            return value_in(file, raw)
        if raw != kept.raw:
            kept.raw, kept.value = raw, value_in(file, raw)
        value: T | None = kept.value
        return value

    def made(self, group: FileGroup[T]) -> T:
        """Return what is made of a group of files: the very same object as long as none of them changes."""
        known = self._groups.get(group)
        if known is None or not known.is_unchanged():
            self._groups.pop(group, None)
            value = group.made(*[self.value(file) for file in group.files])
            kept = [self._files[file.name] for file in group.files if file.name in self._files]
            if len(kept) < len(group.files) or any(len(each.raw or b"") >= _USUALLY for each in kept):
                return value
            known = self._groups[group] = _KeptGroup(kept, value)
        same: T = known.value
        return same

    def text(self, name: str) -> str | None:
        """Return a file's text without outer blanks; None if it cannot be read."""
        raw = self._read(name)
        return None if raw is None else text_of(raw)

    def close(self) -> None:
        """Keep none of its files."""
        for kept in self._files.values():
            os.close(kept.descriptor)
        self._budget.left += len(self._files)
        self._files.clear()
        self._groups.clear()

    def _read(self, name: str) -> bytes | None:
        kept = self._kept(name)
        if kept is not None:
            try:
                return _content(kept.descriptor)
            except OSError:
                self.close()
                kept = self._kept(name)
        if kept is None:
            return read_bytes(f"{self.path}/{name}")
        try:
            return _content(kept.descriptor)
        except OSError as error:
            unless_wanting(error)
            return None

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


def is_there(path: str) -> bool:
    """Tell whether there is such a folder. Asked hundreds of times in a pass, mostly of one that is not."""
    return os.access(path, os.F_OK)


def _content(descriptor: int) -> bytes:
    raw = os.pread(descriptor, _USUALLY, 0)
    return raw if len(raw) < _USUALLY else os.pread(descriptor, LONGEST, 0)
