"""The machine as it is now: discovered again when CPUs or NUMA nodes came or went.

A few small files tell whether anything changed; the whole tree is read anew then, and now and then anyway.
"""

import time
from collections.abc import Callable
from pathlib import Path

from podnuma.agent.discover.machine import Discovered, Machine, discover

_TELLTALES = ("devices/system/cpu/online", "devices/system/node/online")
_ANYWAY = 300.0


class HardwareUnknown(OSError):  # noqa: N818 - a state of the node, not a fault of this program
    """The hardware was never made out; the text has the findings."""


class CurrentMachine:
    """Keeps the last machine that could be made out. `found` is called with every discovery."""

    def __init__(
        self,
        sys_root: Path,
        proc_root: Path,
        found: Callable[[Discovered], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sys_root = sys_root
        self._proc_root = proc_root
        self._found = found
        self._clock = clock
        self._seen: tuple[str, ...] | None = None
        self._read_at = float("-inf")
        self._machine: Machine | None = None

    def get(self) -> Machine:
        """Return the machine. Raises HardwareUnknown while none was ever made out."""
        telltales = tuple(_text(self._sys_root / path) for path in _TELLTALES)
        overdue = self._clock() - self._read_at > _ANYWAY
        if telltales != self._seen or overdue or self._machine is None:
            self._seen, self._read_at = telltales, self._clock()
            discovered = discover(self._sys_root, self._proc_root)
            self._machine = discovered.machine or self._machine
            self._found(discovered)
            if self._machine is None:
                raise HardwareUnknown("; ".join(map(str, discovered.findings))[:1000])
        return self._machine


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(64 * 1024).decode("ascii", "replace")
    except OSError:
        return ""
