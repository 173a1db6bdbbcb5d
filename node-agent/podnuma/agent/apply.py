"""Runs steps through the first mechanism that takes them, in order, with one outcome each.

A mechanism that said "done" while the kernel had something else is passed over at that place from then on:
crun, for one, makes a quota of 1000 microseconds of "no quota", and only systemd can take it off again.

A step that was refused holds back later steps that would give away what it kept: otherwise two owners
would hold one CPU. They are due again with the next plan. A cgroup that is gone is a normal end.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from podnuma.agent.cgroups.writers.refusals import PlaceGone, WriteRefused
from podnuma.agent.plan.places import ContainerPlace, Place, Step, describe
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

logger = logging.getLogger(__name__)


class Mechanism(Protocol):
    """A way to make the kernel take a value."""

    @property
    def name(self) -> str: ...

    @property
    def rides(self) -> bool:
        """Whether its writes have to ride on the answer while the runtime waits for a hook."""
        ...

    def takes(self, place: Place) -> bool:
        """Tell whether this mechanism can write there now."""
        ...

    async def write(self, step: Step) -> None:
        """Write what the step carries. Raises PlaceGone or WriteRefused."""
        ...


HOOK = "hook"


class Riders:
    """A mechanism that writes nothing: it collects what is to ride on a hook's answer."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    @property
    def name(self) -> str:
        return HOOK

    @property
    def rides(self) -> bool:
        return True

    def takes(self, place: Place) -> bool:
        return isinstance(place, ContainerPlace)

    async def write(self, step: Step) -> None:
        self.steps.append(step)


class Outcome(Enum):
    """What became of a step."""

    DONE = "done"
    GONE = "gone"
    REFUSED = "refused"
    HELD_BACK = "held back"


@dataclass(frozen=True, slots=True)
class Result:
    """One step and what became of it; `why` is empty when it was done, `by` whom if a mechanism was tried."""

    step: Step
    outcome: Outcome
    why: str = ""
    by: str = ""


async def apply(
    steps: Iterable[Step], mechanisms: Sequence[Mechanism], useless: Mapping[Place, frozenset[str]]
) -> tuple[Result, ...]:
    """Run the steps. Never raises for what a mechanism refuses.

    `useless`: names of mechanisms that did not do at a place what they said. Where no other is left they
    are tried all the same.
    """
    results = []
    kept = 0
    for step in steps:
        passed_over = useless.get(step.place, frozenset())
        result = await _one(step, _in_turn(mechanisms, passed_over), CpuSet(kept))
        if result.outcome in {Outcome.REFUSED, Outcome.HELD_BACK}:
            kept |= step.losses
        results.append(result)
    return tuple(results)


def _in_turn(mechanisms: Sequence[Mechanism], passed_over: frozenset[str]) -> list[Mechanism]:
    return sorted(mechanisms, key=lambda mechanism: mechanism.name in passed_over)


async def _one(step: Step, mechanisms: Sequence[Mechanism], kept: CpuSet) -> Result:
    if step.gains & kept:
        waits = cpuset.render(CpuSet(step.gains & kept))
        return Result(
            step, Outcome.HELD_BACK, f"waits for CPUs {waits}, which somebody could not be taken off"
        )
    mechanism = next((mechanism for mechanism in mechanisms if mechanism.takes(step.place)), None)
    if mechanism is None:
        return Result(
            step, Outcome.REFUSED, f"{describe(step.place)}: no way to write there; is the runtime connected?"
        )
    try:
        await mechanism.write(step)
    except PlaceGone as gone:
        logger.debug("%s ended before it was written: %s", describe(step.place), gone)
        return Result(step, Outcome.GONE, str(gone), mechanism.name)
    except WriteRefused as refused:
        return Result(step, Outcome.REFUSED, f"{mechanism.name}: {refused}", mechanism.name)
    return Result(step, Outcome.DONE, by=mechanism.name)
