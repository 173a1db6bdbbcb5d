"""Turns what a pass found into statuses and gauges.

Keeps the last status of every allocation: the next one follows from it, and a new process takes over what an
earlier one wrote. A status that stayed what it was is not worked out again before something that it follows
from is another: the allocation, what passes find, or the verdicts.
"""

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from podnuma.agent.apiserver.client import Json
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.desired.state import DesiredAllocation, DesiredState
from podnuma.agent.devices.waiting import ToldDevices
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.agent.reconcile.verdicts import PinVerdict, PinVerdicts
from podnuma.agent.status import allocation_status
from podnuma.agent.status.metrics import AdmissionCounts, GaugeValues
from podnuma.agent.status.node_status import NodeStatus
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.conditions import Readiness, merged, readiness
from podnuma.api.pod_allocation_status import PodAllocationStatus, render_status
from podnuma.api.resource_types import POD_ALLOCATION

_LONGEST_MESSAGE = 1000

_Settled: TypeAlias = tuple[DesiredAllocation, Callable[[], None]]
"""An allocation whose status stayed what it was, and what submits that again."""


@dataclass(slots=True)
class StatusReporter:
    """Submits the statuses of one node and its allocations, and answers what gauges are computed from."""

    desired: DesiredState
    status_writer: StatusWriter
    node_status: NodeStatus
    admissions: AdmissionCounts
    clock: Callable[[], dt.datetime]
    _statuses: dict[str, PodAllocationStatus] = field(init=False, default_factory=dict)
    _found: tuple[NodeSnapshot, Mapping[str, PinVerdict]] | None = field(init=False, default=None)
    _settled: dict[str, _Settled] = field(init=False, default_factory=dict)

    def recall(self, verdicts: PinVerdicts) -> None:
        """Take over the statuses that an earlier process wrote, and their verdicts."""
        for desired in self.desired.allocations():
            if desired.uid in self._statuses or desired.allocation is None:
                continue
            status = self._statuses[desired.uid] = desired.allocation.status
            verdicts.recall(
                {
                    container.container_id: PinVerdict(container.verdict, container.pinned_after_millis)
                    for container in status.containers
                }
            )

    async def report(self, snapshot: NodeSnapshot, verdicts: PinVerdicts) -> None:
        """Submit all statuses and count admissions."""
        if not (self.desired.allocations_known and self.desired.topology_known):
            return
        found = snapshot, verdicts.judged()
        if found != self._found:
            self._found = found
            self._settled.clear()
        slices = TimeSlices()
        for desired in self.desired.allocations():
            settled = self._settled.get(desired.uid)
            if settled is not None and settled[0] is desired:
                submit_again = settled[1]
                submit_again()
                continue
            self._submit(desired, snapshot, verdicts)
            self._count(desired, snapshot)
            await slices.between()
        allocations = self.desired.allocations()  # those that came between the slices, too
        self.admissions.keep(desired.pod_uid for desired in allocations if desired.allocation)
        alive = {desired.uid for desired in allocations}
        self._statuses = {key: status for key, status in self._statuses.items() if key in alive}
        self._settled = {key: settled for key, settled in self._settled.items() if key in alive}
        addresses = {
            POD_ALLOCATION.path(desired.namespace, desired.name, "status") for desired in allocations
        }
        addresses.add(self.node_status.path)
        self.status_writer.forget(addresses.__contains__)
        self.node_status.runtime_found(snapshot)
        self.node_status.publish()

    def _count(self, desired: DesiredAllocation, snapshot: NodeSnapshot) -> None:
        if desired.allocation is None:
            return
        uid, decision = desired.allocation.uid_on_node, desired.allocation.decision
        grant = snapshot.accepted.grants.get(uid)
        if decision.refused:
            self.admissions.rejected(uid, decision)
        elif grant is not None:
            self.admissions.admitted(grant)

    def _submit(self, desired: DesiredAllocation, snapshot: NodeSnapshot, verdicts: PinVerdicts) -> None:
        before = self._statuses.get(desired.uid, PodAllocationStatus())
        status = allocation_status.compute_status(desired, before, snapshot, verdicts)
        self._settled.pop(desired.uid, None)
        if status is not None:
            submit = self._hand_over(desired, before, status)
            if self._statuses[desired.uid] == before:
                self._settled[desired.uid] = desired, submit

    def tell_devices(self, desired: DesiredAllocation, told: ToldDevices) -> None:
        """Submit at once what the kubelet said about the devices of a pod that waits for that."""
        before = self._statuses.get(desired.uid, PodAllocationStatus())
        self._settled.pop(desired.uid, None)
        self._hand_over(desired, before, allocation_status.undecided_status(desired, told))

    def _hand_over(
        self, desired: DesiredAllocation, before: PodAllocationStatus, status: PodAllocationStatus
    ) -> Callable[[], None]:
        """Submit a status; return what submits it again."""
        status = replace(status, conditions=merged(before.conditions, status.conditions, self.clock()))
        self._statuses[desired.uid] = status
        stored = desired.allocation.status if desired.allocation is not None else None
        namespace, name = desired.namespace, desired.name
        path = POD_ALLOCATION.path(namespace, name, "status")

        def patch(what: PodAllocationStatus) -> Json:
            return POD_ALLOCATION.status_patch(namespace, name, desired.uid, render_status(what))

        def without_what_is_refused(why: str) -> Json:
            return patch(self._refused(status, desired.generation, why))

        submit = functools.partial(
            self.status_writer.submit,
            path,
            patch(status),
            again=stored != status,
            substitute=without_what_is_refused,
        )
        submit()
        return submit

    def _refused(self, status: PodAllocationStatus, generation: int, why: str) -> PodAllocationStatus:
        """Return what is left of a status that the API server refuses: the phase, and why."""
        message = f"the API server refuses the status of this object: {why}"[:_LONGEST_MESSAGE]
        failed = readiness(Readiness.FAILED, "StatusRefused", message, generation)
        return PodAllocationStatus(generation, status.phase, merged(status.conditions, failed, self.clock()))

    def gauges(self, snapshot: NodeSnapshot) -> GaugeValues:
        """Return what gauges are computed from."""
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
            refused_statuses=self.status_writer.refused,
            containers_not_isolated=len({each.owner for each in snapshot.intrusions}),
            cgroups_contended=len(snapshot.contended),
            cgroups_out_of_sync=sum(what is not None for what in snapshot.differences.values()),
        )
