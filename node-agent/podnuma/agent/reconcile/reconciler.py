"""Makes the node's cgroups match the desired state. One pass: read, plan, apply, verify, judge.

    snapshot = await reconciler.run_pass()

A pass starts from what is there, so it can be run at any time and any number of times; the second one writes
nothing. Passes never overlap. They run in slices, between which hooks are answered from the last snapshot.

Nothing is written before the API server has said once what is desired and in which mode, in mode Audit, or
while there is a reason to pause: what runs keeps what it has. The mode is asked anew before every single
write, since it may change while a runtime is waited for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.desired.acceptance import AcceptedGrants, GrantAcceptance
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite
from podnuma.agent.model.containers import Container
from podnuma.agent.plan.targets import PlanInput, start_target
from podnuma.agent.reconcile import sandboxes, verify
from podnuma.agent.reconcile.apply import (
    Mechanism,
    UnreliableMechanisms,
    WriteOutcome,
    WriteResult,
    apply_writes,
)
from podnuma.agent.reconcile.contention import ContentionDetector
from podnuma.agent.reconcile.drift import DriftDetector
from podnuma.agent.reconcile.planned import Planned
from podnuma.agent.reconcile.runtime_updates import RuntimeUpdates
from podnuma.agent.reconcile.sandboxes import Sandboxes
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.agent.reconcile.unread import grants_in_force
from podnuma.agent.reconcile.verdicts import PinVerdict, PinVerdicts
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode
from podnuma.plumbing.remembered import Remembered

logger = logging.getLogger(__name__)

_THROTTLED_EVERY = 30.0  # seconds; the kernel sums up all CPUs for it, and it is a mean since the start


class ContainerSource(Protocol):
    """Knows which containers exist on the node."""

    @property
    def name(self) -> str: ...

    async def containers(self) -> Sequence[Container]:
        """Return the containers that exist now. Raises OSError while the runtime does not answer."""
        ...


class HugePageLimits(Protocol):
    """Gives pods back the huge page limits that a kubelet voided."""

    def restore(self, pods: Iterable[PodCgroup]) -> Sequence[PodCgroup]:
        """Return the pods that got a limit back."""
        ...


class Observer(Protocol):
    """Counts what happens in a pass."""

    def wrote(self, result: WriteResult) -> None: ...

    def repaired(self, cgroup: CgroupRef) -> None: ...

    def judged(self, judged: PinVerdict) -> None: ...

    def restored_huge_pages(self) -> None: ...

    def took(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Reconciler:
    """Runs passes over one node, one at a time, and keeps the snapshot of the last one.

    mechanisms: in the order in which they are tried.
    machine, pause_reason: asked anew in every pass.
    movable_bytes: see `plan.targets.PlanInput`.
    """

    desired: DesiredState
    reader: CgroupReader
    runtime: ContainerSource
    mechanisms: Sequence[Mechanism]
    huge_pages: HugePageLimits
    machine: Callable[[], Awaitable[Machine]]
    pause_reason: Callable[[Sequence[Container]], str | None]
    processes: verify.Processes
    observer: Observer
    movable_bytes: int
    now: Callable[[], float] = time.time
    updates: RuntimeUpdates = field(init=False, default_factory=RuntimeUpdates)
    verdicts: PinVerdicts = field(init=False, default_factory=PinVerdicts)
    snapshot: NodeSnapshot | None = field(init=False, default=None)
    _lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _acceptance: GrantAcceptance = field(init=False, default_factory=GrantAcceptance)
    _sandboxes: Sandboxes = field(init=False, default_factory=Sandboxes)
    _drift: DriftDetector = field(init=False, default_factory=DriftDetector)
    _contention: ContentionDetector = field(init=False, default_factory=ContentionDetector)
    _refusals: dict[CgroupRef, str] = field(init=False, default_factory=dict)
    _unreliable: UnreliableMechanisms = field(init=False, default_factory=UnreliableMechanisms)
    _throttled: dict[ContainerCgroup, int] = field(init=False, default_factory=dict)
    _throttled_at: float = field(init=False, default=float("-inf"))
    _planned: Planned = field(init=False, default_factory=Planned)
    _cgroups: "Remembered[..., dict[ContainerCgroup, Container]]" = field(
        init=False, default_factory=lambda: Remembered(_cgroups)
    )

    def may_write(self) -> bool:
        """Tell whether the settings of this node, as known now, let values be written."""
        return self.desired.node_config.mode is Mode.ENFORCE

    @property
    def enforced(self) -> NodeSnapshot | None:
        """The snapshot of the last pass, if its values may be written now."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and snapshot.enforcing and self.may_write() else None

    async def run_pass(self) -> NodeSnapshot:
        """Run one pass. Raises OSError while the runtime does not answer."""
        # Not under the lock: a container that starts would wait for this, and the runtime for its start.
        await self.updates.settle()
        async with self._lock:
            began = time.monotonic()
            self.snapshot = await self._pass(self.mechanisms)
            self.observer.took(time.monotonic() - began)
            return self.snapshot

    async def run_pass_if(
        self, needed: Callable[[], bool], mechanisms: Sequence[Mechanism], cpus: CpuSet
    ) -> bool:
        """Run one pass that writes through these mechanisms, if it is needed, still when its turn comes.

        `cpus` are those of the container for which it is: where others are to be taken off, none is spared.
        Return whether it ran. Raises OSError while the runtime does not answer.
        """
        if not needed():
            return False
        async with self._lock:
            if not needed():
                return False
            self.snapshot = await self._pass(mechanisms, cpus)
            return True

    async def _pass(self, mechanisms: Sequence[Mechanism], starting: CpuSet = cpuset.EMPTY) -> NodeSnapshot:
        machine = await self.machine()
        containers = await self.runtime.containers()
        decided = (each.pod_uid for each in self.desired.allocations())
        self.reader.expect((*(found.pod_uid for found in containers), *decided))
        accepted = self._acceptance.update(
            self.desired,
            machine,
            lambda grant: self._runs_there(grant, containers),
            self._unread(containers),
            {found.pod_uid: (found.namespace, found.pod_name) for found in containers if found.pod_name},
        )
        # All that the pass goes by is of this moment: events arrive between its slices.
        known, mode, ended = self.desired.allocations_known, self.desired.node_config.mode, self._ended()
        pods = self._pods(accepted)
        cgroups = self._cgroups(containers, pods)
        pause_reason = self.pause_reason(containers)
        slices = TimeSlices()
        seen = await self._read(pods.values(), cgroups, slices)
        populated, now = self.reader.populated, self.now()
        there = [cgroup for cgroup, found in cgroups.items() if not found.ended]
        for cgroup in self._sandboxes.look(there, accepted.grants, seen, populated, now):
            self.verdicts.written(cgroup.id)
        plan_input = PlanInput(
            machine.cpus_for_pods,
            accepted.pool,
            accepted.grants,
            self.movable_bytes,
            accepted.sharing,
            self._sandboxes.pods,
        )
        seen = self._weighed(accepted.grants, seen)
        targets = self._planned.targets(plan_input, seen)
        snapshot = NodeSnapshot(
            machine=machine,
            accepted=accepted,
            plan_input=plan_input,
            containers=cgroups,
            targets=targets,
            seen=seen,
            pause_reason=pause_reason,
            mode=mode,
            ended=ended,
        )
        if known and snapshot.enforcing:
            snapshot = await self._write(snapshot, pods.values(), mechanisms, starting, slices)
            if self.may_write():
                for _ in self.huge_pages.restore(pods[uid] for uid in accepted.grants if uid in pods):
                    self.observer.restored_huge_pages()
        differences = self._planned.differences(targets, snapshot.seen, machine.available)
        differences = await self._with_strays(differences, targets, snapshot.seen, cgroups, slices)
        differences |= self._in_sandboxes(snapshot)
        throttled = await self._throttling(snapshot, slices)
        snapshot = replace(snapshot, differences=differences, throttled=throttled)
        if snapshot.enforcing:
            holders = frozenset(accepted.grants)
            snapshot = replace(
                snapshot,
                intrusions=self._planned.intrusions(targets, snapshot.seen, holders, accepted.pool),
                narrowed=await self._narrowed(snapshot, slices),
            )
        self._drift.remember(targets, snapshot.seen, snapshot.differences)
        self._judge(snapshot)
        self.reader.sweep()
        return snapshot

    async def _write(
        self,
        snapshot: NodeSnapshot,
        pods: Iterable[PodCgroup],
        mechanisms: Sequence[Mechanism],
        starting: CpuSet,
        slices: TimeSlices,
    ) -> NodeSnapshot:
        """Write what differs; return the snapshot with what became of it and what is there now."""
        before, targets, plan_input = snapshot.seen, snapshot.targets, snapshot.plan_input
        everything = self.reader.everything() or plan_input.everything
        writes = self._planned.writes(before, targets, pool=plan_input.pool, everything=everything)
        for write in writes:
            # Not when they are done: a pass for a container's start may be given up in between.
            if isinstance(write.cgroup, ContainerCgroup):
                self.verdicts.written(write.cgroup.id)
        differences = self._planned.differences(targets, before, snapshot.machine.available)
        drifted = self._drift.found(targets, before, differences)
        now = self.now()
        self.updates.aims_at(targets)
        contention = self._contention
        contention.look(writes, targets, differences, now)

        def waits(write: CgroupWrite) -> str | None:
            return contention.waits(write, targets[write.cgroup], starting, now)

        results = await apply_writes(
            writes, mechanisms, self._unreliable.at, self.may_write, waits, self.updates.held
        )
        after = await self._read(pods, snapshot.containers, slices) if results else before
        contention.wrote(results, targets, now)
        results = self._unreliable.confirm(results, after, self.reader.populated)
        self._count(results)
        self._count_repairs(results, drifted, targets, now)
        return replace(snapshot, seen=after, results=results, contended=contention.contended)

    async def _read(
        self, pods: Iterable[PodCgroup], containers: Iterable[ContainerCgroup], slices: TimeSlices
    ) -> dict[CgroupRef, CgroupValues]:
        seen = {}
        for cgroup, values in self.reader.read_each(pods, containers):
            seen[cgroup] = values
            await slices.between()
        return seen

    def _weighed(
        self, grants: Mapping[str, PodGrant], seen: dict[CgroupRef, CgroupValues]
    ) -> dict[CgroupRef, CgroupValues]:
        """Add how much memory containers have that would move to other NUMA nodes."""
        moving = self._planned.would_move(grants, seen)
        weighed = {cgroup: replace(seen[cgroup], resident=self.reader.resident(cgroup)) for cgroup in moving}
        return seen | weighed if weighed else seen

    async def _throttling(self, snapshot: NodeSnapshot, slices: TimeSlices) -> dict[ContainerCgroup, int]:
        """Return in how many percent of its periods each container was held back, as read a while ago."""
        now = self.now()
        if not 0 <= now - self._throttled_at < _THROTTLED_EVERY:
            found = {}
            for cgroup in snapshot.containers:
                if cgroup.pod.uid in snapshot.accepted.grants:
                    percent = self.reader.throttled_percent(cgroup)
                    if percent is not None:
                        found[cgroup] = percent
                    await slices.between()
            self._throttled, self._throttled_at = found, now
        return self._throttled

    def _unread(self, containers: Sequence[Container]) -> tuple[PodGrant, ...]:
        """Return what is in force for pods whose PodAllocation could not be read yet."""
        keys = {each.key for each in self.desired.allocations() if each.allocation is None}
        theirs = [found for found in containers if (found.namespace, found.pod_name) in keys]
        if not theirs:
            return ()
        below = {pod.uid: pod for qos in Qos for pod in self.reader.pods(qos)}
        cgroups = {
            ContainerCgroup(below[found.pod_uid], found.name, found.id): found
            for found in theirs
            if found.pod_uid in below
        }
        named = {(cgroup.pod, found.namespace, found.pod_name) for cgroup, found in cgroups.items()}
        return grants_in_force(named, self.reader.read({pod for pod, *_ in named}, cgroups))

    def _pods(self, accepted: AcceptedGrants) -> dict[str, PodCgroup]:
        """Return the pods that have to be read, by UID.

        Those of a QoS slice follow it, unless one of them holds CPUs, or did: see `plan.targets`.
        """
        reader = self.reader
        pods = {pod.uid: pod for pod in reader.pods(Qos.GUARANTEED)}
        for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
            below = reader.pods(qos)
            holds = any(pod.uid in accepted.grants for pod in below)
            pods |= {pod.uid: pod for pod in below if holds or reader.has_own_cpus(pod)}
        return pods

    def _count(self, results: Sequence[WriteResult]) -> None:
        for result in results:
            self.observer.wrote(result)
        self._log(results)

    def _count_repairs(
        self,
        results: Sequence[WriteResult],
        drifted: Mapping[CgroupRef, str],
        targets: Mapping[CgroupRef, CgroupTarget],
        now: float,
    ) -> None:
        done = [result.write for result in results if result.outcome is WriteOutcome.DONE]
        for cgroup, what in self._drift.repaired(done, drifted, targets, now).items():
            level = logging.DEBUG if cgroup in self._contention.contended else logging.WARNING
            logger.log(level, "%s had been changed: %s; set again", describe(cgroup), what)
            self.observer.repaired(cgroup)

    def _log(self, results: Sequence[WriteResult]) -> None:
        """Log once what is refused, and once that it no longer is."""
        said = {WriteOutcome.CONTENDED}  # where that began
        refusals = {
            result.write.cgroup: result.why
            for result in results
            if result.refused and result.outcome not in said
        }
        for cgroup, why in refusals.items():
            if self._refusals.get(cgroup) != why:
                logger.warning("%s: %s", describe(cgroup), why)
        for cgroup in self._refusals.keys() - refusals.keys():
            logger.info("%s: written now", describe(cgroup))
        self._refusals = refusals

    async def _with_strays(
        self,
        differences: Mapping[CgroupRef, str | None],
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        cgroups: Mapping[ContainerCgroup, Container],
        slices: TimeSlices,
    ) -> dict[CgroupRef, str | None]:
        """Add what the kernel says about the main process of containers that are about to be judged."""
        found = dict(differences)
        for cgroup in cgroups:
            target = targets.get(cgroup)
            new = self.verdicts.of(cgroup.id).after_millis is None
            if new and target is not None and target.cpus is not None and found.get(cgroup, "") is None:
                process = None if cgroup not in seen else seen[cgroup].main_process
                found[cgroup] = None if process is None else self.processes.stray(process, target.cpus)
                await slices.between()
        return found

    def _in_sandboxes(self, snapshot: NodeSnapshot) -> dict[CgroupRef, str | None]:
        """Return what the containers of sandboxed pods have other than their CPUs."""
        theirs = [
            cgroup
            for cgroup, found in snapshot.containers.items()
            if cgroup.pod.uid in self._sandboxes.pods and not found.ended
        ]
        targets = ((cgroup, start_target(snapshot.plan_input, cgroup)) for cgroup in theirs)
        wanted = ((cgroup, None if target is None else target.cpus) for cgroup, target in targets)
        return sandboxes.sandboxed_differences(wanted, snapshot.seen)

    def _runs_there(self, grant: PodGrant, containers: Iterable[Container]) -> bool:
        """Tell whether the kernel has, for a container of a pod, the CPUs that the grant gives to it."""
        own = {each.name: each.cpus for each in grant.containers if each.cpus is not None}
        pods = [pod for qos in Qos for pod in self.reader.pods(qos) if pod.uid == grant.uid]
        found = (
            (each.name, self.reader.container(ContainerCgroup(pod, each.name, each.id)))
            for pod in pods
            for each in containers
            if each.pod_uid == grant.uid and each.name in own
        )
        return any(values is not None and values.cpus == own[name] for name, values in found)

    def _ended(self) -> frozenset[str]:
        """Return the pods whose allocation is being deleted and that have no process left, by UID."""
        uids = {each.pod_uid for each in self.desired.allocations() if each.deleted and each.pod_uid}
        there = {
            pod.uid
            for qos in (Qos if uids else ())
            for pod in self.reader.pods(qos)
            if pod.uid in uids and self.reader.populated(pod) is not False
        }
        return frozenset(uids - there)

    async def _narrowed(self, snapshot: NodeSnapshot, slices: TimeSlices) -> dict[ContainerCgroup, str]:
        """Return what main processes of containers with CPUs of their own leave unused, on purpose or not."""
        found = {}
        for cgroup in snapshot.containers:
            target, values = snapshot.targets.get(cgroup), snapshot.seen.get(cgroup)
            if cgroup.pod.uid not in snapshot.accepted.grants or target is None or target.cpus is None:
                continue
            if values is None or values.effective_cpus is None or values.main_process is None:
                continue
            what = self.processes.narrowed(values.main_process, values.effective_cpus)
            if what is not None:
                found[cgroup] = what
            await slices.between()
        return found

    def _judge(self, snapshot: NodeSnapshot) -> None:
        now = self.now()
        self.verdicts.keep(cgroup.id for cgroup in snapshot.containers)
        # What is seen once may be a write that is still under way: systemd answers before it has written.
        before = set() if self.snapshot is None else {each.owner for each in self.snapshot.intrusions}
        intruded = {each.owner for each in snapshot.intrusions}
        for cgroup, container in snapshot.containers.items():
            grant = snapshot.accepted.grants.get(cgroup.pod.uid)
            if grant is None:
                continue
            in_sandbox = cgroup.pod.uid in self._sandboxes.pods and not container.ended
            if not in_sandbox and (
                cgroup not in snapshot.targets
                or cgroup not in snapshot.seen
                or cgroup.id in self._sandboxes.empty
            ):
                continue
            if cgroup in intruded - before:
                continue
            right = snapshot.differences.get(cgroup, "") is None and cgroup not in intruded
            judged = self.verdicts.observe(container, right=right, now=now)
            if judged is not None:
                self.observer.judged(judged)


def _cgroups(
    containers: Sequence[Container], pods: Mapping[str, PodCgroup]
) -> dict[ContainerCgroup, Container]:
    return {
        ContainerCgroup(pods[found.pod_uid], found.name, found.id): found
        for found in containers
        if found.pod_uid in pods
    }
