"""Finds pods whose processes are not in the cgroups of their containers: they run in a sandbox.

Kata runs them in a virtual machine, gVisor in a kernel of its own: one process, in the cgroup of the pod's
sandbox container (google/gvisor#9580, kata-containers/kata-containers#11598). The cgroups of the containers
are empty, or not there. A set written in them confines nobody, whatever the kernel shows there.

So what counts is the pod's own cgroup, which has the sandbox in it. It gets the CPUs of the pod and no
others, if every container of the pod has some (`plan.targets`). A container that is just ending is empty,
too, and one that has ended tells nothing: a pod is sandboxed when all containers that it has have been empty
for two seconds, and stays it between two containers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.agent.model.containers import Container
from podnuma.agent.plan.targets import PlanInput, start_target
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

_ENDING = 2.0  # seconds in which a runtime tells of a container's end


class Sandboxes:
    """The sandboxed `pods` of a node, by UID, and since when containers have been `empty`, by id."""

    def __init__(self) -> None:
        self.pods: frozenset[str] = frozenset()
        self.empty: dict[str, float] = {}
        self._inhabited: set[str] = set()

    def look(
        self,
        containers: Collection[ContainerCgroup],
        holders: Collection[str],
        seen: Collection[CgroupRef],
        populated: Callable[[CgroupRef], bool | None],
        now: float,
    ) -> list[ContainerCgroup]:
        """Look at the containers that the pods with grants have; return those of pods found just now.

        A container that had a process once is not looked at again: its runtime does not move them.
        """
        self._inhabited &= {cgroup.id for cgroup in containers}
        if not self.pods and all(
            cgroup.id in self._inhabited for cgroup in containers if cgroup.pod.uid in holders
        ):
            self.empty = {}
            return []
        theirs: dict[PodCgroup, list[ContainerCgroup]] = {
            cgroup: [] for cgroup in seen if isinstance(cgroup, PodCgroup) and cgroup.uid in holders
        }
        for cgroup in containers:
            if cgroup.pod in theirs:
                theirs[cgroup.pod].append(cgroup)
        listed = [cgroup for each in theirs.values() for cgroup in each]
        self.empty = {
            cgroup.id: self.empty.get(cgroup.id, now)
            for cgroup in listed
            if self._is_empty(cgroup, seen, populated)
        }
        before = self.pods
        sandboxed = [
            pod
            for pod, its in theirs.items()
            if all(cgroup.id in self.empty for cgroup in its)
            and (pod.uid in before or any(now - self.empty[cgroup.id] >= _ENDING for cgroup in its))
            and populated(pod)
        ]
        self.pods = frozenset(pod.uid for pod in sandboxed)
        return [cgroup for pod in sandboxed if pod.uid not in before for cgroup in theirs[pod]]

    def has_processes(self, cgroup: ContainerCgroup) -> None:
        """Take note that the processes of a container are in its own cgroup, if only for a moment."""
        self._inhabited.add(cgroup.id)

    def with_ends(
        self, containers: Mapping[ContainerCgroup, Container], seen: Collection[CgroupRef]
    ) -> Mapping[ContainerCgroup, Container]:
        """Return the containers; those that had processes and have no cgroup any more have ended.

        CRI-O tells NRI of that only when it removes the container (cri-o/cri-o#7059), others never, if they
        did not notice.
        """
        over = {
            cgroup: replace(found, ended=True)
            for cgroup, found in containers.items()
            if cgroup not in seen and cgroup.id in self._inhabited and not found.ended
        }
        return {**containers, **over} if over else containers

    def differences(
        self,
        plan_input: PlanInput,
        containers: Mapping[ContainerCgroup, Container],
        seen: Mapping[CgroupRef, CgroupValues],
    ) -> dict[CgroupRef, str | None]:
        """Return what the containers of sandboxed pods have other than their CPUs."""
        theirs = [
            cgroup for cgroup, found in containers.items() if cgroup.pod.uid in self.pods and not found.ended
        ]
        targets = ((cgroup, start_target(plan_input, cgroup)) for cgroup in theirs)
        wanted = ((cgroup, None if target is None else target.cpus) for cgroup, target in targets)
        return _differences(wanted, seen)

    def _is_empty(
        self,
        cgroup: ContainerCgroup,
        seen: Collection[CgroupRef],
        populated: Callable[[CgroupRef], bool | None],
    ) -> bool:
        if cgroup.id in self._inhabited:
            return False
        if cgroup not in seen:
            return True
        inside = populated(cgroup)
        if inside:
            self._inhabited.add(cgroup.id)
        return inside is False


def _differences(
    containers: Iterable[tuple[ContainerCgroup, CpuSet | None]], seen: Mapping[CgroupRef, CgroupValues]
) -> dict[CgroupRef, str | None]:
    """Return what differs, for containers of sandboxed pods with the CPUs that each should have."""
    found: dict[CgroupRef, str | None] = {}
    for cgroup, cpus in containers:
        values = seen.get(cgroup.pod)
        there = cpuset.EMPTY if values is None else values.effective_cpus or cpuset.EMPTY
        found[cgroup] = (
            None
            if cpus is None or there == cpus
            else f"its runtime runs it in the sandbox of the pod, on {cpuset.render(there) or 'no CPUs'};"
            f" wanted {cpuset.render(cpus)}"
        )
    return found
