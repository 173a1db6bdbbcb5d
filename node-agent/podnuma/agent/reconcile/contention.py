"""Notices that another program keeps changing a cgroup, and backs off there.

A value that this agent has set, and that has changed although its target has not, was changed by another
program. It is set again at once, REPAIRS times within WINDOW seconds. Then the cgroup is contended: the agent
reports the value and how often it changes, and sets the cgroup at most once every PAUSE seconds, so that two
programs do not undo each other all day. That ends when nobody has changed it for QUIET seconds.

A new target is written at once all the same, and so is what takes a cgroup off the CPUs of a container that
is about to start.

A kubelet that resizes a pod is not another program (`kubelet_resize`): the quota of a pod's own cgroup is
corrected at once and never counts, nor does a change in a container just before its new target arrives.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.kubelet_resize import quota_of_pod, recent
from podnuma.allocator.cpuset import CpuSet

logger = logging.getLogger(__name__)

REPAIRS = 5
WINDOW = 600.0  # seconds
PAUSE = 60.0
QUIET = 300.0


@dataclass(slots=True)
class _History:
    """What somebody else did to one cgroup: when, last to what; `rhythm` is set while it is contended."""

    changes: deque[float] = field(default_factory=lambda: deque(maxlen=REPAIRS))
    what: str = ""
    rhythm: str = ""


class ContentionDetector:
    """Remembers for each cgroup the target this agent set last, and what others made of it."""

    def __init__(self) -> None:
        self._set: dict[CgroupRef, tuple[CgroupTarget, float]] = {}
        self._undone: dict[CgroupRef, CgroupTarget] = {}
        self._histories: dict[CgroupRef, _History] = {}

    @property
    def contended(self) -> dict[CgroupRef, str]:
        """Return what somebody else does, for people, by cgroup."""
        return {
            cgroup: f"{history.what}; somebody else changed it {history.rhythm}"
            for cgroup, history in self._histories.items()
            if history.rhythm
        }

    def forget(self, cgroup: CgroupRef) -> None:
        """Take note that what a cgroup has may come from a late write of this agent (`late_writes`)."""
        self._set.pop(cgroup, None)

    def look(
        self,
        writes: Iterable[CgroupWrite],
        targets: Mapping[CgroupRef, CgroupTarget],
        differences: Mapping[CgroupRef, str | None],
        now: float,
    ) -> None:
        """Take note of what has to be written although it was; `differences` says what is there instead."""
        self._forget(targets, now)
        writes = tuple(writes)
        quotas = {write.cgroup for write in writes if quota_of_pod(write)}
        for cgroup in {write.cgroup for write in writes}:
            target = targets[cgroup]
            if cgroup not in self._set or cgroup in quotas:
                continue
            if self._set[cgroup][0] != target:
                self._explain(cgroup, now)
            if self._set[cgroup][0] == target and self._undone.get(cgroup) != target:
                history = self._histories.setdefault(cgroup, _History())
                history.changes.append(now)
                history.what = differences.get(cgroup) or "its values differ from the target"
                self._undone[cgroup] = target
                self._judge(cgroup, history)

    def waits(self, write: CgroupWrite, target: CgroupTarget, needed: CpuSet, now: float) -> str | None:
        """Return why a write is not carried out now, or None. `needed`: CPUs of a starting container."""
        history = self._histories.get(write.cgroup)
        if history is None or not history.rhythm or write.losses & needed or quota_of_pod(write):
            return None
        last, at = self._set.get(write.cgroup, (None, 0.0))
        if last != target or not 0 <= now - at < PAUSE:
            return None
        return f"somebody else changed it {history.rhythm}; it is set once every {PAUSE:.0f} s"

    def wrote(
        self, results: Sequence[WriteResult], targets: Mapping[CgroupRef, CgroupTarget], now: float
    ) -> None:
        """Take note of what this agent set."""
        for result in results:
            if result.outcome is WriteOutcome.DONE:
                self._set[result.write.cgroup] = targets[result.write.cgroup], now
                self._undone.pop(result.write.cgroup, None)

    def _explain(self, cgroup: CgroupRef, now: float) -> None:
        """Forget the last change of a container that has a new target: it was the kubelet's resize."""
        history = self._histories.get(cgroup)
        if history is None or history.rhythm or not isinstance(cgroup, ContainerCgroup):
            return
        if recent(now, history.changes[-1]):
            history.changes.pop()
        if not history.changes:
            del self._histories[cgroup]

    def _judge(self, cgroup: CgroupRef, history: _History) -> None:
        took = history.changes[-1] - history.changes[0]
        if history.rhythm or len(history.changes) < REPAIRS or not 0 <= took <= WINDOW:
            return
        history.rhythm = f"{REPAIRS} times within {took:.0f} s"
        logger.warning(
            "%s: %s; somebody else changed it %s: from now on it is set once every %.0f s",
            describe(cgroup),
            history.what,
            history.rhythm,
            PAUSE,
        )

    def _forget(self, targets: Mapping[CgroupRef, CgroupTarget], now: float) -> None:
        self._set = {cgroup: last for cgroup, last in self._set.items() if cgroup in targets}
        self._undone = {cgroup: target for cgroup, target in self._undone.items() if cgroup in targets}
        self._histories = {cgroup: each for cgroup, each in self._histories.items() if cgroup in targets}
        for cgroup, history in list(self._histories.items()):
            quiet = cgroup not in self._undone and not 0 <= now - history.changes[-1] < QUIET
            if history.rhythm and quiet:
                logger.info("%s: nobody else has changed it for %.0f s", describe(cgroup), QUIET)
                del self._histories[cgroup]
