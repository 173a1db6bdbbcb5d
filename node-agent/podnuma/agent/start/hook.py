"""Answers a runtime that is about to create a container, and again before the container runs.

    start          it is to be created: the gate lets it pass, others give up its CPUs, and the answer carries
                   its values
    before_start   it exists and does not run yet: its values are read back, and written again if need be
    values         what it should have now; for an update, with the memory nodes that it has

The values are those of `plan.targets`, by the last pass, as for every other container. While the runtime
waits for an answer it carries out nothing else. So what has to go through the runtime is piggybacked on the
answer, and the rest is written directly. A start is refused, and tried again by the kubelet, while a cgroup
could not be taken off the container's CPUs, or the container's pod off those of others.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace

from podnuma.agent.model.cgroup_ref import ContainerCgroup, describe, parent
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite
from podnuma.agent.model.containers import StartingContainer, StartRefused
from podnuma.agent.plan.targets import start_target
from podnuma.agent.reconcile import verify
from podnuma.agent.reconcile.apply import Mechanism, PiggybackedUpdates, apply_writes
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.start.gate import StartGate
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.node_settings import Mode, OnUndecided

logger = logging.getLogger(__name__)

# Seconds between looks: systemd answers a little before it has written, a busy one a good while before.
_SYSTEMD_TAKES = (0.002, 0.01, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """What a container starts with, None for "nothing to say", and what others have to give up for it."""

    values: CgroupTarget | None = None
    piggybacked: tuple[CgroupWrite, ...] = ()


class StartHook:
    """Makes each container start with its values, on CPUs that nobody else is left on."""

    def __init__(self, gate: StartGate, reconciler: Reconciler) -> None:
        self._gate = gate
        self._reconciler = reconciler

    async def start(self, starting: StartingContainer, within: float) -> StartAnswer:
        """Return the values to start with. Raises StartRefused. Waits `within` seconds for a decision."""
        cgroup, snapshot = starting.cgroup, self._reconciler.snapshot
        if snapshot is not None and snapshot.pause_reason is not None:
            return StartAnswer()
        if self._reconciler.desired.node_config.mode is None:
            within -= await self._wait_for_mode(within)
        if not self._reconciler.may_write():
            return StartAnswer()
        if await self._gate.admit(starting, within):
            piggybacked = await self.make_room(cgroup)
            return StartAnswer(self.values(cgroup), piggybacked)
        # In a slice that is wider than the shared pool its pod needs a set of its own.
        snapshot = self._reconciler.enforced
        beside_holders = snapshot is not None and snapshot.has_burstable_holders(cgroup.pod.qos)
        return StartAnswer(piggybacked=await self.make_room(cgroup) if beside_holders else ())

    def pod_admitted(self, uid: str) -> None:
        """Take note that the kubelet has admitted a pod, whose devices it can name from now on."""
        self._gate.pod_admitted(uid)

    def values(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return at once what a container should have now; None for "nothing to say"."""
        snapshot = self._reconciler.enforced
        return None if snapshot is None else start_target(snapshot.plan_input, cgroup)

    def update_begins(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return what a running container keeps when the runtime updates it; None for "nothing to say".

        Its memory nodes are those that the kernel has: runtimes apply all that they know of a container at
        any update, and other nodes would move its memory. So would CPUs come back that it had before.
        """
        snapshot = self._reconciler.enforced
        if snapshot is None:
            return None
        target = start_target(snapshot.plan_input, cgroup) or snapshot.targets.get(cgroup)
        if target is None:
            return None
        seen = snapshot.seen.get(cgroup)
        cpus = target.cpus
        if cpus is not None:
            # CPUs that others could not be taken off in that pass are not its own yet.
            kept = cpus if seen is None or seen.cpus is None else CpuSet(cpus & seen.cpus)
            cpus = self._reconciler.updates.begins(cgroup, kept or cpus)
        answer = replace(target, cpus=cpus, mems=None if seen is None else seen.mems)
        self._reconciler.updates.answered(CgroupWrite(cgroup, cpus, answer.mems, answer.cpu_max))
        return answer

    def update_ended(self, container_id: str) -> None:
        """Take note that the runtime has updated a container."""
        self._reconciler.updates.ended(container_id)

    def fail_closed(self) -> bool:
        """Tell whether the profile would rather have a container not start than start undecided."""
        config = self._reconciler.desired.node_config
        return (
            config.exists
            and config.mode is Mode.ENFORCE
            and config.settings is not None
            and config.settings.pod_policy.on_undecided is OnUndecided.WAIT
        )

    async def wait_fail_closed(self, *, closed: bool) -> None:
        """Wait until `fail_closed` is this."""
        await self._reconciler.desired.wait_until(lambda: self.fail_closed() is closed)

    async def _wait_for_mode(self, within: float) -> float:
        """Wait until it is known whether values are written here; return the seconds that took.

        An agent that has just begun knows it after its first list.
        """
        began = time.monotonic()
        await self._reconciler.desired.wait_for_mode(within)
        return min(time.monotonic() - began, within)

    async def make_room(self, cgroup: ContainerCgroup) -> tuple[CgroupWrite, ...]:
        """Run a pass, if the pod of a starting container is not part of the last one yet.

        Return the writes that have to be piggybacked on the answer. Raises StartRefused.
        """
        if self._has_room(cgroup):
            return ()
        piggybacked, direct = PiggybackedUpdates(), self._direct()
        any_piggybacks = len(direct) < len(self._reconciler.mechanisms)
        ways = [piggybacked, *direct] if any_piggybacks else direct
        decided = self._reconciler.desired.of_pod(cgroup.pod.uid)
        grant = None if decided is None else decided.grant
        cpus = cpuset.EMPTY if grant is None else grant.exclusive_cpus
        if await self._reconciler.run_pass_if(lambda: not self._has_room(cgroup), ways, cpus):
            self._refuse_overlap(cgroup)
        return tuple(piggybacked.writes)

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Check a container that has been created and has not begun to run, and give its verdict.

        It is the last moment to put something right that its processes would notice.
        """
        target, snapshot, observer = self.values(cgroup), self._reconciler.snapshot, self._reconciler.observer
        if snapshot is None or target is None or cgroup.pod.uid not in snapshot.accepted.grants:
            return
        wrong = self._difference(cgroup, target, snapshot)
        if wrong is not None:
            logger.warning("%s does not have its values before its start: %s", describe(cgroup), wrong)
            write = CgroupWrite(cgroup, target.cpus, target.mems, target.cpu_max)
            for result in await apply_writes([write], self._direct(), {}, self._reconciler.may_write):
                observer.wrote(result)
        populated = self._reconciler.reader.populated(cgroup)
        if populated is False:
            return  # what is to run is elsewhere: `reconcile.sandboxes` finds out where
        if populated:
            self._reconciler.has_processes(cgroup)
        for pause in (0.0, *_SYSTEMD_TAKES):
            await asyncio.sleep(pause)
            wrong = self._difference(cgroup, target, snapshot)
            if wrong is None:
                if (judged := self._reconciler.verdicts.at_start(cgroup.id)) is not None:
                    observer.judged(judged)
                return
        logger.warning("%s starts without its values: %s", describe(cgroup), wrong)

    def _direct(self) -> list[Mechanism]:
        return [mechanism for mechanism in self._reconciler.mechanisms if not mechanism.piggybacks]

    def _difference(
        self, cgroup: ContainerCgroup, target: CgroupTarget, snapshot: NodeSnapshot
    ) -> str | None:
        values = self._reconciler.reader.container(cgroup)
        if values is None:
            return "it has no cgroup"
        return verify.compare({cgroup: target}, {cgroup: values}, snapshot.machine.available)[cgroup]

    def _refuse_overlap(self, cgroup: ContainerCgroup) -> None:
        target, snapshot = self.values(cgroup), self._reconciler.snapshot
        cpus = None if target is None else target.cpus
        if snapshot is None:
            return
        own = CpuSet((cpus or cpuset.EMPTY) & ~snapshot.accepted.pool)
        if held := CpuSet(own & self._reconciler.updates.held(cgroup)):
            raise StartRefused(
                f"podnuma: the runtime is updating a container that has had CPUs {cpuset.render(held)};"
                " this one starts at the next try"
            )
        for result in snapshot.results:
            write = result.write
            if not result.refused or parent(write.cgroup) == cgroup.pod:
                continue
            if write.cgroup == cgroup.pod:
                # What has a set of its own needs no fence around it.
                wrong = write.losses if cpus is None else cpuset.EMPTY
            else:
                wrong = CpuSet(write.losses & own)
            if wrong:
                raise StartRefused(
                    f"podnuma: {describe(write.cgroup)} could not be taken off CPUs"
                    f" {cpuset.render(wrong)} yet: {result.why}"
                )

    def _has_room(self, cgroup: ContainerCgroup) -> bool:
        """Tell whether the last pass saw the pod's cgroup, knew what it holds, and had nothing refused."""
        snapshot = self._reconciler.snapshot
        if snapshot is None or cgroup.pod not in snapshot.seen or snapshot.unfinished:
            return False
        decided = self._reconciler.desired.of_pod(cgroup.pod.uid)
        grant = None if decided is None else decided.grant
        if grant is None or not grant.holds_anything or cgroup.pod.uid in snapshot.accepted.refused:
            return True
        accepted = snapshot.accepted.grants.get(cgroup.pod.uid)
        return accepted is grant or accepted == grant
