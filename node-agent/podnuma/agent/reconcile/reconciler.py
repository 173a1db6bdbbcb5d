"""Makes the node's cgroups match the desired state. One pass: read, plan, apply, verify, judge.

    snapshot = await reconciler.run_pass()

A pass starts from what is there, so it can be run at any time and any number of times; the second one writes
nothing. Passes never overlap. They run in slices, between which hooks are answered from the last snapshot.

Nothing is written before the API server has said once what is desired and in which mode, in mode Audit, or
while there is a reason to pause: what runs keeps what it has. The mode is asked anew before every single
write, since it may change while a runtime is waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.desired.acceptance import AcceptedGrants, GrantAcceptance
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.model.containers import Container
from podnuma.agent.plan.targets import PlanInput
from podnuma.agent.reconcile.actual_state import (
    ended_pods,
    pods_to_read,
    read_values,
    runs_there,
    unread_grants,
    weighed,
)
from podnuma.agent.reconcile.apply import (
    Mechanism,
    WriteOutcome,
    WriteResult,
    apply_writes,
)
from podnuma.agent.reconcile.contention import ContentionDetector
from podnuma.agent.reconcile.drift import DriftDetector
from podnuma.agent.reconcile.elsewhere import Elsewhere
from podnuma.agent.reconcile.isolation import inhabited
from podnuma.agent.reconcile.late_writes import LateWrites
from podnuma.agent.reconcile.planned import Planned
from podnuma.agent.reconcile.processes import Processes
from podnuma.agent.reconcile.runtime_updates import RuntimeUpdates
from podnuma.agent.reconcile.sandboxes import Sandboxes
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.throttling import ThrottlingSampler
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.agent.reconcile.unreliable import UnreliableMechanisms
from podnuma.agent.reconcile.verdicts import PinVerdict, PinVerdicts
from podnuma.agent.reconcile.write_log import WriteLog
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.node_settings import Mode


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
    processes: Processes
    observer: Observer
    movable_bytes: int
    now: Callable[[], float] = time.time
    updates: RuntimeUpdates = field(init=False, default_factory=RuntimeUpdates)
    verdicts: PinVerdicts = field(init=False, default_factory=PinVerdicts)
    snapshot: NodeSnapshot | None = field(init=False, default=None)
    _lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _acceptance: GrantAcceptance = field(init=False, default_factory=GrantAcceptance)
    _sandboxes: Sandboxes = field(init=False, default_factory=Sandboxes)
    _elsewhere: Elsewhere = field(init=False, default_factory=Elsewhere)
    _drift: DriftDetector = field(init=False, default_factory=DriftDetector)
    _contention: ContentionDetector = field(init=False, default_factory=ContentionDetector)
    _late: LateWrites = field(init=False, default_factory=LateWrites)
    _log: WriteLog = field(init=False, default_factory=WriteLog)
    _unreliable: UnreliableMechanisms = field(init=False, default_factory=UnreliableMechanisms)
    _throttling: ThrottlingSampler = field(init=False, default_factory=ThrottlingSampler)
    _planned: Planned = field(init=False, default_factory=Planned)

    def may_write(self) -> bool:
        """Tell whether the settings of this node, as known now, let values be written."""
        return self.desired.node_config.mode is Mode.ENFORCE

    @property
    def enforced(self) -> NodeSnapshot | None:
        """The snapshot of the last pass, if its values may be written now."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and snapshot.enforcing and self.may_write() else None

    def has_processes(self, cgroup: ContainerCgroup) -> None:
        """Take note that a container has processes in its own cgroup; it may end before the next pass."""
        self._sandboxes.has_processes(cgroup)

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
        accepted = self._accept(machine, containers)
        # All that the pass goes by is of this moment: events arrive between its slices.
        known = self.desired.allocations_known
        slices = TimeSlices()
        pods = pods_to_read(self.reader, accepted.grants)
        snapshot = await self._plan(machine, containers, accepted, pods, slices)
        if known and snapshot.enforcing:
            snapshot = await self._write(snapshot, pods.values(), mechanisms, starting, slices)
            if self.may_write():
                for _ in self.huge_pages.restore(pods[uid] for uid in accepted.grants if uid in pods):
                    self.observer.restored_huge_pages()
        snapshot = await self._verify(snapshot, slices)
        elsewhere = await self._elsewhere.look(containers, self.reader, self.processes.allowed, slices)
        snapshot = replace(snapshot, elsewhere=elsewhere) if elsewhere else snapshot
        for judged in self.verdicts.judge(snapshot, self.snapshot, self._sandboxes, self.now()):
            self.observer.judged(judged)
        self.reader.sweep()
        return snapshot

    def _accept(self, machine: Machine, containers: Sequence[Container]) -> AcceptedGrants:
        """Return the grants that are in force in this pass."""
        reader = self.reader
        decided = (each.pod_uid for each in self.desired.allocations())
        reader.expect((*(found.pod_uid for found in containers), *decided))
        return self._acceptance.update(
            self.desired,
            machine,
            lambda grant: runs_there(reader, grant, containers),
            unread_grants(reader, self.desired, containers),
            {found.pod_uid: (found.namespace, found.pod_name) for found in containers if found.pod_name},
        )

    async def _plan(
        self,
        machine: Machine,
        containers: Sequence[Container],
        accepted: AcceptedGrants,
        pods: Mapping[str, PodCgroup],
        slices: TimeSlices,
    ) -> NodeSnapshot:
        """Read what is there; return the snapshot with it and with what should be there."""
        mode, ended = self.desired.node_config.mode, ended_pods(self.reader, self.desired)
        cgroups = self._planned.cgroups(containers, pods)
        pause_reason = self.pause_reason(containers)
        before = None if self.snapshot is None else self.snapshot.seen
        seen = await read_values(self.reader, pods.values(), cgroups, slices, before)
        there = [cgroup for cgroup, found in cgroups.items() if not found.ended]
        populated = self.reader.populated
        for cgroup in self._sandboxes.look(there, accepted.grants, seen, populated, self.now()):
            self.verdicts.written(cgroup.id)
        plan_input = PlanInput(
            machine.cpus_for_pods,
            accepted.pool,
            accepted.grants,
            self.movable_bytes,
            machine.known_nodes,
            accepted.sharing,
            self._sandboxes.pods,
        )
        seen = weighed(self.reader, self._planned.would_move(accepted.grants, seen), seen)
        return NodeSnapshot(
            machine=machine,
            accepted=accepted,
            plan_input=plan_input,
            containers=self._sandboxes.with_ends(cgroups, seen),
            targets=self._planned.targets(plan_input, seen),
            seen=seen,
            pause_reason=pause_reason,
            mode=mode,
            ended=ended,
        )

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
        now = self.now()
        self._late.answered(self.updates.take_answers(), now)
        for cgroup in self._late.landed(targets, before, now):
            self._drift.forget(cgroup)
            self._contention.forget(cgroup)
        drifted = self._drift.found(targets, before, differences)
        self.updates.aims_at(targets)
        contention = self._contention
        settled = [write for write in writes if not self._unreliable.may_be_under_way(write.cgroup)]
        contention.look(settled, targets, differences, now)

        def waits(write: CgroupWrite) -> str | None:
            return contention.waits(write, targets[write.cgroup], starting, now)

        results = await apply_writes(
            writes, mechanisms, self._unreliable.at, self.may_write, waits, self.updates.held
        )
        self.updates.left(results)
        after = (
            await read_values(self.reader, pods, snapshot.containers, slices, before) if results else before
        )
        contention.wrote(results, targets, now)
        results = self._unreliable.confirm(results, after, self.reader.populated, now)
        self._late.left(results, now)
        for result in results:
            self.observer.wrote(result)
        self._log.results(results)
        done = [result.write for result in results if result.outcome is WriteOutcome.DONE]
        repaired = self._drift.repaired(done, drifted, targets, now)
        self._log.repairs(repaired, contention.contended)
        for cgroup in repaired:
            self.observer.repaired(cgroup)
        return replace(snapshot, seen=after, results=results, contended=contention.contended)

    async def _verify(self, snapshot: NodeSnapshot, slices: TimeSlices) -> NodeSnapshot:
        """Return the snapshot with what is not as planned after the writes."""
        targets, seen, accepted = snapshot.targets, snapshot.seen, snapshot.accepted
        compared = self._planned.differences(targets, seen, snapshot.machine.available)
        # What the kernel says about main processes is asked only for containers that are about to be judged.
        right = (
            cgroup
            for cgroup in snapshot.containers
            if self.verdicts.of(cgroup.id).after_millis is None and compared.get(cgroup, "") is None
        )
        more: dict[CgroupRef, str | None] = {**await self.processes.strays(right, targets, seen, slices)}
        if self._sandboxes.pods:
            more |= self._sandboxes.differences(snapshot.plan_input, snapshot.containers, seen)
        holders = [cgroup for cgroup in snapshot.containers if cgroup.pod.uid in accepted.grants]
        snapshot = replace(
            snapshot,
            differences={**compared, **more} if more else compared,
            throttled=await self._throttling.percents(self.reader, holders, slices, self.now()),
        )
        if snapshot.enforcing:
            pods = frozenset(accepted.grants)
            found = self._planned.intrusions(targets, seen, pods, accepted.pool)
            snapshot = replace(
                snapshot,
                intrusions=inhabited(found, self.reader.populated),
                narrowed=await self.processes.narrowed_in(holders, targets, seen, slices),
            )
        self._drift.remember(targets, seen, snapshot.differences)
        return snapshot
