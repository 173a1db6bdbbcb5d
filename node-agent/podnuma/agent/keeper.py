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
from podnuma.agent.discover.machine import Machine
from podnuma.agent.drift import Drift
from podnuma.agent.guard import Accepted
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.agent.model.containers import Container
from podnuma.agent.picture import Picture
from podnuma.agent.plan.order import order
from podnuma.agent.plan.wanted import compute_targets
from podnuma.agent.verdicts import Judged, Verdicts
from podnuma.agent.wish import Wish as NodeWish
from podnuma.allocator.request import Qos
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

    def wrote(self, result: Result) -> None: ...

    def repaired(self, cgroup: CgroupRef) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def took(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Ports:
    """What a keeper works with. `machine` and `standing_back` are asked anew in every pass."""

    desired: NodeWish
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
        self._refusals: dict[CgroupRef, str] = {}
        self._useless: dict[CgroupRef, frozenset[str]] = {}
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
        accepted = self._acceptance.accept(ports.desired, machine)
        pods = self._pods(accepted)
        cgroups = {
            ContainerCgroup(pods[found.pod_uid], found.name, found.id): found
            for found in containers
            if found.pod_uid in pods
        }
        before = ports.reader.read(pods.values(), cgroups)
        base = Picture(
            machine,
            accepted,
            cgroups,
            standing_back=ports.standing_back(containers),
            audit=self._audit(),
        )
        node = base.node(ports.movable)
        targets = compute_targets(node, before)
        results: tuple[Result, ...] = ()
        after = before
        if ports.desired.allocations_known and base.standing_back is None and not base.audit:
            everything = ports.reader.everything() or node.everything
            writes = order(before, targets, pool=node.pool, everything=everything)
            drifted = self._drift.found(targets, before, node.everything)
            results = await apply(writes, mechanisms, self._useless)
            after = ports.reader.read(pods.values(), cgroups) if results else before
            results = self._proven(results, after)
            self._count(results, drifted)
        differences = verify.compare(targets, after, node.everything)
        picture = Picture(
            machine,
            accepted,
            cgroups,
            targets,
            after,
            self._stray(differences, targets, cgroups),
            results,
            base.standing_back,
            base.audit,
        )
        self._drift.remember(targets, after, picture.differences)
        self._judge(picture)
        return picture

    def _pods(self, accepted: Accepted) -> dict[str, PodCgroup]:
        """Return the pods that have to be looked at, by UID.

        Those of a QoS slice follow it, unless it has guests, or had: see `plan.targets.compute_targets`.
        """
        reader = self.ports.reader
        pods = {pod.uid: pod for pod in reader.pods(Qos.GUARANTEED)}
        for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
            below = reader.pods(qos)
            guests = any(pod.uid in accepted.grants for pod in below)
            pods |= {pod.uid: pod for pod in below if guests or reader.has_own_cpus(pod)}
        return pods

    def _audit(self) -> bool:
        settings = self.ports.desired.settings.settings
        return settings is not None and settings.handling.mode is Mode.AUDIT

    def _proven(
        self, results: Sequence[Result], after: Mapping[CgroupRef, CgroupValues]
    ) -> tuple[Result, ...]:
        """Take what the kernel does not show as refused, and remember who said that it was done.

        A cgroup may have been written more than once, to less first and to more when there was room: the
        kernel shows the last. Containers only: systemd answers before it has written its slices.
        """
        # Nothing to write at a cgroup: it is right, and every mechanism has another chance there.
        written = {result.write.cgroup for result in results}
        self._useless = {cgroup: names for cgroup, names in self._useless.items() if cgroup in written}
        last = {result.write.cgroup: result for result in results if _claimed(result)}
        unwritten = {
            cgroup: what
            for cgroup, result in last.items()
            if cgroup in after and (what := verify.unwritten(result.write, after[cgroup])) is not None
        }
        return tuple(self._proof(result, unwritten.get(result.write.cgroup)) for result in results)

    def _proof(self, result: Result, unwritten: str | None) -> Result:
        if unwritten is None or not _claimed(result):
            return result
        cgroup = result.write.cgroup
        self._useless[cgroup] = self._useless.get(cgroup, frozenset()) | {result.by}
        return replace(result, outcome=Outcome.REFUSED, why=f"{result.by} said it was done, but {unwritten}")

    def _count(self, results: Sequence[Result], drifted: Mapping[CgroupRef, str]) -> None:
        for result in results:
            self.ports.observer.wrote(result)
            if isinstance(result.write.cgroup, ContainerCgroup):
                self.verdicts.written(result.write.cgroup.id)
        self._log(results)
        done = {result.write.cgroup for result in results if result.outcome is Outcome.DONE}
        for cgroup, what in drifted.items():
            if cgroup in done:
                logger.warning("%s had been changed: %s; set again", describe(cgroup), what)
                self._drift.repaired(cgroup)
                self.ports.observer.repaired(cgroup)

    def _log(self, results: Sequence[Result]) -> None:
        """Say once what is refused, and once that it no longer is."""
        refusals = {
            result.write.cgroup: result.why
            for result in results
            if result.outcome in {Outcome.REFUSED, Outcome.HELD_BACK}
        }
        for cgroup, why in refusals.items():
            if self._refusals.get(cgroup) != why:
                logger.warning("%s: %s", describe(cgroup), why)
        for cgroup in self._refusals.keys() - refusals.keys():
            logger.info("%s: written now", describe(cgroup))
        self._refusals = refusals

    def _stray(
        self,
        differences: Mapping[CgroupRef, str | None],
        targets: Mapping[CgroupRef, CgroupTarget],
        cgroups: Mapping[ContainerCgroup, Container],
    ) -> dict[CgroupRef, str | None]:
        """Add what the kernel says about the main process of containers that are about to be judged."""
        found = dict(differences)
        for cgroup in cgroups:
            target = targets.get(cgroup)
            new = self.verdicts.of(cgroup.id).after_millis is None
            if new and target is not None and target.cpus is not None and found.get(cgroup, "") is None:
                folder = self.ports.reader.folder(cgroup)
                found[cgroup] = None if folder is None else self.ports.processes.stray(folder, target.cpus)
        return found

    def _judge(self, picture: Picture) -> None:
        now = self.ports.now()
        self.verdicts.keep(cgroup.id for cgroup in picture.containers)
        for cgroup, container in picture.containers.items():
            grant = picture.accepted.grants.get(cgroup.pod.uid)
            if grant is None or cgroup not in picture.targets or cgroup not in picture.seen:
                continue
            judged = self.verdicts.observe(
                container, right=picture.differences.get(cgroup, "") is None, now=now
            )
            if judged is not None:
                self.ports.observer.judged(judged)


def _claimed(result: Result) -> bool:
    return (
        result.outcome is Outcome.DONE
        and result.by != HOOK
        and isinstance(result.write.cgroup, ContainerCgroup)
    )
