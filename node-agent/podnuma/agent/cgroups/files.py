"""The cgroup files that podnuma uses, one row each: how the text is read and written.

Text comes from the kernel and, on a hostile node, from anyone who can write there: a text that does not
parse is None, as an absent file is, and the verifier reports the difference. What could not be read for want
of a descriptor or of memory is neither absent nor empty: that raises OSError, or a pod whose folder could not
be listed would count as one that has ended, and its CPUs be given away.
"""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.agent.model.wanting import unless_wanting
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet

T = TypeVar("T")

LONGEST = 32 * 1024  # bytes of a file that are read

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV})

# Kernels of some vendors say the burst here too: "max 100000 0" (kata-containers/cgroups-rs#151).
_MAX = re.compile(r"(max|[0-9]{1,15}) ([0-9]{1,9})(?: [0-9]{1,15})?")
_PERIODS = re.compile(r"^(nr_periods|nr_throttled) ([0-9]{1,19})$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class File(Generic[T]):
    """`parse` gives None for "nothing written" or raises ValueError. `render` is the kernel's spelling."""

    name: str
    parse: Callable[[str], T | None]
    render: Callable[[T], str]


def text_of(raw: bytes) -> str:
    """Return what was read as text without outer blanks."""
    return raw.decode("ascii", "replace").strip()


def read_bytes(path: str) -> bytes | None:
    """Return what a file says; None if it cannot be read. Raises OSError for want of means to read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        unless_wanting(error)
        return None
    try:
        return os.read(descriptor, LONGEST)
    except OSError as error:
        unless_wanting(error)
        return None
    finally:
        os.close(descriptor)


def names_in(folder: str) -> list[str]:
    """Return the names of what is in a folder, sorted; none if it is not there. Raises OSError."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - in every pass, and names are all that is asked
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


def folders_in(folder: Path | str) -> list[str]:
    """Return the names of the folders in a folder; none if it is not there. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


def content(path: str) -> str | None:
    """Return a file's text without outer blanks; None if it cannot be read."""
    raw = read_bytes(path)
    return None if raw is None else text_of(raw)


def number(path: str) -> int | None:
    """Return the number that a file says; None if it cannot be read or says something else, as "max"."""
    text = content(path)
    return None if text is None or not _NUMBER.fullmatch(text) else int(text)


def _cpu_max(text: str) -> CpuMax:
    match = _MAX.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a quota and a period")
    return CpuMax(None if match[1] == "max" else int(match[1]), int(match[2]))


def render_cpu_max(value: CpuMax) -> str:
    """Spell a quota and a period as cpu.max does: "300000 100000", "max 100000"."""
    return f"{'max' if value.quota is None else value.quota} {value.period}"


def value_in(file: File[T], raw: bytes | None) -> T | None:
    """Return what a file with these bytes says; None if it was not read or makes no sense."""
    try:
        return None if raw is None else file.parse(text_of(raw))
    except ValueError:
        return None


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return int(text)


def _first(text: str) -> int | None:
    """Return the first process; 0 stands for one that is not of this process's namespace."""
    first = text.partition("\n")[0]
    return _number(first) or None if first else None


def _throttled_percent(text: str) -> int | None:
    counts = {name: int(count) for name, count in _PERIODS.findall(text)}
    periods = counts.get("nr_periods", 0)
    return -(-100 * min(counts.get("nr_throttled", 0), periods) // periods) if periods else None


def _cpus(text: str) -> CpuSet | None:
    return cpuset.parse(text) or None


def _mems(text: str) -> NodeSet | None:
    return nodeset.parse(text) or None


CPUS: File[CpuSet] = File("cpuset.cpus", _cpus, cpuset.render)
EFFECTIVE_CPUS: File[CpuSet] = File("cpuset.cpus.effective", _cpus, cpuset.render)
CLAIMED_CPUS: File[CpuSet] = File("cpuset.cpus.exclusive.effective", _cpus, cpuset.render)
MEMS: File[NodeSet] = File("cpuset.mems", _mems, nodeset.render)
EFFECTIVE_MEMS: File[NodeSet] = File("cpuset.mems.effective", _mems, nodeset.render)
MAX: File[CpuMax] = File("cpu.max", _cpu_max, render_cpu_max)
THROTTLED_PERCENT: File[int] = File("cpu.stat", _throttled_percent, str)
MAIN_PROCESS: File[int] = File("cgroup.procs", _first, str)
RESIDENT: File[int] = File("memory.current", _number, str)

CONTROLLERS = "cgroup.controllers"
SUBTREE = "cgroup.subtree_control"
EVENTS = "cgroup.events"
