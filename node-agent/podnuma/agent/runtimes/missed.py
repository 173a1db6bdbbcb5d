"""Finds containers that NRI never reported, and asks the runtime's CRI socket what they are.

A plugin that registers is told what there is, and of everything that happens from then on. What is created in
between some runtimes tell neither way (containerd/containerd#13698, cri-o/cri-o#10090): it would run beside
its CPUs until the next registration. To register anew would help, but holds up every start on the node for
as long as any container takes to end (containerd/containerd#14083); it is done only when this happens again
and the runtime has told nothing at all in between.

So the cgroups are listed now and then. The CRI is asked about a container whose folder is there twice in a
row and that NRI never reported, and not otherwise: gRPC would take a third of the agent's memory.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cri.values import CriContainer, CriContainerState
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.allocator.request import Qos

logger = logging.getLogger(__name__)

_STARTING = CriContainerState.CREATED
_ENDED = CriContainerState.EXITED


class MissedContainers:
    """Looks below the kubepods of `reader`.

    told: which of these ids NRI told of, containers and sandboxes. ask: the CRI's list; raises OSError.
    found: takes containers that run and were not told, those of one look together.
    """

    def __init__(
        self,
        reader: CgroupReader,
        told: Callable[[AbstractSet[str]], Collection[str]],
        ask: Callable[[], Awaitable[Sequence[CriContainer]]],
        found: Callable[[Sequence[CriContainer]], None],
    ) -> None:
        self._reader = reader
        self._told = told
        self._ask = ask
        self._found = found
        self._strange: set[str] = set()
        self._others: set[str] = set()

    async def look(self) -> None:
        """Look once; what is strange for the second time is asked for. Raises OSError."""
        there = await self._there()
        before, self._others = self._strange, self._others & there
        self._strange = there - set(self._told(there)) - self._others
        if before & self._strange:
            self._take(before & self._strange, await self._ask())

    async def _there(self) -> set[str]:
        slices = TimeSlices()
        there: set[str] = set()
        for qos in Qos:
            for pod in self._reader.pods(qos):
                there.update(self._reader.containers(pod))
                await slices.between()
        return there

    def _take(self, strange: Collection[str], listed: Iterable[CriContainer]) -> None:
        known = {container.id: container for container in listed}
        running = []
        for container_id in sorted(strange):
            container = known.get(container_id)
            if container is None or container.state is _ENDED:
                self._others.add(container_id)  # a sandbox, say
            elif container.state is not _STARTING:
                logger.warning(
                    "container %s of pod %s/%s is running, but NRI did not report it",
                    container.name,
                    container.pod_namespace,
                    container.pod_name,
                )
                running.append(container)
        if running:
            self._found(running)
