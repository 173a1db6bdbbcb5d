"""Carries out writes in order, each through the first mechanism that takes it, with one outcome each.

A mechanism that reported success while the kernel has another value is passed over at that cgroup from then
on: crun, for one, turns "no quota" into a quota of 1000 microseconds, and only systemd can remove it again.

A write that was refused holds back later writes that would hand out the CPUs it kept: otherwise one CPU would
have two owners. They are due again in the next pass. A cgroup that is gone has ended, which is no failure.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupValues, CgroupWrite
from podnuma.agent.reconcile import verify
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
    """One write and its outcome. `why` is empty when it was done; `by` names the mechanism that was tried.

    `under_way`: see `WriteRefused`.
    """

    write: CgroupWrite
    outcome: WriteOutcome
    why: str = ""
    by: str = ""
    under_way: "asyncio.Future[Any] | None" = None

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

    `unreliable`: names of mechanisms that reported a success that the kernel does not show, by cgroup. They
    are tried last. `waits` says why a write is not to be carried out yet, because somebody else undoes it;
    `held` which CPUs a cgroup cannot gain yet, because a runtime may give them back to another one.
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
    except WriteRefused as refused:
        why = f"{mechanism.name}: {refused}"
        return WriteResult(write, WriteOutcome.REFUSED, why, mechanism.name, refused.under_way)
    return WriteResult(write, WriteOutcome.DONE, by=mechanism.name)


class UnreliableMechanisms:
    """Mechanisms that reported success without having it, by cgroup, until nothing is to be written there."""

    def __init__(self) -> None:
        self.at: dict[CgroupRef, frozenset[str]] = {}

    def confirm(
        self,
        results: Sequence[WriteResult],
        after: Mapping[CgroupRef, CgroupValues],
        populated: Callable[[CgroupRef], bool | None],
    ) -> tuple[WriteResult, ...]:
        """Turn each success that the kernel does not show into a refusal, and remember the mechanism.

        So is an end that the kernel does not show: a runtime may have forgotten a container whose processes
        still run. Who counts on their CPUs has to wait, and the next mechanism is tried.

        A cgroup may have been written more than once, first to less and then, when there was room, to more:
        the kernel shows the last. Containers only: systemd answers before it has written its slices.
        """
        written = {result.write.cgroup for result in results}
        self.at = {cgroup: names for cgroup, names in self.at.items() if cgroup in written}
        last = {result.write.cgroup: result for result in results if _claimed(result)}
        unwritten = {
            cgroup: what
            for cgroup, result in last.items()
            if cgroup in after and (what := verify.unwritten(result.write, after[cgroup])) is not None
        }
        confirmed = []
        for result in results:
            cgroup, what = result.write.cgroup, unwritten.get(result.write.cgroup)
            if what is not None and _claimed(result):
                confirmed.append(self._refused(result, f"{result.by} reported success, but {what}"))
            elif result.outcome is WriteOutcome.GONE and cgroup in after and populated(cgroup):
                confirmed.append(self._refused(result, f"{result.by} does not know it, but it has processes"))
            else:
                confirmed.append(result)
        return tuple(confirmed)

    def _refused(self, result: WriteResult, why: str) -> WriteResult:
        cgroup = result.write.cgroup
        self.at[cgroup] = self.at.get(cgroup, frozenset()) | {result.by}
        return replace(result, outcome=WriteOutcome.REFUSED, why=why)


def _claimed(result: WriteResult) -> bool:
    """Tell whether a mechanism reported that it wrote a container; a hook's answer reports nothing."""
    if result.outcome is not WriteOutcome.DONE or result.by == HOOK:
        return False
    return isinstance(result.write.cgroup, ContainerCgroup)
