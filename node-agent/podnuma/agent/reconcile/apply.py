"""Carries out writes in order, each through the first mechanism that takes it, with one outcome each.

A write that was refused holds back later writes that would hand out the CPUs it kept: otherwise one CPU would
have two owners. They are due again in the next pass. A cgroup that is gone has ended, which is no failure.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from podnuma.agent.cgroups.writers.refusals import CgroupGone, NotAnswered, Postponed, WriteRefused
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)


class Mechanism(Protocol):
    """A way to set a value in a cgroup: the runtime, systemd, or the file itself."""

    @property
    def name(self) -> str: ...

    @property
    def piggybacks(self) -> bool:
        """Whether its writes go through the runtime, and so have to wait for a hook's answer."""
        ...

    def takes(self, cgroup: CgroupRef) -> bool:
        """Tell whether this mechanism can write there now."""
        ...

    async def write(self, write: CgroupWrite) -> None:
        """Carry out the write. Raises CgroupGone or WriteRefused."""
        ...


HOOK = "hook"


class PiggybackedUpdates:
    """A mechanism that only collects writes to containers, for a hook's answer to carry."""

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
    """How a write ended."""

    DONE = "done"
    GONE = "gone"
    REFUSED = "refused"
    HELD_BACK = "held back"
    CONTENDED = "contended"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """One write and its outcome. `why` is empty when it was done; `by` names the mechanism that was asked.

    `under_way`: see `WriteRefused`; `answered`: False where nobody said whether it was written.
    """

    write: CgroupWrite
    outcome: WriteOutcome
    why: str = ""
    by: str = ""
    under_way: "asyncio.Future[Any] | None" = None
    answered: bool = True

    @property
    def refused(self) -> bool:
        """Whether the cgroup kept what it had, so that the write is due again."""
        return self.outcome in {WriteOutcome.REFUSED, WriteOutcome.HELD_BACK, WriteOutcome.CONTENDED}


async def apply_writes(
    writes: Iterable[CgroupWrite],
    mechanisms: Sequence[Mechanism],
    unreliable: Mapping[CgroupRef, frozenset[str]],
    may_write: Callable[[], bool],
    waits: Callable[[CgroupWrite], str | None] = lambda _: None,
    held: Callable[[CgroupRef], CpuSet] = lambda _: cpuset.EMPTY,
) -> tuple[WriteResult, ...]:
    """Carry out the writes, as long as `may_write` says so. Never raises for what a mechanism refuses.

    `unreliable`: names of mechanisms that had no success, by cgroup (`unreliable`); they are tried last.
    `waits` says why a write is not to be carried out yet, because somebody else undoes it; `held` which CPUs
    a cgroup cannot gain yet, because a runtime may give them back to another one.
    """
    results = []
    kept = 0
    slices = TimeSlices()
    for write in writes:
        await slices.between()
        if not may_write():
            break
        last = unreliable.get(write.cgroup, frozenset())
        in_turn = sorted(mechanisms, key=lambda mechanism: mechanism.name in last)
        if (why := waits(write)) is not None:
            result = WriteResult(write, WriteOutcome.CONTENDED, why)
        else:
            result = await _apply_one(write, in_turn, CpuSet(kept | held(write.cgroup)))
        if result.refused:
            kept |= write.losses
        results.append(result)
    return tuple(results)


async def _apply_one(write: CgroupWrite, mechanisms: Sequence[Mechanism], kept: CpuSet) -> WriteResult:
    if write.gains & kept:
        waits = cpuset.render(CpuSet(write.gains & kept))
        return WriteResult(
            write,
            WriteOutcome.HELD_BACK,
            f"waits for CPUs {waits}, which another cgroup may still be using",
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
    except Postponed as postponed:
        return WriteResult(write, WriteOutcome.REFUSED, f"{mechanism.name}: {postponed}")
    except WriteRefused as refused:
        why = f"{mechanism.name}: {refused}"
        answered = not isinstance(refused, NotAnswered)
        return WriteResult(write, WriteOutcome.REFUSED, why, mechanism.name, refused.under_way, answered)
    return WriteResult(write, WriteOutcome.DONE, by=mechanism.name)
