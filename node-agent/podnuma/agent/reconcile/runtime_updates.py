"""Updates of containers that the runtime has asked about and may not have applied yet.

A runtime that is told to update a container (a kubelet does so when it resizes a pod) asks first, and applies
the answer some time later. So the CPUs of the answer may come back to the container after a pass has taken
them off it. Until the runtime says that it is done, nobody else gets them:

    a pass begins when no update is under way, or after PATIENCE seconds
    a cgroup that would gain CPUs of an answer which the container has no more is not written yet
    an update that begins during a pass is answered with CPUs that the container keeps in that pass

An update that fails is never said to be done: it is forgotten after PATIENCE seconds.

So is an update that was asked for here and that nobody waits for any more, because a container's start went
first (`WriteRefused.under_way`): the runtime carries it out after that start, over whatever was wanted
meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite
from podnuma.agent.reconcile.apply import WriteResult
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

PATIENCE = 2.0  # seconds; a runtime takes milliseconds


@dataclass(frozen=True, slots=True)
class _Update:
    cgroup: ContainerCgroup
    cpus: CpuSet
    began: float


class RuntimeUpdates:
    """Those that are under way, by container id; at most one of each, the latest."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._under_way: dict[object, _Update] = {}  # by container id, or by the future of our own
        self._targets: Mapping[CgroupRef, CgroupTarget] = {}
        self._changed = asyncio.Event()
        self._answers: set[CgroupWrite] = set()

    def answered(self, answer: CgroupWrite) -> None:
        """Take note of all that an update was answered with."""
        self._answers.add(answer)

    def take_answers(self) -> Collection[CgroupWrite]:
        """Return what was answered since this was asked last: it may be in the kernel, or come to be."""
        answers, self._answers = self._answers, set()
        return answers

    def aims_at(self, targets: Mapping[CgroupRef, CgroupTarget]) -> None:
        """Take note of what a pass is about to write, or has written."""
        self._targets = targets

    def begins(self, cgroup: ContainerCgroup, cpus: CpuSet) -> CpuSet:
        """Return with which of its CPUs an update that begins now is answered, and remember that."""
        target = self._targets.get(cgroup)
        if target is not None and target.cpus is not None and target.cpus & cpus:
            cpus = CpuSet(target.cpus & cpus)
        self._under_way[cgroup.id] = _Update(cgroup, cpus, self._now())
        return cpus

    def ended(self, container_id: str) -> None:
        """Take note that the runtime has applied an answer."""
        if self._under_way.pop(container_id, None) is not None:
            self._changed.set()

    def left(self, results: Iterable[WriteResult]) -> None:
        """Take note of writes that may be carried out although nobody waits for them."""
        for result in results:
            under_way, cgroup = result.under_way, result.write.cgroup
            if under_way is not None and isinstance(cgroup, ContainerCgroup):
                self._under_way[under_way] = _Update(cgroup, result.write.cpus or cpuset.EMPTY, self._now())
                under_way.add_done_callback(self._over)

    def _over(self, under_way: "asyncio.Future[Any]") -> None:
        if self._under_way.pop(under_way, None) is not None:
            self._changed.set()

    async def settle(self) -> None:
        """Wait until no update is under way, for PATIENCE seconds at most."""
        deadline = self._now() + PATIENCE
        while (left := min(deadline, self._forgotten_at()) - self._now()) > 0 and self._under_way:
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    def held(self, cgroup: CgroupRef) -> CpuSet:
        """Return the CPUs that may come back to others than this cgroup, which do not keep them."""
        held = cpuset.EMPTY
        for update in self._current():
            target = self._targets.get(update.cgroup)
            if update.cgroup != cgroup and target is not None and target.cpus is not None:
                held = CpuSet(held | update.cpus & ~target.cpus)
        return held

    def _forgotten_at(self) -> float:
        return max((update.began + PATIENCE for update in self._under_way.values()), default=self._now())

    def _current(self) -> Iterator[_Update]:
        for key, update in tuple(self._under_way.items()):
            if self._now() - update.began < PATIENCE:
                yield update
            else:
                del self._under_way[key]
