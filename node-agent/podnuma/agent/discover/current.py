"""The machine as it is now: discovered again when CPUs, NUMA nodes or memory come or go.

Two small files, the amount of memory and those of huge pages show whether anything changed. The whole tree is
read again then, and every few minutes; soon, as long as the kernel does not tell which CPUs share a core.
Huge pages may go to another NUMA node or become some of another size, and the machine has as much of them.
These are thousands of files on a large machine: a thread reads them, and containers start meanwhile.

Of a virtual machine with a balloon the amount of memory can change all the time. So that alone is no reason
to read everything again a few seconds after the last time, while a container's start waits.

Pods can have what the cgroup of all pods has. Nothing that podnuma writes changes that: it writes below it.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from podnuma.agent.discover.machine import Discovered, Machine, discover
from podnuma.agent.model.cgroup_values import KubepodsCpuset
from podnuma.plumbing.threads import OneThread

logger = logging.getLogger(__name__)

_CHANGE_FILES = ("devices/system/cpu/online", "devices/system/node/online")
_PAGE_COUNTS = "devices/system/node/node*/hugepages/hugepages-*/nr_hugepages"
_AMOUNTS = re.compile(r"^(?:MemTotal|Hugetlb):.*$", re.MULTILINE)
_PERIOD = 300.0
_PERIOD_WHILE_UNKNOWN = 10.0
_AMOUNTS_REST = 10.0
_AGAIN = 2  # times that a tree is read anew at once, if hardware came or went meanwhile


class HardwareUnknown(OSError):  # noqa: N818 - a state of the node, not a fault of this program
    """The hardware has never been discovered; the text has the findings."""


class CurrentMachine:
    """Keeps the last machine that could be discovered. `found` is called with every discovery.

    kubepods: asked each time; None while that cgroup is not known. Not for two tasks at once.
    """

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
        self.kubepods: Callable[[], KubepodsCpuset | None] = lambda: None
        self._seen: tuple[object, ...] | None = None
        self._amounts: tuple[str, ...] = ()
        self._page_counts: tuple[Path, ...] = ()
        self._read_at = float("-inf")
        self._machine: Machine | None = None
        self._thread = OneThread()

    async def get(self) -> Machine:
        """Return the machine. Raises HardwareUnknown until one has been discovered."""
        kubepods = self.kubepods()
        seen = (*self._signs(), kubepods)
        if seen != self._seen:
            self._page_counts = self._find_page_counts()
        amounts = self._memory()
        unknown = self._machine is not None and self._machine.topology.unknown_siblings
        period = _PERIOD_WHILE_UNKNOWN if unknown else _PERIOD
        if amounts != self._amounts:
            period = min(period, _AMOUNTS_REST)
        overdue = self._clock() - self._read_at > period
        if seen != self._seen or overdue or self._machine is None:
            began = self._clock()
            try:
                discovered = await self._thread.run(discover, self._sys_root, self._proc_root)
            except OSError as error:
                # Nothing was taken in, so the next look reads it again.
                if self._machine is None:
                    raise HardwareUnknown(f"{self._sys_root} cannot be read: {error}") from error
                logger.warning("%s cannot be read, the last that is known stays: %s", self._sys_root, error)
                return self._machine
            for _ in range(_AGAIN):
                if (*(signs := self._signs()), kubepods) == seen:
                    break
                # What was read is partly from before the change: a CPU without siblings, say.
                seen = (*signs, kubepods)
                self._page_counts = self._find_page_counts()
                amounts = self._memory()
                discovered = await self._thread.run(discover, self._sys_root, self._proc_root)
            if discovered.machine is not None and kubepods is not None:
                discovered = replace(discovered, machine=_limited(discovered.machine, kubepods))
            # Not before: a container's start that asked may have been given up meanwhile.
            self._seen, self._amounts, self._read_at = seen, amounts, began
            self._machine = discovered.machine or self._machine
            self._found(discovered)
            if self._machine is None:
                raise HardwareUnknown("; ".join(map(str, discovered.findings))[:1000])
        return self._machine

    def _signs(self) -> tuple[str, ...]:
        """Return what differs when CPUs or NUMA nodes came or went."""
        return tuple(_text(self._sys_root / path) for path in _CHANGE_FILES)

    def _memory(self) -> tuple[str, ...]:
        """Return what differs when memory came or went."""
        machine = _AMOUNTS.findall(_text(self._proc_root / "meminfo"))
        return (*machine, *map(_text, self._page_counts))

    def _find_page_counts(self) -> tuple[Path, ...]:
        return tuple(sorted(self._sys_root.glob(_PAGE_COUNTS)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(64 * 1024).decode("ascii", "replace")
    except OSError:
        return ""


def _limited(machine: Machine, kubepods: KubepodsCpuset) -> Machine:
    """Return a machine with what the cgroup of all pods lacks of it."""
    topology, cpus, memory = machine.topology, kubepods.cpus, kubepods.memory_nodes
    outside = 0 if cpus is None else topology.all_cpus & ~cpus
    lacking = 0 if memory is None else topology.listed_nodes & ~memory
    return replace(machine, topology=topology.outside_kubepods(outside, lacking), kubepods=kubepods.folder)
