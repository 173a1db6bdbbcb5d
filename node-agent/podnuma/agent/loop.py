"""One running agent: streams in, passes over the node, statuses out.

`app` makes the parts and hands them over; here is only the order of things. A burst of events costs one
pass, and passes take a fifth of the time at most: the start of a container does not wait for them. A pass
that failed or was refused something comes again after a back-off; without events there is one every
`check_seconds`, because cgroups change without telling.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from podnuma.agent.apiserver import paths
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.apiserver.watch import Watch
from podnuma.agent.desired.state import DesiredAllocation, DesiredState
from podnuma.agent.discover.current import HardwareUnknown
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdict
from podnuma.agent.status import allocation_status
from podnuma.agent.status.metrics import AdmissionCounts, GaugeValues
from podnuma.agent.status.node_status import NodeStatus
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.conditions import merged
from podnuma.api.pod_allocation import PodAllocationStatus, render_status
from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

_BACKOFF = Backoff(0.1, 5.0)
_BATCH = 0.005  # seconds in which events are taken together
_BATCH_AFTER_FAILURE = 0.1
_REST = 4.0  # times as long as a pass took
_LONGEST_REST = 1.0  # seconds
_STILL = 600.0  # seconds without an answer or a failure before a watch counts as stuck
_STUCK = 120.0  # seconds without a finished pass


@dataclass(slots=True)
class AgentLoop:
    """Runs passes until cancelled, when something changed and every `check_seconds`, and reports on each."""

    desired: DesiredState
    reconciler: Reconciler
    status_writer: StatusWriter
    node_status: NodeStatus
    admissions: AdmissionCounts
    watches: Sequence[Watch]
    dirty: asyncio.Event
    check_seconds: float
    rng: random.Random
    clock: Callable[[], dt.datetime]
    _statuses: dict[str, PodAllocationStatus] = field(init=False, default_factory=dict)
    _passed_at: float = field(init=False, default_factory=time.monotonic)
    _trouble: str | None = field(init=False, default="no pass yet")

    async def run(self) -> None:
        """Pass after pass until cancelled."""
        failures = 0
        while True:
            pause = _BACKOFF.delay(failures, self.rng) if failures else self.check_seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.dirty.wait()
            # What keeps failing must not make a busy stream of events a busy loop.
            await asyncio.sleep(_BATCH_AFTER_FAILURE if failures else _BATCH)
            self.dirty.clear()
            began = time.monotonic()
            failures = failures + 1 if await self._pass() else 0
            await asyncio.sleep(min(_REST * (time.monotonic() - began), _LONGEST_REST))

    async def _pass(self) -> bool:
        """Run one pass and report on it; return whether it is to be repeated soon."""
        try:
            self._recall()
            snapshot = await self.reconciler.run_pass()
        except HardwareUnknown as error:
            self._failed(f"hardware unknown: {error}")
            self.node_status.publish()
            return True
        except OSError as error:
            self._failed(f"no pass over the node: {error}")
            self.node_status.runtime_lost(str(error))
            self.node_status.publish()
            return True
        except Exception:
            logger.exception("a pass over the node failed")
            self._failed("a pass over the node failed; see the log")
            return True
        if self._trouble is not None:
            logger.info("passing over the node")
        self._trouble = None
        self._passed_at = time.monotonic()
        self._report(snapshot)
        return snapshot.unfinished

    def _failed(self, why: str) -> None:
        if self._trouble != why:
            logger.warning("%s", why)
        self._trouble = why

    def _recall(self) -> None:
        """Take over the verdicts that an earlier process wrote."""
        for desired in self.desired.allocations():
            key = desired.uid
            if key in self._statuses or desired.allocation is None:
                continue
            status = self._statuses[key] = desired.allocation.status
            self.reconciler.verdicts.recall(
                {
                    container.container_id: PinVerdict(container.verdict, container.pinned_after_millis)
                    for container in status.containers
                }
            )

    def _report(self, snapshot: NodeSnapshot) -> None:
        """Submit all statuses."""
        if not self.desired.allocations_known:
            return
        allocations = self.desired.allocations()
        for desired in allocations:
            self._report_one(desired, snapshot)
            self._count(desired, snapshot)
        self.admissions.keep(desired.allocation.uid_on_node for desired in allocations if desired.allocation)
        alive = {desired.uid for desired in allocations}
        self._statuses = {key: status for key, status in self._statuses.items() if key in alive}
        addresses = {paths.allocation_status_path(desired.namespace, desired.name) for desired in allocations}
        addresses.add(self.node_status.path)
        self.status_writer.forget(addresses.__contains__)
        self.node_status.runtime_found(snapshot)
        self.node_status.publish()

    def _count(self, desired: DesiredAllocation, snapshot: NodeSnapshot) -> None:
        if desired.allocation is None:
            return
        uid, decision = desired.allocation.uid_on_node, desired.allocation.decision
        grant = snapshot.accepted.grants.get(uid)
        if not decision.admitted:
            self.admissions.rejected(uid, decision)
        elif grant is not None:
            self.admissions.admitted(grant)

    def _report_one(self, desired: DesiredAllocation, snapshot: NodeSnapshot) -> None:
        before = self._statuses.get(desired.uid, PodAllocationStatus())
        status = allocation_status.compute_status(desired, before, snapshot, self.reconciler.verdicts)
        if status is None:
            return
        status = replace(status, conditions=merged(before.conditions, status.conditions, self.clock()))
        self._statuses[desired.uid] = status
        stored = desired.allocation.status if desired.allocation is not None else None
        body = paths.allocation_patch(desired.namespace, desired.name, desired.uid, render_status(status))
        path = paths.allocation_status_path(desired.namespace, desired.name)
        self.status_writer.submit(path, body, again=stored != status)

    def state(self) -> GaugeValues:
        """Return what the metrics are computed from."""
        snapshot = self.reconciler.snapshot
        if snapshot is None:
            return GaugeValues()
        exclusive = 0
        for grant in snapshot.accepted.grants.values():
            exclusive |= grant.exclusive_cpus
        topology = snapshot.machine.topology
        return GaugeValues(
            pool=snapshot.accepted.pool,
            exclusive=CpuSet(exclusive),
            exclusive_by_node={
                node.id: (exclusive & topology.cpus_of_node(node.id)).bit_count()
                for node in topology.nodes
                if topology.cpus_of_node(node.id) != cpuset.EMPTY
            },
            phases=allocation_status.phases(self._statuses),
            paused=snapshot.pause_reason is not None,
            dropped_fields=len(self.status_writer.dropped),
            cgroups_out_of_sync=sum(what is not None for what in snapshot.differences.values()),
        )

    def healthy(self) -> str | None:
        """Return why this process should be replaced, or None."""
        now = time.monotonic()
        if now - self._passed_at > _STUCK and self._trouble is None:
            return f"no pass over the node for {now - self._passed_at:.0f} s"
        # An API server that is away is no reason: what is applied is better kept by a process that knows it.
        still = max((now - watch.moved for watch in self.watches), default=0.0)
        return None if still < _STILL else f"a watch has not moved for {still:.0f} s"

    def ready(self) -> str | None:
        """Return what is missing before this agent does its work, or None."""
        for watch in self.watches:
            if watch.trouble is not None:
                return watch.trouble
        return self._trouble
