"""What a PodAllocation's status says about each container: its values and its verdict. Pure.

Containers that ended keep their last entry, with the verdict: that of an init container outlives it. Nothing
is pending for them any more.
"""

from dataclasses import replace

from podnuma.agent.cgroups import files
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.reconcile.verdicts import PinVerdicts
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.decision import PodGrant
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    PodAllocationStatus,
    Verdict,
)

_THROTTLED_STEP = 5  # percent points


def container_statuses(
    grant: PodGrant, before: PodAllocationStatus, snapshot: NodeSnapshot, verdicts: PinVerdicts
) -> tuple[ContainerStatus, ...]:
    """Return an entry for each container that a pod's grant names and that has been seen."""
    earlier = {status.name: status for status in before.containers}
    running = _instances(snapshot, grant.uid)
    refusals = {result.write.cgroup: result.why for result in snapshot.results if result.why}
    found = []
    for container in grant.containers:
        cgroup = running.get(container.name)
        if cgroup is None:
            if container.name in earlier:
                found.append(_of_ended(earlier[container.name]))
            continue
        judged = verdicts.of(cgroup.id)
        known = earlier.get(container.name)
        ended = cgroup not in snapshot.seen and cgroup not in snapshot.differences
        if ended and known is not None and known.container_id == cgroup.id:
            # It ended: what it had stays, and the verdict may have come after the last report.
            told = replace(known, verdict=judged.verdict, pinned_after_millis=judged.after_millis)
            found.append(_of_ended(told) if snapshot.containers[cgroup].ended else told)
            continue
        values = snapshot.seen.get(cgroup)
        message = refusals.get(cgroup) or snapshot.differences.get(cgroup) or ""
        told = ContainerStatus(
            name=container.name,
            container_id=cgroup.id,
            written=written_values(values),
            effective=effective_values(values),
            verdict=judged.verdict,
            pinned_after_millis=judged.after_millis,
            message=message[:1024],
            throttled_percent=_throttled(known, cgroup.id, snapshot.throttled.get(cgroup)),
        )
        found.append(_of_ended(told) if snapshot.containers[cgroup].ended else told)
    return tuple(found)


def _of_ended(status: ContainerStatus) -> ContainerStatus:
    """Return the entry of a container that has ended."""
    return replace(status, verdict=Verdict.UNKNOWN) if status.verdict is Verdict.PENDING else status


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


def written_values(values: CgroupValues | None) -> ObservedCgroup | None:
    """Return what is written in the files of a cgroup."""
    if values is None:
        return None
    maximum = "" if values.cpu_max is None else files.render_cpu_max(values.cpu_max)
    return ObservedCgroup(cpuset.render(values.cpus or 0), nodeset.render(values.mems or 0), maximum)


def effective_values(values: CgroupValues | None) -> ObservedCgroup | None:
    """Return what the kernel has in force in a cgroup."""
    if values is None:
        return None
    maximum = "" if values.cpu_max is None else files.render_cpu_max(values.cpu_max)
    return ObservedCgroup(
        cpuset.render(values.effective_cpus or 0), nodeset.render(values.effective_mems or 0), maximum
    )
