"""Files of a kernel tree (sysfs, procfs) below a root that is a parameter.

Absent is normal: kernels differ in what they export, and offline CPUs have hardly any files. Present
but unreadable or senseless is a finding. Nothing here raises for what a file holds: the content is input
from hardware, firmware and, in virtual machines, from strangers. What could not be read for want of a
descriptor or of memory says nothing of the machine: that raises OSError.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from podnuma.agent.model.wanting import unless_wanting
from podnuma.allocator import cpuset

# A mask of 65,536 CPUs takes 18 KiB; the kernel's largest build knows 8,192.
LARGEST_FILE = 64 * 1024

_GROUP = re.compile(r"[0-9a-fA-F]{1,8}")
_WORD = re.compile(r"[0-9a-fA-F]{8}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_OF_ONE_CPU = re.compile(r"/cpu([0-9]{1,5})/")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the tree.

    `fatal` findings leave the machine unknown; the others were answered with a safe default, named in
    `problem`. `next_step` is for the administrator.
    """

    path: str
    problem: str
    next_step: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.next_step}"


def summary(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return one finding for each kind: the first, with the list of CPUs for which it is the same."""
    kinds: dict[tuple[str, str, bool], list[tuple[int, Finding]]] = {}
    for finding in findings:
        match = _OF_ONE_CPU.search(finding.path)
        key = (_OF_ONE_CPU.sub("/cpu/", finding.path, count=1), finding.next_step, finding.fatal)
        kinds.setdefault(key, []).append((int(match[1]) if match else -1, finding))
    told = []
    for alike in kinds.values():
        first = alike[0][1]
        if len(alike) > 1 and alike[0][0] >= 0:
            cpus = cpuset.render(cpuset.of(cpu for cpu, _ in alike))
            problem = f"{first.problem} (the same or alike for {len(alike)} CPUs: {cpus})"
            told.append(replace(first, problem=problem))
        else:
            told += [finding for _, finding in alike]
    return tuple(told)


def mask(text: str) -> cpuset.CpuSet:
    """Parse the kernel's mask form: hexadecimal words of 32 bits, most significant first, any number of them.

    Only the first word may have fewer than eight digits. Raises ValueError.
    """
    first, *rest = text.strip().split(",")
    if not _GROUP.fullmatch(first) or not all(_WORD.fullmatch(word) for word in rest):
        raise ValueError(f"{text.strip()[:80]!r} is not a CPU mask")
    value = int("".join([first, *rest]), 16)
    if value.bit_length() > cpuset.MAX_ID + 1:
        raise ValueError(f"a mask of {value.bit_length()} bits is more than any kernel has CPUs")
    return cpuset.CpuSet(value)


@dataclass(slots=True)
class Tree:
    """Reads below `root` and remembers what was wrong."""

    root: Path
    findings: list[Finding] = field(default_factory=list)

    def text(self, path: str) -> str | None:
        """Return the content without outer blanks, or None if the file is absent or unreadable."""
        try:
            with (self.root / path).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            unless_wanting(error)
            self._found(
                path, f"cannot be read ({error.strerror})", "mount it readable for the agent (hostPath /sys)"
            )
            return None
        if len(raw) > LARGEST_FILE:
            self._found(path, f"is longer than {LARGEST_FILE} bytes", "check which tree is mounted there")
            return None
        return raw.decode("ascii", "replace").strip()

    def number(self, path: str) -> int | None:
        text = self.text(path)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            self._senseless(path, text, "a number")
            return None
        return int(text)

    def cpus(self, list_path: str, mask_path: str | None = None) -> cpuset.CpuSet | None:
        """Return the CPUs from the list form or, if that is missing or senseless, from the mask form."""
        for path, read in ((list_path, cpuset.parse), (mask_path, mask)):
            text = self.text(path) if path is not None else None
            if path is None or text is None:
                continue
            try:
                return read(text)
            except ValueError:
                self._senseless(path, text, "a set of CPUs")
        return None

    def folders(self, path: str, prefix: str) -> tuple[int, ...]:
        """Return the numbers N of the entries `<prefix>N` in a folder, ascending; none without a folder."""
        pattern = re.compile(re.escape(prefix) + r"([0-9]{1,5})")
        matches = (pattern.fullmatch(name) for name in self.names(path))
        return tuple(sorted(int(match[1]) for match in matches if match and int(match[1]) <= cpuset.MAX_ID))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names of the entries of a folder, sorted; none without a folder."""
        try:
            return tuple(sorted(entry.name for entry in (self.root / path).iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            unless_wanting(error)
            self._found(path, f"cannot be listed ({error.strerror})", "mount it readable for the agent")
            return ()

    def add(self, path: str, problem: str, next_step: str, *, fatal: bool = False) -> None:
        self.findings.append(Finding(str(self.root / path), problem, next_step, fatal))

    def _found(self, path: str, problem: str, next_step: str) -> None:
        self.add(path, problem, next_step)

    def _senseless(self, path: str, text: str, expected: str) -> None:
        self.add(
            path,
            f"holds {text[:80]!r}, which is not {expected}",
            "check which tree is mounted there, or report the machine",
        )
