"""Own writes that may be carried out late, since nobody said what became of them.

A runtime or systemd that did not answer in time, or whose connection ended, may still carry out what it was
asked for; so may one that is not waited for any more, because a container's start went first. And a runtime
that updates a container carries out what the agent has answered some time later. Meanwhile something else may
be wanted, and be there. What such a write brings back is known by its value: it is set right like drift, and
is nobody else's doing. Pure.
"""

from collections.abc import Iterable, Mapping

from podnuma.agent.model.cgroup_ref import CgroupRef
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite, has_quota
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.allocator import cpuset

LATEST = 600.0  # seconds after which a write is not expected any more
ANSWERED = 60.0  # the same for what a runtime was answered, which it carries out or not


class LateWrites:
    """Remembers what was asked for without a yes, by cgroup, and until when it may be carried out."""

    def __init__(self) -> None:
        self._asked: dict[CgroupRef, dict[CgroupWrite, float]] = {}

    def answered(self, writes: Iterable[CgroupWrite], now: float) -> None:
        """Take note of what a runtime was answered that updates a container."""
        for write in writes:
            self._expect(write, now + ANSWERED)

    def left(self, results: Iterable[WriteResult], now: float) -> None:
        """Take note of writes that somebody was asked for and did not report as done."""
        for result in results:
            if result.outcome is WriteOutcome.REFUSED and result.by:
                write = result.write._replace(gains=cpuset.EMPTY, losses=cpuset.EMPTY)
                self._expect(write, now + LATEST)

    def _expect(self, write: CgroupWrite, until: float) -> None:
        writes = self._asked.setdefault(write.cgroup, {})
        writes[write] = max(until, writes.get(write, until))

    def landed(
        self,
        targets: Mapping[CgroupRef, CgroupTarget],
        seen: Mapping[CgroupRef, CgroupValues],
        now: float,
    ) -> list[CgroupRef]:
        """Return the cgroups that have what one of these writes asked for, and should have something else."""
        if not self._asked:
            return []
        self._asked = {
            cgroup: expected
            for cgroup, writes in self._asked.items()
            if cgroup in seen
            and (expected := {write: until for write, until in writes.items() if 0 < until - now <= LATEST})
        }
        return [
            cgroup
            for cgroup, writes in self._asked.items()
            if cgroup in targets and any(_brought(one, seen[cgroup], targets[cgroup]) for one in writes)
        ]


def _brought(write: CgroupWrite, values: CgroupValues, target: CgroupTarget) -> bool:
    there = (
        write.cpus in (None, values.cpus)
        and write.mems in (None, values.mems)
        and has_quota(values.cpu_max, write.cpu_max)
    )
    unwanted = (
        (write.cpus is not None and target.cpus not in (None, write.cpus))
        or (write.mems is not None and target.mems not in (None, write.mems))
        or (write.cpu_max is not None and not has_quota(write.cpu_max, target.cpu_max))
    )
    return there and unwanted
