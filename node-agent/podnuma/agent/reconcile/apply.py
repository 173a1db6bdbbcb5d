"""Runs writes through the first mechanism that takes them, in order, with one outcome each.

A mechanism that said "done" while the kernel had something else is passed over at that cgroup from then on:
crun, for one, makes a quota of 1000 microseconds of "no quota", and only systemd can take it off again.

A write that was refused holds back later writes that would give away what it kept: otherwise two owners
would hold one CPU. They are due again with the next plan. A cgroup that is gone is a normal end.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

logger = logging.getLogger(__name__)


class Mechanism(Protocol):
    """A way to make the kernel take a value."""

    @property
    def name(self) -> str: ...

    @property
    def piggybacks(self) -> bool:
        """Whether its writes have to ride on the answer while the runtime waits for a hook."""
        ...

    def takes(self, cgroup: CgroupRef) -> bool:
        """Tell whether this mechanism can write there now."""
        ...

    async def write(self, write: CgroupWrite) -> None:
        """Write what the write carries. Raises PlaceGone or WriteRefused."""
        ...


HOOK = "hook"


class PiggybackedUpdates:
    """A mechanism that writes nothing: it collects what is to ride on a hook's answer."""

    def __init__(self) -> None:
        self.writes: list[CgroupWrite] = []

    @property
    def name(self) -> str:
        return HOOK

    @property
    def piggybacks(self) -> bool:
        return True

    def takes(self, cgroup: CgroupRef) -> bool:
        return isinstance(cgroup, ContainerCgroup)

    async def write(self, write: CgroupWrite) -> None:
        self.writes.append(write)


class WriteOutcome(Enum):
    """What became of a write."""

    DONE = "done"
    GONE = "gone"
    REFUSED = "refused"
    HELD_BACK = "held back"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """One write and its outcome. `why` is empty when it was done; `by` names the mechanism that was tried."""

    write: CgroupWrite
    outcome: WriteOutcome
    why: str = ""
    by: str = ""


async def apply_writes(
    writes: Iterable[CgroupWrite],
    mechanisms: Sequence[Mechanism],
    useless: Mapping[CgroupRef, frozenset[str]],
) -> tuple[WriteResult, ...]:
    """Run the writes. Never raises for what a mechanism refuses.

    `useless`: names of mechanisms that did not do at a cgroup what they said. Where no other is left they
    are tried all the same.
    """
    results = []
    kept = 0
    for write in writes:
        passed_over = useless.get(write.cgroup, frozenset())
        result = await _one(write, _in_turn(mechanisms, passed_over), CpuSet(kept))
        if result.outcome in {WriteOutcome.REFUSED, WriteOutcome.HELD_BACK}:
            kept |= write.losses
        results.append(result)
    return tuple(results)


def _in_turn(mechanisms: Sequence[Mechanism], passed_over: frozenset[str]) -> list[Mechanism]:
    return sorted(mechanisms, key=lambda mechanism: mechanism.name in passed_over)


async def _one(write: CgroupWrite, mechanisms: Sequence[Mechanism], kept: CpuSet) -> WriteResult:
    if write.gains & kept:
        waits = cpuset.render(CpuSet(write.gains & kept))
        return WriteResult(
            write, WriteOutcome.HELD_BACK, f"waits for CPUs {waits}, which somebody could not be taken off"
        )
    mechanism = next((mechanism for mechanism in mechanisms if mechanism.takes(write.cgroup)), None)
    if mechanism is None:
        return WriteResult(
            write,
            WriteOutcome.REFUSED,
            f"{describe(write.cgroup)}: no way to write there; is the runtime connected?",
        )
    try:
        await mechanism.write(write)
    except CgroupGone as gone:
        logger.debug("%s ended before it was written: %s", describe(write.cgroup), gone)
        return WriteResult(write, WriteOutcome.GONE, str(gone), mechanism.name)
    except WriteRefused as refused:
        return WriteResult(write, WriteOutcome.REFUSED, f"{mechanism.name}: {refused}", mechanism.name)
    return WriteResult(write, WriteOutcome.DONE, by=mechanism.name)
