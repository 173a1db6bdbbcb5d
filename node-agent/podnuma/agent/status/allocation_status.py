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

What was decided after a pass began is told about after the next one.

An allocation that waits for the pod's devices is Pending, and its status says which ones the kubelet names.

Containers that ended keep their last entry, with the verdict: that of an init container outlives it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from podnuma.agent.cgroups import files
from podnuma.agent.desired.state import DesiredAllocation
from podnuma.agent.devices.waiting import ToldDevices
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdicts
from podnuma.agent.status.node_status import lacking
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.counts import count_assignments
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.request import ContainerKind
from podnuma.api.conditions import Condition, Readiness, Status, readiness
from podnuma.api.device_plugins import DEVICES_KNOWN
from podnuma.api.node_settings import Mode
from podnuma.api.pod_allocation import (
    AGENT_REFUSED,
    CONTENDED,
    DEVICES_PENDING,
    NOT_ISOLATED,
    OUTSIDE_KUBEPODS,
    ContainerStatus,
    ObservedCgroup,
    Phase,
    PodAllocationStatus,
    Verdict,
)

MEMORY_DEFERRED = "MemoryNodesDeferred"
"""Condition: a running container would have to move to other NUMA nodes; it does when it starts anew."""

CPUS_OFFLINE = "CPUsOffline"
"""Condition: some CPUs of the pod are switched off; its containers run on what is left, or share."""

ON_FOREIGN_CPUS = "OnForeignCPUs"
"""Condition: containers of the pod could not be taken off CPUs that others have for themselves."""

AFFINITY_NARROWED = "AffinityNarrowed"
"""Condition: processes of the pod may use fewer CPUs than their containers have."""

HELD = "HeldByProcesses"
"""Condition: the pod is gone from the API, its processes are not; until they are, its CPUs are theirs."""

RESIZE_PENDING = "ResizePending"
"""Condition: the pod was resized, and runs on what was decided for the resources it had before."""

