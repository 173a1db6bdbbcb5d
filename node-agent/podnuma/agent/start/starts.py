"""What a starting container finds: room on its CPUs, its values, and a proof of them before it runs.

    make_room      its creation is asked for: others give up what is to be its own
    start_values   what it is created with, by the last pass
    before_start   it exists and does not run yet: the kernel is asked, and put right if need be

While the runtime waits for an answer it carries out nothing else. So what has to go through the runtime
is piggybacked on the answer, and the rest is written directly. A start is refused, and tried again by the kubelet, while
somebody could not be taken off CPUs that are to be its own, or it off those of others.
"""

import asyncio
import logging

from podnuma.agent.model.cgroup_ref import ContainerCgroup, describe, parent
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite
from podnuma.agent.model.containers import StartRefused
from podnuma.agent.plan.targets import start_target
from podnuma.agent.reconcile import verify
from podnuma.agent.reconcile.apply import Mechanism, PiggybackedUpdates, WriteOutcome, apply_writes
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.request import Qos

logger = logging.getLogger(__name__)

# Seconds between looks: systemd answers a little before it has written.
_SYSTEMD_TAKES = (0.002, 0.01, 0.05, 0.1)


class Starts:
    """See the module; `hook.Plan` is what the hook needs of it."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @property
    def enforcing(self) -> bool:
        """Whether values are written on this node; before the first pass it is taken to be so."""
        snapshot = self._reconciler.snapshot
        return snapshot is None or (snapshot.pause_reason is None and not snapshot.audit)

    def has_burstable_holders(self, qos: Qos) -> bool:
        """Whether a pod in the slice of a QoS class holds CPUs, by the last pass."""
        snapshot = self._reconciler.snapshot
        return snapshot is not None and snapshot.has_burstable_holders(qos)

    def start_values(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return what a container starts with, by the last pass."""
        snapshot = self._reconciler.snapshot
        if snapshot is None or not self.enforcing:
            return None
        return start_target(snapshot.node(self._reconciler.ports.movable), cgroup)

    async def make_room(self, cgroup: ContainerCgroup) -> tuple[CgroupWrite, ...]:
        """Run a pass, if the pod of a starting container is not part of the last one yet.

        Return the writes that have to ride on the answer. Raises StartRefused.
        """
        piggybacked, direct = PiggybackedUpdates(), self._direct()
        any_rides = len(direct) < len(self._reconciler.ports.mechanisms)
        ways = [piggybacked, *direct] if any_rides else direct
        if await self._reconciler.run_pass_if(ways, lambda: not self._has_room(cgroup)):
            self._refuse_overlap(cgroup)
        return tuple(piggybacked.writes)

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Look at a container that has been created and has not begun to run, and judge it.

        It is the last moment to put something right that its processes would notice.
        """
        target, snapshot, ports = self.start_values(cgroup), self._reconciler.snapshot, self._reconciler.ports
        if snapshot is None or target is None or cgroup.pod.uid not in snapshot.accepted.grants:
            return
        wrong = self._difference(cgroup, target, snapshot)
        if wrong is not None:
            logger.warning("%s is not as wanted before its start: %s", describe(cgroup), wrong)
            write = CgroupWrite(cgroup, target.cpus, target.mems, target.cpu_max)
            for result in await apply_writes([write], self._direct(), {}):
                ports.observer.wrote(result)
        for pause in _SYSTEMD_TAKES:
            if self._difference(cgroup, target, snapshot) is None:
                if (judged := self._reconciler.verdicts.at_start(cgroup.id)) is not None:
                    ports.observer.judged(judged)
                return
            await asyncio.sleep(pause)

    def _direct(self) -> list[Mechanism]:
        return [mechanism for mechanism in self._reconciler.ports.mechanisms if not mechanism.piggybacks]

    def _difference(
        self, cgroup: ContainerCgroup, target: CgroupTarget, snapshot: NodeSnapshot
    ) -> str | None:
        values = self._reconciler.ports.reader.container(cgroup)
        if values is None:
            return "it has no cgroup"
        everything = snapshot.machine.topology.all_cpus
        return verify.compare({cgroup: target}, {cgroup: values}, everything)[cgroup]

    def _refuse_overlap(self, cgroup: ContainerCgroup) -> None:
        target, snapshot = self.start_values(cgroup), self._reconciler.snapshot
        cpus = None if target is None else target.cpus
        if snapshot is None:
            return
        own = CpuSet((cpus or cpuset.EMPTY) & ~snapshot.accepted.pool)
        for result in snapshot.results:
            write = result.write
            if (
                result.outcome not in {WriteOutcome.REFUSED, WriteOutcome.HELD_BACK}
                or parent(write.cgroup) == cgroup.pod
            ):
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
        decided = self._reconciler.ports.desired.of_pod(cgroup.pod.uid)
        grant = None if decided is None else decided.grant
        if grant is None or not grant.holds_anything or cgroup.pod.uid in snapshot.accepted.refused:
            return True
        return snapshot.accepted.grants.get(cgroup.pod.uid) == grant
