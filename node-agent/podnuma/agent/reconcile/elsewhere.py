"""Finds containers that run in no cgroup of their pod, and so on whatever CPUs they like.

containerd 2.0.1 to 2.0.4 put those of pods with user namespaces outside of kubepods
(containerd/containerd#11589), and Kata does so with a pod unless it is told otherwise
(kata-containers/kata-containers#5836). No set that is written in the cgroups of pods confines them.

A runtime names the main process of a container. One that lives and is in no cgroup of the pod is elsewhere.
What was once found in its pod is not looked for again: runtimes move no process. Where the runtime names no
process, as over CRI, nothing is known.
"""

from collections.abc import Callable, Sequence

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.allocator.request import Qos


class Elsewhere:
    """Remembers which containers run in their pods, by id."""

    def __init__(self) -> None:
        self._within: set[str] = set()

    async def look(
        self,
        containers: Sequence[Container],
        reader: CgroupReader,
        allowed: Callable[[int], object | None],
        slices: TimeSlices,
    ) -> tuple[Container, ...]:
        """Return the containers of pods that run elsewhere. `allowed`: None for a process that has ended."""
        self._within &= {found.id for found in containers}
        unknown = [found for found in containers if self._is_unknown(found)]
        pods = {pod.uid: pod for qos in (Qos if unknown else ()) for pod in reader.pods(qos)}
        elsewhere = []
        for found in unknown:
            pod = pods.get(found.pod_uid)
            if pod is None or found.pid is None:
                continue
            if reader.has_process(pod, found.pid):
                self._within.add(found.id)
            elif allowed(found.pid) is not None:
                elsewhere.append(found)
            await slices.between()
        return tuple(elsewhere)

    def _is_unknown(self, found: Container) -> bool:
        return bool(found.pid) and not found.ended and found.id not in self._within