_ENDED = "the pod has ended"
_RESERVED = "the pod was placed on this node and is not bound to it yet; nobody else gets what it will hold"
_OTHER_DRIVER = "do kubelet and runtime have the same cgroup driver?"
_UNNOTICED = "if that stays, it has ended and the runtime did not notice; a restart of the runtime shows"
_CUT = 2000
_THROTTLED_STEP = 5  # percent points
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
    pending = _pending_resize(desired)
    applied = not grant.holds_anything and desired.problem is None and not pending
    if applied and not _wrong(grant, snapshot):
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
    conditions = [*readiness(assessment.state, assessment.reason, assessment.message, desired.generation)]
    conditions += pending
    conditions += _deferred(snapshot, grant, desired.generation)
    conditions += _offline(snapshot, grant, desired.generation)
    conditions += _outside(snapshot, grant, desired.generation)
    conditions += _held(desired, grant, assessment.phase)
    conditions += _contended(snapshot, grant, desired.generation)
    conditions += _isolation(snapshot, grant, desired.generation)
    conditions += _narrowed(snapshot, grant, desired.generation)
    conditions += _told(before)
    pod = snapshot.pod(grant.uid)
    values = None if pod is None else snapshot.seen[pod]
    return PodAllocationStatus(
        observed_generation=desired.generation,
        phase=assessment.phase,
        conditions=tuple(conditions),
        pod_written=_written(values) or before.pod_written,
        pod_effective=_effective(values) or before.pod_effective,
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
        known = Condition(DEVICES_KNOWN, Status.FALSE, "NotRead", told.problem[:_CUT], generation)
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
    containers = _containers(grant, before, snapshot, verdicts)
    if grant.uid in snapshot.ended:
        return _Assessment(Phase.RELEASED, Readiness.CURRENT, "Released", _ENDED, containers)
    phase, reason, message = _phase(grant, before.phase, snapshot, containers)
    if phase is Phase.APPLIED and (pending := _pending_resize(desired)):
        phase, reason, message = Phase.RESIZE_PENDING, RESIZE_PENDING, pending[0].message
    reserved = desired.allocation is not None and desired.allocation.decision.reserved
    if reserved and phase is Phase.PENDING and snapshot.pod(grant.uid) is None:
        phase, reason, message = Phase.RESERVED, "Reserved", _RESERVED
    state = Readiness.CURRENT if phase in {Phase.APPLIED, Phase.RELEASED} else Readiness.IN_PROGRESS
    if grant.uid in snapshot.accepted.refused:
        why = "; ".join(filter(None, (snapshot.accepted.refused[grant.uid], desired.problem)))
        return _Assessment(Phase.PENDING, Readiness.FAILED, AGENT_REFUSED, why[:_CUT], containers)
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
        return _Assessment(Phase.PENDING, Readiness.CURRENT, "Audit", text, containers)
    return _Assessment(phase, state, reason, message, containers)


def _phase(
    grant: PodGrant, before: Phase, snapshot: NodeSnapshot, containers: tuple[ContainerStatus, ...]
) -> tuple[Phase, str, str]:
    pod = snapshot.pod(grant.uid)
    if pod is None and (before.in_force or before is Phase.RELEASED):
        return Phase.RELEASED, "Released", _ENDED
    wrong = _wrong(grant, snapshot)
    if wrong:
        text = "; ".join(f"{_short(cgroup)}: {what}" for cgroup, what in sorted(wrong.items(), key=repr))[
            :_CUT
        ]
        return (Phase.DRIFTED, "Drifted", text) if before.in_force else (Phase.PENDING, "Pending", text)
    intruders = _intruders(snapshot, grant)
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
                f"{', '.join(elsewhere[:10])}: the runtime lists it, and it has no cgroup below that of its"
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


def _short(cgroup: CgroupRef) -> str:
    return f"container {cgroup.name}" if isinstance(cgroup, ContainerCgroup) else "the pod's own cgroup"


def _containers(
    grant: PodGrant, before: PodAllocationStatus, snapshot: NodeSnapshot, verdicts: PinVerdicts
) -> tuple[ContainerStatus, ...]:
    earlier = {status.name: status for status in before.containers}
    running = _instances(snapshot, grant.uid)
    refusals = {result.write.cgroup: result.why for result in snapshot.results if result.why}
    found = []
    for container in grant.containers:
        cgroup = running.get(container.name)
        if cgroup is None:
            if container.name in earlier:
                found.append(earlier[container.name])
            continue
        judged = verdicts.of(cgroup.id)
        known = earlier.get(container.name)
        ended = cgroup not in snapshot.seen and cgroup not in snapshot.differences
        if ended and known is not None and known.container_id == cgroup.id:
            # It ended: what it had stays, and the verdict may have come after the last report.
            found.append(replace(known, verdict=judged.verdict, pinned_after_millis=judged.after_millis))
            continue
        values = snapshot.seen.get(cgroup)
        message = refusals.get(cgroup) or snapshot.differences.get(cgroup) or ""
        found.append(
            ContainerStatus(
                name=container.name,
                container_id=cgroup.id,
                written=_written(values),
                effective=_effective(values),
                verdict=judged.verdict,
                pinned_after_millis=judged.after_millis,
                message=message[:1024],
                throttled_percent=_throttled(known, cgroup.id, snapshot.throttled.get(cgroup)),
            )
        )
    return tuple(found)


def _instances(snapshot: NodeSnapshot, uid: str) -> dict[str, ContainerCgroup]:
    """Return which instance of each container counts, by its name.

    A runtime may list an earlier one that it could neither start nor remove, which has no cgroup.
    """
    ranked: dict[str, tuple[tuple[bool, bool, float], ContainerCgroup]] = {}
    for cgroup, found in snapshot.of_pod(uid).items():
        rank = (not found.ended, cgroup in snapshot.seen, found.started or 0.0)
        if cgroup.name not in ranked or rank >= ranked[cgroup.name][0]:
            ranked[cgroup.name] = rank, cgroup
    return {name: cgroup for name, (_, cgroup) in ranked.items()}


def _throttled(known: ContainerStatus | None, container: str, now: int | None) -> int | None:
    """Return how much a container is throttled: what was told before, until it is another story.

    It is a mean since the container's start and always moves a little; every new value is a write.
    """
    if now is None or known is None or known.container_id != container or known.throttled_percent is None:
        return now
    told = known.throttled_percent
    return told if bool(told) == bool(now) and abs(told - now) < _THROTTLED_STEP else now


def _written(values: CgroupValues | None) -> ObservedCgroup | None:
    if values is None:
        return None
    maximum = "" if values.cpu_max is None else files.render_cpu_max(values.cpu_max)
    return ObservedCgroup(cpuset.render(values.cpus or 0), nodeset.render(values.mems or 0), maximum)


def _effective(values: CgroupValues | None) -> ObservedCgroup | None:
    if values is None:
        return None
    maximum = "" if values.cpu_max is None else files.render_cpu_max(values.cpu_max)
    return ObservedCgroup(
        cpuset.render(values.effective_cpus or 0), nodeset.render(values.effective_mems or 0), maximum
    )


def _pending_resize(desired: DesiredAllocation) -> list[Condition]:
    pending = None if desired.allocation is None else desired.allocation.decision.pending_resize
    if pending is None:
        return []
    return [
        Condition(
            RESIZE_PENDING, Status.TRUE, pending.reason.value, pending.message[:_CUT], desired.generation
        )
    ]


def _deferred(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    waiting = [
        f"{cgroup.name} ({nodeset.named(target.deferred_mems)})"
        for cgroup in snapshot.of_pod(grant.uid)
        if (target := snapshot.targets.get(cgroup)) is not None and target.deferred_mems is not None
    ]
    if not waiting:
        return []
    text = (
        f"cpuset.mems of {', '.join(waiting)} applies at restart: moving the memory of a running container"
        " would make it wait"
    )
    return [Condition(MEMORY_DEFERRED, Status.TRUE, "ContainerRuns", text, generation)]


def _held(desired: DesiredAllocation, grant: PodGrant, phase: Phase) -> list[Condition]:
    if not desired.deleted or phase is Phase.RELEASED:
        return []
    text = (
        f"the pod is gone from the API, and its cgroup still has processes; CPUs"
        f" {cpuset.render(grant.exclusive_cpus) or 'none'} stay theirs until they have ended"
    )
    return [Condition(HELD, Status.TRUE, "ProcessesLeft", text, desired.generation)]


def _contended(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    pod = snapshot.pod(grant.uid)
    found = [
        f"{_short(cgroup)}: {what}"
        for cgroup, what in sorted(snapshot.contended.items(), key=repr)
        if cgroup == pod or (isinstance(cgroup, ContainerCgroup) and cgroup.pod == pod)
    ]
    if not found:
        return []
    return [Condition(CONTENDED, Status.TRUE, "SomebodyElseWrites", "; ".join(found)[:_CUT], generation)]


def _intruders(snapshot: NodeSnapshot, grant: PodGrant) -> str:
    found = [each for each in snapshot.intrusions if each.owner.pod.uid == grant.uid]
    return "; ".join(snapshot.explain(each, _short(each.owner)) for each in found)[:_CUT]


def _isolation(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    conditions = []
    if intruders := _intruders(snapshot, grant):
        conditions.append(Condition(NOT_ISOLATED, Status.TRUE, "OthersOnItsCPUs", intruders, generation))
    intruding = "; ".join(
        f"{_short(each.intruder)} may run on CPUs {cpuset.render(each.cpus)}, which are those of"
        f" {snapshot.describe(each.owner)}"
        for each in snapshot.intrusions
        if isinstance(each.intruder, ContainerCgroup) and each.intruder.pod.uid == grant.uid
    )[:_CUT]
    if intruding:
        conditions.append(Condition(ON_FOREIGN_CPUS, Status.TRUE, "NotTakenOff", intruding, generation))
    return conditions


def _narrowed(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    text = "; ".join(
        f"{_short(cgroup)}: {what}"
        for cgroup, what in sorted(snapshot.narrowed.items(), key=repr)
        if cgroup.pod.uid == grant.uid
    )[:_CUT]
    return [Condition(AFFINITY_NARROWED, Status.TRUE, "BoundByItself", text, generation)] if text else []


def _offline(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    offline = cpuset.CpuSet(grant.exclusive_cpus & ~snapshot.machine.topology.all_cpus)
    if not offline:
        return []
    text = (
        f"CPUs {cpuset.render(offline)} of {cpuset.render(grant.exclusive_cpus)} are offline; they count"
        " again when they are switched on"
    )
    return [Condition(CPUS_OFFLINE, Status.TRUE, "Hotplug", text, generation)]


def _outside(snapshot: NodeSnapshot, grant: PodGrant, generation: int) -> list[Condition]:
    machine = snapshot.machine
    nodes = 0
    for container in grant.containers:
        nodes |= container.memory_nodes or 0
    text = lacking(
        machine.kubepods,
        cpuset.CpuSet(grant.exclusive_cpus & machine.topology.outside),
        nodeset.NodeSet(nodes & machine.topology.outside_memory),
    )
    if not text:
        return []
    text += "; the pod keeps them, is held off them by the kernel, and gets them when they are there again"
    return [Condition(OUTSIDE_KUBEPODS, Status.TRUE, "NotInCgroup", text, generation)]


def phases(statuses: Mapping[str, PodAllocationStatus]) -> dict[Phase, int]:
    """Count allocations by phase."""
    return dict(Counter(status.phase for status in statuses.values()))
