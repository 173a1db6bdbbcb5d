"""Mechanisms that have no success at a cgroup, which are passed over there until it is right once.

A mechanism has none where it refuses, where it reports success and the kernel has another value, and where it
calls a cgroup gone that has processes. Nothing says that the next one fails, too: a
runtime may have lost what it knew of a container (k3s-io/k3s#3104), crun turns "no quota" into a quota of
1000 microseconds, which only systemd can remove again, and systemd takes properties of a slice that it does
not hold for active without a word (systemd/systemd#1828). A write that only gave way to a container's start
says nothing of its mechanism.

One that does not answer is asked again: it may carry out late what it was asked for, and only after that what
it is asked next. Through another one the newer value would come first, and be undone while somebody else has
the CPUs already.

systemd answers before it has written, and a busy one takes its time. So of slices and pods a success is
doubted when the kernel has not shown it for SLOW seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.agent.reconcile import verify
from podnuma.agent.reconcile.apply import HOOK, WriteOutcome, WriteResult

SLOW = 2.0  # seconds


class UnreliableMechanisms:
    """The names of mechanisms that had no success `at` cgroups, and since when the kernel shows none."""

    def __init__(self) -> None:
        self.at: dict[CgroupRef, frozenset[str]] = {}
        self._unshown: dict[CgroupRef, tuple[str, float]] = {}

    def may_be_under_way(self, cgroup: CgroupRef) -> bool:
        """Tell whether what was last written there may just not be in the kernel yet."""
        return cgroup in self._unshown and cgroup not in self.at

    def confirm(
        self,
        results: Sequence[WriteResult],
        after: Mapping[CgroupRef, CgroupValues],
        populated: Callable[[CgroupRef], bool | None],
        now: float,
    ) -> tuple[WriteResult, ...]:
        """Turn each success that the kernel does not show into a refusal, and remember the mechanism.

        So is an end that the kernel does not show: a runtime may have forgotten a container whose processes
        still run. Who counts on their CPUs has to wait, and the next mechanism is tried.

        A cgroup may have been written more than once, first to less and then, when there was room, to more:
        the kernel shows the last.
        """
        written = {result.write.cgroup for result in results}
        self.at = {cgroup: names for cgroup, names in self.at.items() if cgroup in written}
        unwritten = self._unwritten(results, after, now)
        confirmed = []
        for result in results:
            cgroup, what = result.write.cgroup, unwritten.get(result.write.cgroup)
            if what is not None and _claimed(result):
                self._remember(result)
                confirmed.append(_refused(result, f"{result.by} reported success, but {what}"))
            elif result.outcome is WriteOutcome.GONE and cgroup in after:
                # One without processes is ending, or was left behind: then the next mechanism can write it.
                self._remember(result)
                why = f"{result.by} does not know it, but it has processes"
                confirmed.append(_refused(result, why) if populated(cgroup) else result)
            elif result.outcome is WriteOutcome.REFUSED and _has_refused(result):
                self._remember(result)
                confirmed.append(result)
            else:
                confirmed.append(result)
        return tuple(confirmed)

    def _unwritten(
        self, results: Sequence[WriteResult], after: Mapping[CgroupRef, CgroupValues], now: float
    ) -> dict[CgroupRef, str]:
        """Return what the kernel shows instead, by cgroup, where that is no matter of patience."""
        last = {result.write.cgroup: result for result in results if _claimed(result)}
        found = {
            cgroup: what
            for cgroup, result in last.items()
            if cgroup in after and (what := verify.unwritten(result.write, after[cgroup])) is not None
        }
        before, self._unshown = self._unshown, {}
        for cgroup in tuple(found):
            if isinstance(cgroup, ContainerCgroup):
                continue
            by, since = last[cgroup].by, now
            if before.get(cgroup, ("",))[0] == by:
                since = before[cgroup][1]
            self._unshown[cgroup] = by, since
            if 0 <= now - since < SLOW:
                del found[cgroup]
        return found

    def _remember(self, result: WriteResult) -> None:
        cgroup = result.write.cgroup
        self.at[cgroup] = self.at.get(cgroup, frozenset()) | {result.by}


def _refused(result: WriteResult, why: str) -> WriteResult:
    return replace(result, outcome=WriteOutcome.REFUSED, why=why)


def _has_refused(result: WriteResult) -> bool:
    """Tell whether a mechanism said no, so that it will not carry out the write late."""
    return bool(result.by) and result.answered and result.under_way is None


def _claimed(result: WriteResult) -> bool:
    """Tell whether a mechanism reported that it wrote; a hook's answer reports nothing."""
    return result.outcome is WriteOutcome.DONE and result.by != HOOK
