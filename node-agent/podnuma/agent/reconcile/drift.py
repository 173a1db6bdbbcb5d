"""Tells drift, where another program changed a right value, from values that are not there yet.

A cgroup that was right with a target and is not right with the same one has drifted. That is counted once
until it is right again, however many passes that takes.
"""

from collections.abc import Mapping
from dataclasses import replace

from podnuma.agent.model.cgroup_ref import CgroupRef
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.agent.reconcile import verify
from podnuma.allocator.cpuset import CpuSet

_UNTOUCHED = CgroupTarget()


class DriftDetector:
    """Remembers the target with which each cgroup was last seen right."""

    def __init__(self) -> None:
        self._right: dict[CgroupRef, CgroupTarget] = {}

    def found(
        self,
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        everything: CpuSet,
    ) -> dict[CgroupRef, str]:
        """Return what differs, by cgroup, of cgroups that were right with the same target."""
        now = verify.compare(targets, seen, everything)
        return {
            cgroup: what
            for cgroup, what in now.items()
            if what is not None
            and cgroup in self._right
            and _same(self._right[cgroup], targets[cgroup], seen[cgroup])
        }

    def repaired(self, cgroup: CgroupRef) -> None:
        """Take note that a drift was counted."""
        self._right.pop(cgroup, None)

    def remember(
        self,
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        differences: Mapping[CgroupRef, str | None],
    ) -> None:
        """Take note of what is right now; cgroups that are gone are forgotten."""
        self._right = {cgroup: target for cgroup, target in self._right.items() if cgroup in seen}
        for cgroup in seen:
            if differences.get(cgroup) is None:
                self._right[cgroup] = targets.get(cgroup, _UNTOUCHED)


def _same(before: CgroupTarget, now: CgroupTarget, values: CgroupValues) -> bool:
    """Tell whether the target is the same as before.

    A cgroup in which nothing was written had no target for CPUs; it has one once something is.
    """
    return before == now or (values.cpus is not None and before == replace(now, cpus=None))
