"""The status of one PodAllocation: phase, conditions and values. Pure.

    Pending    not every container that is to run has been seen with its values yet
    Applied    each has, and all that run have them now
    Drifted    it was applied, something differs now, and repairing it did not help; or it was, and the spec
               is not what was decided any more
    Released   it was applied and the pod's cgroup is gone; or the allocation is being deleted and no process
               of the pod is left: whoever waits for its CPUs may have them
    Rejected   set by the operator, left alone
    ResizePending   it is applied, but it was decided for resources that the pod had before a resize
    Reserved   the pod was placed on this node and is not bound to it yet
    Audit      it is decided, and the mode of the node is Audit: nothing is written

What was decided after a pass began is reported after the next one.

An allocation that waits for the pod's devices is Pending, and its status says which ones the kubelet names.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from podnuma.agent.desired.state import DesiredAllocation
from podnuma.agent.devices.waiting import ToldDevices
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdicts
from podnuma.agent.status.allocation_conditions import (
    CUT,
    RESIZE_PENDING,
    conditions_of,
    intruders_of,
    pending_resize,
    short_name,
)
from podnuma.agent.status.container_status import container_statuses, effective_values, written_values
from podnuma.allocator.counts import count_assignments
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.request import ContainerKind
from podnuma.api.conditions import Condition, Readiness, Status, readiness
from podnuma.api.device_plugins import DEVICES_KNOWN
from podnuma.api.node_settings import Mode
from podnuma.api.pod_allocation import DEVICES_PENDING
from podnuma.api.pod_allocation_status import (
    AGENT_REFUSED,
    NOT_ISOLATED,
    ContainerStatus,
    Phase,
    PodAllocationStatus,
    Verdict,
)

_ENDED = "the pod has ended"
_RESERVED = "the pod was placed on this node and is not bound to it yet; nobody else gets what it will hold"
_OTHER_DRIVER = (
    "do kubelet and runtime have the same cgroup driver? Kata has its processes elsewhere unless"
    " sandbox_cgroup_only is true"
)
_UNNOTICED = "if this persists, it has ended and the runtime did not notice; restart the runtime"
_PINNED = (Verdict.PINNED_AT_START, Verdict.PINNED_LATE)


def compute_status(
    desired: DesiredAllocation, before: PodAllocationStatus, snapshot: NodeSnapshot, verdicts: PinVerdicts
) -> PodAllocationStatus | None:
    """Return the status to write, conditions without times; None if there is nothing to say."""
    if desired.allocation is None:
        return _unreadable(desired, before, snapshot)
    grant = desired.grant
    if grant is None or _decided_since(grant, snapshot):
        return None
    applied = not grant.holds_anything and desired.problem is None and not pending_resize(desired)
    if applied and snapshot.mode is not Mode.AUDIT and not _wrong(grant, snapshot):
        text = "the pod holds nothing; it runs in the node shared pool"
        ready = readiness(Readiness.CURRENT, "NoExclusiveResources", text, desired.generation)
        return PodAllocationStatus(
            desired.generation,
            Phase.APPLIED,
            (*ready, *_told(before)),
            accepted_spec=desired.spec,
            devices=before.devices,
        )
    assessment = _assess(desired, grant, before, snapshot, verdicts)
    ready = readiness(assessment.state, assessment.reason, assessment.message, desired.generation)
    others = conditions_of(desired, grant, assessment.phase, snapshot)
    pod = snapshot.pod(grant.uid)
    values = None if pod is None else snapshot.seen[pod]
    return PodAllocationStatus(
        observed_generation=desired.generation,
        phase=assessment.phase,
        conditions=(*ready, *others, *_told(before)),
        pod_written=written_values(values) or before.pod_written,
        pod_effective=effective_values(values) or before.pod_effective,
        containers=assessment.containers,
        assignments=count_assignments(grant.assigned()),
        accepted_spec=desired.spec if grant.uid in snapshot.accepted.grants else before.accepted_spec,
        devices=before.devices,
    )


def _decided_since(grant: PodGrant, snapshot: NodeSnapshot) -> bool:
    """Tell whether a grant came while the pass was under way: it says nothing about that one, the next will.

    Two objects may be about one pod, under different names, when the operator makes room for another.
    """
    accepted = snapshot.accepted
    if grant.uid in accepted.refused:
        return False
    known = accepted.grants.get(grant.uid) or accepted.sharing.get(grant.uid)
    return known is None or replace(known, namespace=grant.namespace, name=grant.name) != grant


def _unreadable(
    desired: DesiredAllocation, before: PodAllocationStatus, snapshot: NodeSnapshot
) -> PodAllocationStatus:
    """Return the status of one of which nothing but, perhaps, its pod is known."""
    phase = _not_applied(before.phase)
    if desired.deleted and not _runs(desired, snapshot):
        phase = Phase.RELEASED
    failed = readiness(Readiness.FAILED, "InvalidObject", desired.problem or "", desired.generation)
    return replace(before, observed_generation=desired.generation, phase=phase, conditions=failed)


def _runs(desired: DesiredAllocation, snapshot: NodeSnapshot) -> bool:
    """Tell whether the pod may run; where its UID is not known, by its name."""
    if desired.pod_uid:
        return desired.pod_uid not in snapshot.ended
    return any((each.namespace, each.pod_name) == desired.key for each in snapshot.containers.values())


def _not_applied(phase: Phase) -> Phase:
    """Return the phase where the spec is not what is in force."""
    return Phase.DRIFTED if phase.in_force else phase


def undecided_status(desired: DesiredAllocation, told: ToldDevices) -> PodAllocationStatus:
    """Return the status of an allocation that waits for devices, when the kubelet was asked for them."""
    generation = desired.generation
    message = desired.allocation.decision.message if desired.allocation is not None else ""
    ready = readiness(Readiness.IN_PROGRESS, DEVICES_PENDING, message, generation)
    if told.problem:
        known = Condition(DEVICES_KNOWN, Status.FALSE, "NotRead", told.problem[:CUT], generation)
    else:
        text = f"the kubelet names {len(told.devices) or 'no'} devices of device plugins"
        known = Condition(DEVICES_KNOWN, Status.TRUE, "Reported", text, generation)
    return PodAllocationStatus(generation, Phase.PENDING, (*ready, known), devices=told.devices)


def _told(before: PodAllocationStatus) -> tuple[Condition, ...]:
    """Return what was said about the devices: of a decided pod they are not asked for again."""
    return tuple(one for one in before.conditions if one.type == DEVICES_KNOWN)


@dataclass(frozen=True, slots=True)
class _Assessment:
    phase: Phase
    state: Readiness
    reason: str
    message: str
    containers: tuple[ContainerStatus, ...]


def _assess(
    desired: DesiredAllocation,
    grant: PodGrant,
    before: PodAllocationStatus,
    snapshot: NodeSnapshot,
    verdicts: PinVerdicts,
) -> _Assessment:
    containers = container_statuses(grant, before, snapshot, verdicts)
    if grant.uid in snapshot.ended:
        return _Assessment(Phase.RELEASED, Readiness.CURRENT, "Released", _ENDED, containers)
    phase, reason, message = _phase(grant, before.phase, snapshot, containers)
    if phase is Phase.APPLIED and (pending := pending_resize(desired)):
        phase, reason, message = Phase.RESIZE_PENDING, RESIZE_PENDING, pending[0].message
    reserved = desired.allocation is not None and desired.allocation.decision.reserved
    if reserved and phase is Phase.PENDING and snapshot.pod(grant.uid) is None:
        phase, reason, message = Phase.RESERVED, "Reserved", _RESERVED
    state = Readiness.CURRENT if phase in {Phase.APPLIED, Phase.RELEASED} else Readiness.IN_PROGRESS
    if grant.uid in snapshot.accepted.refused:
        why = "; ".join(filter(None, (snapshot.accepted.refused[grant.uid], desired.problem)))
        return _Assessment(Phase.PENDING, Readiness.FAILED, AGENT_REFUSED, why[:CUT], containers)
    if desired.problem is not None:
        # What was last readable stays in force; the message says what is wrong with the object.
        return _Assessment(
            _not_applied(phase), Readiness.FAILED, "InvalidObject", desired.problem, containers
        )
    if snapshot.pause_reason is not None:
        return _Assessment(phase, Readiness.FAILED, "Paused", snapshot.pause_reason, containers)
    if snapshot.mode is None:
        text = "nothing is written before the settings in the NodeTopology of this node could be read"
        return _Assessment(phase, Readiness.IN_PROGRESS, "SettingsUnknown", text, containers)
    if snapshot.mode is Mode.AUDIT:
        text = "the NodeProfile says mode: Audit; nothing is written on this node"
        return _Assessment(Phase.AUDIT, Readiness.CURRENT, Phase.AUDIT.value, text, containers)
    return _Assessment(phase, state, reason, message, containers)


def _phase(
    grant: PodGrant, before: Phase, snapshot: NodeSnapshot, containers: tuple[ContainerStatus, ...]
) -> tuple[Phase, str, str]:
    pod = snapshot.pod(grant.uid)
    if pod is None and (before.in_force or before is Phase.RELEASED):
        return Phase.RELEASED, "Released", _ENDED
    wrong = _wrong(grant, snapshot)
    if wrong:
        text = "; ".join(f"{short_name(cgroup)}: {what}" for cgroup, what in sorted(wrong.items(), key=repr))[
            :CUT
        ]
        return (Phase.DRIFTED, "Drifted", text) if before.in_force else (Phase.PENDING, "Pending", text)
    intruders = intruders_of(snapshot, grant)
    if intruders:
        return (Phase.DRIFTED if before.in_force else Phase.PENDING), NOT_ISOLATED, intruders
    pinned = {container.name for container in containers if container.verdict in _PINNED}
    missing = [
        container.name
        for container in grant.containers
        if container.kind is not ContainerKind.INIT and container.name not in pinned
    ]
    if missing and before not in {Phase.APPLIED, Phase.RESIZE_PENDING}:
        listed = snapshot.of_pod(grant.uid)
        elsewhere = [
            cgroup.name
            for cgroup, found in listed.items()
            if cgroup.name in missing and cgroup not in snapshot.seen and not found.ended
        ]
        if elsewhere:
            beside = any(cgroup in snapshot.seen for cgroup in listed)
            text = (
                f"{', '.join(elsewhere[:10])}: the runtime lists it, but it has no cgroup below that of its"
                f" pod; {_UNNOTICED if beside else _OTHER_DRIVER}"
            )
            return Phase.PENDING, "Pending", text
        return Phase.PENDING, "Pending", f"waits for the start of {', '.join(missing[:10])}"
    return Phase.APPLIED, "Applied", "the kernel reports what was decided, for the pod and every container"


def _wrong(grant: PodGrant, snapshot: NodeSnapshot) -> dict[CgroupRef, str]:
    """Return what cgroups of a pod have other than their targets."""
    pod = snapshot.pod(grant.uid)
    return {
        cgroup: what
        for cgroup, what in snapshot.differences.items()
        if what is not None and (cgroup == pod or (isinstance(cgroup, ContainerCgroup) and cgroup.pod == pod))
    }


def phases(statuses: Mapping[str, PodAllocationStatus]) -> dict[Phase, int]:
    """Count allocations by phase."""
    return dict(Counter(status.phase for status in statuses.values()))
