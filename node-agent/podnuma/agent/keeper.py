"""Keeps the node as it is wanted. One pass: read, plan, apply, verify, judge.

    picture = await keeper.settle()

A pass starts from what is there, so it can be run at any time and any number of times; the second one writes
nothing. Passes never overlap. Nothing is written before the API server has said once what is wanted, in mode
Audit, or while there is a reason to stand back: what runs keeps what it has.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from podnuma.agent import verify
from podnuma.agent.acceptance import Acceptance
from podnuma.agent.apply import HOOK, Mechanism, Outcome, Result, apply
from podnuma.agent.cgroups.reader import Reader
from podnuma.agent.containers import Container
from podnuma.agent.discover.machine import Machine
from podnuma.agent.drift import Drift
from podnuma.agent.guard import Accepted
from podnuma.agent.picture import Picture
from podnuma.agent.plan import wanted as plan
from podnuma.agent.plan.order import order
from podnuma.agent.plan.places import (
    ContainerPlace,
    Place,
    PodPlace,
    Qos,
    Values,
    Wish,
    describe,
)
from podnuma.agent.verdicts import Judged, Verdicts
from podnuma.agent.wish import Wish as NodeWish
from podnuma.api.node_settings import Mode

logger = logging.getLogger(__name__)


class Runtime(Protocol):
    """Where containers come from."""

    @property
    def name(self) -> str: ...

    async def containers(self) -> Sequence[Container]:
        """Return the containers that exist now. Raises OSError while the runtime does not answer."""
        ...


class Observer(Protocol):
    """Who counts."""

    def step(self, result: Result) -> None: ...

    def repaired(self, place: Place) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def took(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Ports:
    """What a keeper works with. `machine` and `standing_back` are asked anew in every pass."""

    wish: NodeWish
    reader: Reader
    runtime: Runtime
    mechanisms: Sequence[Mechanism]
    machine: Callable[[], Machine]
    standing_back: Callable[[Sequence[Container]], str | None]
    processes: verify.Processes
    observer: Observer
    movable: int
    now: Callable[[], float] = time.time


class Keeper:
    """See the module."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._lock = asyncio.Lock()
        self._acceptance = Acceptance()
        self._drift = Drift()
        self._refusals: dict[Place, str] = {}
        self._useless: dict[Place, frozenset[str]] = {}
        self.verdicts = Verdicts()
        self.picture: Picture | None = None

    async def settle(self) -> Picture:
        """Run one pass. Raises OSError while the runtime does not answer."""
        async with self._lock:
            began = time.monotonic()
            self.picture = await self._settle(self.ports.mechanisms)
            self.ports.observer.took(time.monotonic() - began)
            return self.picture

    async def settle_by(self, mechanisms: Sequence[Mechanism], needed: Callable[[], bool]) -> bool:
        """Run one pass that writes in these ways only, if it is needed, still when its turn comes.

        Return whether it ran. Raises OSError while the runtime does not answer.
        """
        if not needed():
            return False
        async with self._lock:
            if not needed():
                return False
            self.picture = await self._settle(mechanisms)
            return True

    async def _settle(self, mechanisms: Sequence[Mechanism]) -> Picture:
        ports = self.ports
        machine = ports.machine()
        containers = await ports.runtime.containers()
        accepted = self._acceptance.accept(ports.wish, machine)
        pods = self._pods(accepted)
        places = {
            ContainerPlace(pods[found.pod_uid], found.name, found.id): found
            for found in containers
            if found.pod_uid in pods
        }
        before = ports.reader.read(pods.values(), places)
        base = Picture(
            machine,
            accepted,
            places,
            standing_back=ports.standing_back(containers),
            audit=self._audit(),
        )
        node = base.node(ports.movable)
        wishes = plan.wanted(node, before)
        results: tuple[Result, ...] = ()
        after = before
        if ports.wish.allocations_known and base.standing_back is None and not base.audit:
            everything = ports.reader.everything() or node.everything
            steps = order(before, wishes, pool=node.pool, everything=everything)
            drifted = self._drift.found(wishes, before, node.everything)
            results = await apply(steps, mechanisms, self._useless)
            after = ports.reader.read(pods.values(), places) if results else before
            results = self._proven(results, after)
            self._count(results, drifted)
        differences = verify.compare(wishes, after, node.everything)
        picture = Picture(
            machine,
            accepted,
            places,
            wishes,
            after,
            self._stray(differences, wishes, places),
            results,
            base.standing_back,
            base.audit,
        )
        self._drift.remember(wishes, after, picture.differences)
        self._judge(picture)
        return picture

    def _pods(self, accepted: Accepted) -> dict[str, PodPlace]:
        """Return the pods that have to be looked at, by UID.

        Those of a QoS slice follow it, unless it has guests, or had: see `plan.wanted`.
        """
        reader = self.ports.reader
        pods = {pod.uid: pod for pod in reader.pods(Qos.GUARANTEED)}
        for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
            below = reader.pods(qos)
            guests = any(pod.uid in accepted.grants for pod in below)
            pods |= {pod.uid: pod for pod in below if guests or reader.has_own_cpus(pod)}
        return pods

    def _audit(self) -> bool:
        settings = self.ports.wish.settings.settings
        return settings is not None and settings.handling.mode is Mode.AUDIT

    def _proven(self, results: Sequence[Result], after: Mapping[Place, Values]) -> tuple[Result, ...]:
        """Take what the kernel does not show as refused, and remember who said that it was done.

        A place may have been written more than once, to less first and to more when there was room: the
        kernel shows the last. Containers only: systemd answers before it has written its slices.
        """
        # Nothing to write at a place: it is right, and every mechanism has another chance there.
        written = {result.step.place for result in results}
        self._useless = {place: names for place, names in self._useless.items() if place in written}
        last = {result.step.place: result for result in results if _claimed(result)}
        unwritten = {
            place: what
            for place, result in last.items()
            if place in after and (what := verify.unwritten(result.step, after[place])) is not None
        }
        return tuple(self._proof(result, unwritten.get(result.step.place)) for result in results)

    def _proof(self, result: Result, unwritten: str | None) -> Result:
        if unwritten is None or not _claimed(result):
            return result
        place = result.step.place
        self._useless[place] = self._useless.get(place, frozenset()) | {result.by}
        return replace(result, outcome=Outcome.REFUSED, why=f"{result.by} said it was done, but {unwritten}")

    def _count(self, results: Sequence[Result], drifted: Mapping[Place, str]) -> None:
        for result in results:
            self.ports.observer.step(result)
            if isinstance(result.step.place, ContainerPlace):
                self.verdicts.written(result.step.place.id)
        self._log(results)
        done = {result.step.place for result in results if result.outcome is Outcome.DONE}
        for place, what in drifted.items():
            if place in done:
                logger.warning("%s had been changed: %s; set again", describe(place), what)
                self._drift.repaired(place)
                self.ports.observer.repaired(place)

    def _log(self, results: Sequence[Result]) -> None:
        """Say once what is refused, and once that it no longer is."""
        refusals = {
            result.step.place: result.why
            for result in results
            if result.outcome in {Outcome.REFUSED, Outcome.HELD_BACK}
        }
        for place, why in refusals.items():
            if self._refusals.get(place) != why:
                logger.warning("%s: %s", describe(place), why)
        for place in self._refusals.keys() - refusals.keys():
            logger.info("%s: written now", describe(place))
        self._refusals = refusals

    def _stray(
        self,
        differences: Mapping[Place, str | None],
        wishes: Mapping[Place, Wish],
        places: Mapping[ContainerPlace, Container],
    ) -> dict[Place, str | None]:
        """Add what the kernel says about the main process of containers that are about to be judged."""
        found = dict(differences)
        for place in places:
            wish = wishes.get(place)
            new = self.verdicts.of(place.id).after_millis is None
            if new and wish is not None and wish.cpus is not None and found.get(place, "") is None:
                folder = self.ports.reader.folder(place)
                found[place] = None if folder is None else self.ports.processes.stray(folder, wish.cpus)
        return found

    def _judge(self, picture: Picture) -> None:
        now = self.ports.now()
        self.verdicts.keep(place.id for place in picture.containers)
        for place, container in picture.containers.items():
            grant = picture.accepted.grants.get(place.pod.uid)
            if grant is None or place not in picture.wishes or place not in picture.seen:
                continue
            judged = self.verdicts.observe(
                container, right=picture.differences.get(place, "") is None, now=now
            )
            if judged is not None:
                self.ports.observer.judged(judged)


def _claimed(result: Result) -> bool:
    return (
        result.outcome is Outcome.DONE and result.by != HOOK and isinstance(result.step.place, ContainerPlace)
    )
