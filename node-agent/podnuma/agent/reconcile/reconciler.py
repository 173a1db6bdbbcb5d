"""Keeps the node as it is wanted. One pass: read, plan, apply, verify, judge.

    snapshot = await reconciler.run_pass()

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

from podnuma.agent.cgroups.reader import Reader
from podnuma.agent.desired.acceptance import AcceptedGrants, GrantAcceptance
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.agent.model.containers import Container
from podnuma.agent.plan.targets import compute_targets
from podnuma.agent.plan.write_order import order_writes
from podnuma.agent.reconcile import verify
from podnuma.agent.reconcile.apply import HOOK, Mechanism, WriteOutcome, WriteResult, apply_writes
from podnuma.agent.reconcile.drift import DriftDetector
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdict, PinVerdicts
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode

logger = logging.getLogger(__name__)


class ContainerSource(Protocol):
    """Where containers come from."""

    @property
    def name(self) -> str: ...

    async def containers(self) -> Sequence[Container]:
        """Return the containers that exist now. Raises OSError while the runtime does not answer."""
        ...


class Observer(Protocol):
    """Who counts."""

    def wrote(self, result: WriteResult) -> None: ...

    def repaired(self, cgroup: CgroupRef) -> None: ...

    def judged(self, judged: PinVerdict) -> None: ...

    def took(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Ports:
    """What a reconciler works with. `machine` and `pause_reason` are asked anew in every pass."""

    desired: DesiredState
    reader: Reader
    runtime: ContainerSource
    mechanisms: Sequence[Mechanism]
    machine: Callable[[], Machine]
    pause_reason: Callable[[Sequence[Container]], str | None]
    processes: verify.Processes
    observer: Observer
    movable: int
    now: Callable[[], float] = time.time


class Reconciler:
    """See the module."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._lock = asyncio.Lock()
        self._acceptance = GrantAcceptance()
        self._drift = DriftDetector()
        self._refusals: dict[CgroupRef, str] = {}
        self._useless: dict[CgroupRef, frozenset[str]] = {}
        self.verdicts = PinVerdicts()
        self.snapshot: NodeSnapshot | None = None

    async def run_pass(self) -> NodeSnapshot:
        """Run one pass. Raises OSError while the runtime does not answer."""
        async with self._lock:
            began = time.monotonic()
            self.snapshot = await self._run(self.ports.mechanisms)
            self.ports.observer.took(time.monotonic() - began)
            return self.snapshot

    async def run_pass_if(self, mechanisms: Sequence[Mechanism], needed: Callable[[], bool]) -> bool:
        """Run one pass that writes in these ways only, if it is needed, still when its turn comes.

        Return whether it ran. Raises OSError while the runtime does not answer.
        """
        if not needed():
            return False
        async with self._lock:
            if not needed():
                return False
            self.snapshot = await self._run(mechanisms)
            return True

    async def _run(self, mechanisms: Sequence[Mechanism]) -> NodeSnapshot:
        ports = self.ports
        machine = ports.machine()
        containers = await ports.runtime.containers()
        accepted = self._acceptance.update(ports.desired, machine)
        pods = self._pods(accepted)
        cgroups = {
            ContainerCgroup(pods[found.pod_uid], found.name, found.id): found
            for found in containers
            if found.pod_uid in pods
        }
        before = ports.reader.read(pods.values(), cgroups)
        base = NodeSnapshot(
            machine,
            accepted,
            cgroups,
            pause_reason=ports.pause_reason(containers),
            audit=self._audit(),
        )
        node = base.node(ports.movable)
        targets = compute_targets(node, before)
        results: tuple[WriteResult, ...] = ()
        after = before
        if ports.desired.allocations_known and base.pause_reason is None and not base.audit:
            everything = ports.reader.everything() or node.everything
            writes = order_writes(before, targets, pool=node.pool, everything=everything)
            drifted = self._drift.found(targets, before, node.everything)
            results = await apply_writes(writes, mechanisms, self._useless)
            after = ports.reader.read(pods.values(), cgroups) if results else before
            results = self._proven(results, after)
            self._count(results, drifted)
        differences = verify.compare(targets, after, node.everything)
        snapshot = NodeSnapshot(
            machine,
            accepted,
            cgroups,
            targets,
            after,
            self._stray(differences, targets, cgroups),
            results,
            base.pause_reason,
            base.audit,
        )
        self._drift.remember(targets, after, snapshot.differences)
        self._judge(snapshot)
        return snapshot

    def _pods(self, accepted: AcceptedGrants) -> dict[str, PodCgroup]:
        """Return the pods that have to be looked at, by UID.

        Those of a QoS slice follow it, unless it has holders, or had: see `plan.targets.compute_targets`.
        """
        reader = self.ports.reader
        pods = {pod.uid: pod for pod in reader.pods(Qos.GUARANTEED)}
        for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
            below = reader.pods(qos)
            holders = any(pod.uid in accepted.grants for pod in below)
            pods |= {pod.uid: pod for pod in below if holders or reader.has_own_cpus(pod)}
        return pods

    def _audit(self) -> bool:
        settings = self.ports.desired.settings.settings
        return settings is not None and settings.handling.mode is Mode.AUDIT

    def _proven(
        self, results: Sequence[WriteResult], after: Mapping[CgroupRef, CgroupValues]
    ) -> tuple[WriteResult, ...]:
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

    def _proof(self, result: WriteResult, unwritten: str | None) -> WriteResult:
        if unwritten is None or not _claimed(result):
            return result
        cgroup = result.write.cgroup
        self._useless[cgroup] = self._useless.get(cgroup, frozenset()) | {result.by}
        return replace(
            result, outcome=WriteOutcome.REFUSED, why=f"{result.by} said it was done, but {unwritten}"
        )

    def _count(self, results: Sequence[WriteResult], drifted: Mapping[CgroupRef, str]) -> None:
        for result in results:
            self.ports.observer.wrote(result)
            if isinstance(result.write.cgroup, ContainerCgroup):
                self.verdicts.written(result.write.cgroup.id)
        self._log(results)
        done = {result.write.cgroup for result in results if result.outcome is WriteOutcome.DONE}
        for cgroup, what in drifted.items():
            if cgroup in done:
                logger.warning("%s had been changed: %s; set again", describe(cgroup), what)
                self._drift.repaired(cgroup)
                self.ports.observer.repaired(cgroup)

    def _log(self, results: Sequence[WriteResult]) -> None:
        """Say once what is refused, and once that it no longer is."""
        refusals = {
            result.write.cgroup: result.why
            for result in results
            if result.outcome in {WriteOutcome.REFUSED, WriteOutcome.HELD_BACK}
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

    def _judge(self, snapshot: NodeSnapshot) -> None:
        now = self.ports.now()
        self.verdicts.keep(cgroup.id for cgroup in snapshot.containers)
        for cgroup, container in snapshot.containers.items():
            grant = snapshot.accepted.grants.get(cgroup.pod.uid)
            if grant is None or cgroup not in snapshot.targets or cgroup not in snapshot.seen:
                continue
            judged = self.verdicts.observe(
                container, right=snapshot.differences.get(cgroup, "") is None, now=now
            )
            if judged is not None:
                self.ports.observer.judged(judged)


def _claimed(result: WriteResult) -> bool:
    return (
        result.outcome is WriteOutcome.DONE
        and result.by != HOOK
        and isinstance(result.write.cgroup, ContainerCgroup)
    )
