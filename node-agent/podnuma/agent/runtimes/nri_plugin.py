"""What the agent answers to NRI.

    Synchronize       everything there is; moves come later, from the plan, outside this answer
    RunPodSandbox     the new pod's slice is confined before its containers are created, and its devices
                      are asked for, if its decision waits for them
    CreateContainer   the start hook's values, and what others give up first
    StartContainer    the cgroup is there and nothing runs in it yet: the kernel is asked what it has.
                      Earlier it is nothing to look at: the runtime is still making it
    UpdateContainer   the plan's values again, so that a resize by the kubelet unpins nothing: a runtime
                      applies all it knows of the container, older CPUs and memory nodes too. Then a pass
    PostUpdateContainer
                      that answer is in the kernel now; before, nobody else gets a CPU of it
    PostUpdatePodSandbox
                      a pass: the kubelet has written the quota of the pod's own cgroup just before, at a
                      shrink below what the pod's containers still use. Runtimes before NRI 0.11 do not tell
    the rest          who exists

The hook's question is bounded by a share of the runtime's timeout, the whole answer by a greater one: a
plugin that answers late is dropped, and everything starts without it until it is connected again. What
others have to give up is piggybacked on the answer; runtimes apply it before the container exists, and only
log what fails there: the verifier finds it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite, CpuMax
from podnuma.agent.model.containers import Container, StartingContainer, StartRefused
from podnuma.agent.nri import values as nri
from podnuma.agent.nri.plugin import Refused
from podnuma.agent.runtimes.backend import Hook
from podnuma.agent.runtimes.container_cache import ContainerCache
from podnuma.agent.runtimes.mechanisms import NO_QUOTA, nri_resources
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.agent.start.hook import StartAnswer
from podnuma.allocator.request import Qos
from podnuma.api.asked_resources import is_guaranteed_budget
from podnuma.api.names import RESOURCES_ANNOTATION

logger = logging.getLogger(__name__)

# Pods that the kubelet reads from files; it writes this annotation itself.
_SOURCE = "kubernetes.io/config.source"
_FROM_API = "api"
_NANO = 10**9
_DEADLINE = 0.7  # of the runtime's timeout, for the whole answer
# A container that is only created is still being set up; its start is an event of its own.
_NOTHING_RUNS = (nri.NriContainerState.CREATED, nri.NriContainerState.STOPPED)

EVENTS = frozenset(
    {
        nri.NriEvent.RUN_POD_SANDBOX,
        nri.NriEvent.CREATE_CONTAINER,
        nri.NriEvent.START_CONTAINER,
        nri.NriEvent.POST_START_CONTAINER,
        nri.NriEvent.UPDATE_CONTAINER,
        nri.NriEvent.POST_UPDATE_CONTAINER,
        nri.NriEvent.POST_UPDATE_POD_SANDBOX,
        nri.NriEvent.STOP_CONTAINER,
        nri.NriEvent.REMOVE_CONTAINER,
    }
)


class NriPlugin:
    """Answers for one node; `nri.plugin.Plugin` says when what is called."""

    def __init__(
        self,
        inventory: ContainerCache,
        start_priority: StartPriority,
        hook: Hook,
        share: float,
        changed: Callable[[], None],
    ) -> None:
        self._inventory = inventory
        self._start_priority = start_priority
        self._hook = hook
        self._share = share
        self._changed = changed
        self._patience = share * nri.DEFAULT_REQUEST_TIMEOUT
        self._deadline = _DEADLINE * nri.DEFAULT_REQUEST_TIMEOUT
        self._sandboxes: set[str] = set()

    async def configured(self, runtime: nri.RuntimeInfo) -> None:
        self._patience = self._share * runtime.request_timeout
        self._deadline = _DEADLINE * runtime.request_timeout

    def sandboxes(self, there: AbstractSet[str]) -> AbstractSet[str]:
        """Return which of these ids are those of sandboxes; others are forgotten."""
        self._sandboxes &= there
        return self._sandboxes

    def failure_policy(self) -> nri.FailurePolicy:
        return nri.FailurePolicy.FAIL if self._hook.fail_closed() else nri.FailurePolicy.IGNORE

    async def synchronize(
        self, pods: Sequence[nri.PodSandbox], containers: Sequence[nri.NriContainer]
    ) -> Sequence[nri.ContainerUpdate]:
        by_id = {pod.id: pod for pod in pods}
        self._sandboxes = set(by_id)
        self._inventory.replace(
            self._seen(by_id.get(container.pod_sandbox_id), container)
            for container in containers
            if container.state not in _NOTHING_RUNS
        )
        self._changed()
        return ()

    async def create_container(
        self, pod: nri.PodSandbox, container: nri.NriContainer
    ) -> nri.CreateContainerResponse:
        starting = starting_of(pod, container)
        if starting is None:
            return nri.CreateContainerResponse()
        with self._start_priority.starting():
            try:
                async with asyncio.timeout(self._deadline):
                    start = await self._hook.start(starting, self._patience)
            except StartRefused as refused:
                raise Refused(str(refused)) from refused
            except TimeoutError as late:
                raise Refused(
                    "podnuma: others could not be taken off this container's CPUs within"
                    f" {self._deadline:.1f} s; it starts at the next try"
                ) from late
        return nri.CreateContainerResponse(
            _adjust(start, container), tuple(_piggyback(write) for write in start.piggybacked)
        )

    async def update_container(
        self, pod: nri.PodSandbox, container: nri.NriContainer, wanted: nri.LinuxResources
    ) -> Sequence[nri.ContainerUpdate]:
        starting = starting_of(pod, container)
        if starting is None:
            return ()
        # Answered from the last pass: the one under way may be waiting for this very update.
        again = _again(self._hook.update_begins(starting.cgroup), wanted)
        self._changed()
        return () if again is None else (nri.ContainerUpdate(container.id, again, ignore_failure=True),)

    async def stop_container(
        self, pod: nri.PodSandbox, container: nri.NriContainer
    ) -> Sequence[nri.ContainerUpdate]:
        del pod
        self._inventory.remove(container.id)
        return ()

    async def event(
        self, event: nri.NriEvent, pod: nri.PodSandbox, container: nri.NriContainer | None
    ) -> None:
        self._sandboxes.add(pod.id)
        match event:
            case nri.NriEvent.RUN_POD_SANDBOX if pod.uid:
                self._hook.pod_admitted(pod.uid)
            case nri.NriEvent.POST_START_CONTAINER if container is not None:
                self._inventory.add(self._seen(pod, container))
            case nri.NriEvent.START_CONTAINER if container is not None:
                self._inventory.add(self._seen(pod, container))
                await self._before_start(pod, container)
            case nri.NriEvent.POST_UPDATE_CONTAINER if container is not None:
                self._hook.update_ended(container.id)
            case nri.NriEvent.REMOVE_CONTAINER if container is not None:
                self._inventory.remove(container.id)
            case _:
                pass
        self._changed()

    async def disconnected(self, reason: str) -> None:
        del reason
        self._changed()

    async def _before_start(self, pod: nri.PodSandbox, container: nri.NriContainer) -> None:
        starting = starting_of(pod, container)
        if starting is None:
            return
        with self._start_priority.starting():
            try:
                async with asyncio.timeout(self._patience):
                    await self._hook.before_start(starting.cgroup)
            except TimeoutError:
                text = "%s starts: its values could not be checked within %.1f s"
                logger.warning(text, describe(starting.cgroup), self._patience)
            except OSError as error:
                logger.warning(
                    "%s starts: its values could not be read: %s", describe(starting.cgroup), error
                )

    @staticmethod
    def _seen(pod: nri.PodSandbox | None, container: nri.NriContainer) -> Container:
        started = container.started_at or container.created_at
        return Container(
            pod_uid=(pod.uid if pod is not None else "") or container.pod_uid,
            namespace=pod.namespace if pod is not None else "",
            pod_name=pod.name if pod is not None else "",
            name=container.name,
            id=container.id,
            started=started / _NANO if started else None,
            pid=container.pid or None,
        )


def starting_of(pod: nri.PodSandbox, container: nri.NriContainer) -> StartingContainer | None:
    """Return what the hook wants to know; None for what no kubelet started."""
    qos = qos_of(pod.cgroup_parent)
    if qos is None or not pod.uid:
        return None
    resources = container.resources
    cpu_max = None
    if resources.cpu_quota is not None and resources.cpu_period:
        cpu_max = CpuMax(resources.cpu_quota if resources.cpu_quota > 0 else None, resources.cpu_period)
    return StartingContainer(
        cgroup=ContainerCgroup(PodCgroup(pod.uid, qos), container.name, container.id),
        namespace=pod.namespace,
        labels=pod.labels,
        cpu_max=cpu_max,
        local=pod.annotations.get(_SOURCE, _FROM_API) != _FROM_API,
        annotated=is_guaranteed_budget(pod.annotations.get(RESOURCES_ANNOTATION, "")),
    )


def qos_of(cgroup_parent: str) -> Qos | None:
    """Return the class of a pod by where its cgroup is; None if that is nowhere below kubepods."""
    parts = cgroup_parent.strip("/").split("/")
    if not any("kubepods" in part for part in parts):
        return None
    for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT):
        if any(part == qos.value.lower() or f"kubepods-{qos.value.lower()}" in part for part in parts):
            return qos
    return Qos.GUARANTEED


# Of a container that was to have no quota anyway none is spoken of: for a runtime that is told a period, a
# kernel without quotas (no cpu.max) is an error (k3s-io/k3s#12655, containerd/containerd#9651).
#
# crun 1.21 turns "no quota", -1, into one percent of a CPU (cgroup-systemd.c rounds -10 up for
# `CPUQuotaPerSecUSec`) and then sets up the container under it, which takes that much longer. 0 is a quota
# that was never set: for crun and runc the unit has none, and cpu.max is "max".
_NEVER_SET = 0


def _adjust(start: StartAnswer, container: nri.NriContainer) -> nri.LinuxResources | None:
    target = start.values
    if target is None:
        return None
    memory = None if container.resources.memory_limit else target.memory_limit
    resources = nri_resources(target.cpus, target.mems, target.cpu_max, memory)
    if resources.cpu_quota != NO_QUOTA:
        return resources
    if (container.resources.cpu_quota or 0) <= 0:
        return replace(resources, cpu_quota=None, cpu_period=None)
    return replace(resources, cpu_quota=_NEVER_SET)


def _again(target: CgroupTarget | None, wanted: nri.LinuxResources) -> nri.LinuxResources | None:
    """Return what overrides the values that an update asks for."""
    if target is None:
        return None
    cpu_max = target.cpu_max if wanted.cpu_quota is not None else None
    return nri_resources(target.cpus, target.mems, cpu_max)


def _piggyback(write: CgroupWrite) -> nri.ContainerUpdate:
    if not isinstance(write.cgroup, ContainerCgroup):
        raise TypeError("a hook's answer can carry writes to containers only")
    resources = nri_resources(write.cpus, write.mems, write.cpu_max)
    return nri.ContainerUpdate(write.cgroup.id, resources, ignore_failure=True)
