"""Tells drift, where another program changed a right value, from values that are not there yet.

A cgroup that was right with a target and is not right with the same one has drifted. That is counted once
until it is right again, however many passes that takes.

What a kubelet writes when it resizes a pod is not drift (`kubelet_resize`). It is corrected like drift; but
the quota of a pod's own cgroup is never counted, and that of a container only if no new target arrives for
it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from podnuma.agent.model.cgroup_ref import CgroupRef
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite
from podnuma.agent.reconcile.kubelet_resize import only_quota, quota_of_pod, recent

_UNTOUCHED = CgroupTarget()


@dataclass(frozen=True, slots=True)
class _Repair:
    """A quota that was set right at a time and may have been the kubelet's."""

    what: str
    target: CgroupTarget
    at: float


class DriftDetector:
    """Remembers the target with which each cgroup was last seen right."""

    def __init__(self) -> None:
        self._right: dict[CgroupRef, CgroupTarget] = {}
        self._doubtful: dict[CgroupRef, _Repair] = {}
        self._remembered: tuple[object, ...] = ()  # since a cgroup was forgotten

    def forget(self, cgroup: CgroupRef) -> None:
        """Take note that what a cgroup has may come from a write of this agent (`late_writes`)."""
        self._right.pop(cgroup, None)
        self._remembered = ()

    def found(
        self,
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        differences: Mapping[CgroupRef, str | None],
    ) -> dict[CgroupRef, str]:
        """Return what differs, by cgroup, of cgroups that were right with the same target."""
        return {
            cgroup: what
            for cgroup, what in differences.items()
            if what is not None
            and cgroup in self._right
            and _same(self._right[cgroup], targets[cgroup], seen[cgroup])
        }

    def repaired(
        self,
        writes: Iterable[CgroupWrite],
        drifted: Mapping[CgroupRef, str],
        targets: Mapping[CgroupRef, CgroupTarget],
        now: float,
    ) -> dict[CgroupRef, str]:
        """Take note of what was written; return the drifts that are certain and set right, each once."""
        certain = {}
        for write in writes:
            cgroup, what = write.cgroup, drifted.get(write.cgroup)
            if what is None or quota_of_pod(write):
                continue
            self.forget(cgroup)
            if only_quota(write):
                self._doubtful.setdefault(cgroup, _Repair(what, targets[cgroup], now))
            else:
                certain[cgroup] = what
        for cgroup, repair in list(self._doubtful.items()):
            explained = targets.get(cgroup) != repair.target
            if explained or not recent(now, repair.at):
                del self._doubtful[cgroup]
                if not explained:
                    certain[cgroup] = repair.what
        return certain

    def remember(
        self,
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        differences: Mapping[CgroupRef, str | None],
    ) -> None:
        """Take note of what is right now; cgroups that are gone are forgotten."""
        if self._remembered == (targets, seen, differences):
            return
        self._remembered = targets, seen, differences
        self._right = {cgroup: target for cgroup, target in self._right.items() if cgroup in seen}
        for cgroup in seen:
            if differences.get(cgroup) is None:
                self._right[cgroup] = targets.get(cgroup, _UNTOUCHED)


def _same(before: CgroupTarget, now: CgroupTarget, values: CgroupValues) -> bool:
    """Tell whether the target is the same as before.

    A cgroup in which nothing was written had no target for CPUs; it has one once something is.
    """
    return before == now or (values.cpus is not None and before == replace(now, cpus=None))
