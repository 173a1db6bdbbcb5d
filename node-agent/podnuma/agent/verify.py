"""The kernel's view against what is wanted. Reads, compares, and repairs nothing.

Two looks: the effective values of the cgroup in which the processes live, and what the kernel says the
container's main process may run on. Never the memory of a write: containerd, for one, only logs updates
that failed when they rode on a hook's answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.plan.places import Bandwidth, Place, Step, Values, Wish
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet

_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*([0-9,-]{1,32768})$", re.MULTILINE)
_LONGEST = 64 * 1024


def compare(
    wishes: Mapping[Place, Wish], seen: Mapping[Place, Values], everything: CpuSet
) -> dict[Place, str | None]:
    """Return, for every place that exists and has a wish, what differs; None where nothing does."""
    return {
        place: _difference(wish, seen[place], everything) for place, wish in wishes.items() if place in seen
    }


def unwritten(step: Step, values: Values) -> str | None:
    """Return what of a step is not in the cgroup's files although it was written; None if all is."""
    if step.cpus is not None and values.cpus != step.cpus:
        return _text("cpuset.cpus", cpuset.render(step.cpus), _cpus(values.cpus))
    if step.bandwidth is not None and values.bandwidth != step.bandwidth:
        return _bandwidth_text(step.bandwidth, values.bandwidth)
    return None


def _difference(wish: Wish, values: Values, everything: CpuSet) -> str | None:
    if wish.cpus is not None:
        reachable = CpuSet(wish.cpus & everything)
        if not reachable:
            return f"cpuset.cpus: all of {cpuset.render(wish.cpus)} are offline"
        if values.effective_cpus != reachable:
            return _text("cpuset.cpus.effective", cpuset.render(reachable), _cpus(values.effective_cpus))
        if values.cpus != wish.cpus:
            return _text("cpuset.cpus", cpuset.render(wish.cpus), _cpus(values.cpus))
    if wish.mems is not None and values.effective_mems != wish.mems:
        return _text(
            "cpuset.mems.effective", nodeset.render(wish.mems), nodeset.render(values.effective_mems or 0)
        )
    if wish.bandwidth is not None and values.bandwidth != wish.bandwidth:
        return _bandwidth_text(wish.bandwidth, values.bandwidth)
    return None


def _bandwidth_text(wanted: Bandwidth, actual: Bandwidth | None) -> str:
    shown = "nothing" if actual is None else files.render_bandwidth(actual)
    return _text("cpu.max", files.render_bandwidth(wanted), shown)


def _cpus(value: CpuSet | None) -> str:
    return cpuset.render(value or cpuset.EMPTY)


def _text(file: str, wanted: str, actual: str) -> str:
    return f"{file} is {actual or 'empty'}, wanted {wanted}"


@dataclass(frozen=True, slots=True)
class Processes:
    """Looks at processes below `proc_root`, as the host numbers them."""

    proc_root: Path

    def stray(self, folder: Path, allowed: CpuSet) -> str | None:
        """Return what the main process in a cgroup may run on beyond `allowed`; None if nothing.

        A process may bind itself to fewer CPUs; that is its own affair.
        """
        for leaf in (folder / "container", folder):
            pid = _first_line(leaf / files.PROCESSES)
            if not pid.isdecimal() or pid == "0":
                continue
            match = _ALLOWED.search(_text_of(self.proc_root / pid / "status"))
            if match is None:
                return None
            try:
                cpus = cpuset.parse(match[1])
            except ValueError:
                return None
            beyond = CpuSet(cpus & ~allowed)
            return (
                _text(f"Cpus_allowed_list of process {pid}", cpuset.render(allowed), match[1])
                if beyond
                else None
            )
        return None


def _first_line(path: Path) -> str:
    return _text_of(path).split("\n", 1)[0].strip()


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
