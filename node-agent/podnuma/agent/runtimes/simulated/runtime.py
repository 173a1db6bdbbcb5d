"""The pods bound to this node, as containers in a fake tree.

A container runs from the moment its pod is Running (an init container: while it is Pending) until its status
says it ended or the pod is gone; a higher restart count is a new instance. Before one "starts" the hook is
asked, as a real runtime does, and what it answers is in the files before they can be seen.

Always true: `containers` names exactly the folders there are.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from podnuma.agent.apiserver.client import Json
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEvent, WatchEventType
from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.layout import CgroupLayout
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite, CpuMax
from podnuma.agent.model.containers import Container, StartingContainer, StartRefused
from podnuma.agent.runtimes.backend import Hook
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.allocator import request
from podnuma.allocator.quantities import Quantity
from podnuma.allocator.request import Qos
from podnuma.api.asked_resources import is_guaranteed_budget
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.names import RESOURCES_ANNOTATION
from podnuma.api.pod import PodPhase, read_pod, read_pod_facts

logger = logging.getLogger(__name__)

_PERIOD = 100_000
_NO_LIMIT = CpuMax(None, _PERIOD)
_CLASSES = {qos.value: qos for qos in Qos}

_PATIENCE = 0.5  # seconds; what a runtime with a timeout of 2 s leaves for a decision


@dataclass(frozen=True, slots=True)
class _Pod:
    cgroup: PodCgroup
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotated: bool
    cpu_max: CpuMax
    containers: dict[str, tuple[str, CpuMax]] = field(default_factory=dict)  # id -> name, cpu.max


class SimulatedRuntime:
    """Containers as folders of a fake tree; `changed` is called when one came or went."""

    def __init__(self, kernel: FakeKernel, layout: CgroupLayout, changed: Callable[[], None]) -> None:
        self._kernel = kernel
        self._layout = layout
        self._writer = CgroupfsWriter(kernel.root, layout)
        self._changed = changed
        self._pods: dict[str, _Pod] = {}
        self._running: dict[str, Container] = {}
        self._cgroups: dict[str, ContainerCgroup] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        return "Simulated"

    @property
    def piggybacks(self) -> bool:
        return False

    def boot(self) -> None:
        """Make the folders that a kubelet makes first, and find containers of an earlier run."""
        for qos in Qos:
            self._kernel.make(self._layout.qos(qos))
        self._kernel.settle(PurePosixPath())

    async def containers(self) -> tuple[Container, ...]:
        """Return all containers, of managed pods and others, after the kernel has settled."""
        self._kernel.settle(self._layout.kubepods)
        return tuple(self._running.values())

    def takes(self, cgroup: CgroupRef) -> bool:
        """Tell whether this mechanism can write there: everywhere."""
        del cgroup
        return True

    async def write(self, write: CgroupWrite) -> None:
        """Write files as the kernel would take them."""
        self._writer.write(write)
        self._kernel.settle(self._layout.folder(write.cgroup))

    def take_pods(self, hook: Hook, event: WatchEvent) -> None:
        """Take an event of the stream of pods on this node."""
        match event:
            case Listed(items=items):
                known = {pod.cgroup.uid: pod for pod in map(_read, items) if pod is not None}
                for uid in self._pods.keys() - known.keys():
                    self._end_pod(uid)
                self._sweep(known)
                for pod in known.values():
                    self._set(pod, hook)
            case Changed(kind=WatchEventType.DELETED, item=item):
                self._end_pod(_uid(item))
            case Changed(item=item):
                changed = _read(item)
                self._end_pod(_uid(item)) if changed is None else self._set(changed, hook)
        self._changed()

    def _sweep(self, known: Mapping[str, _Pod]) -> None:
        """Remove what is left of pods that ended while this process did not run."""
        for qos in Qos:
            folder = self._layout.qos(qos)
            for entry in sorted((self._kernel.root / folder).iterdir()):
                cgroup = self._layout.pod_of(entry.name, qos)
                if cgroup is not None and cgroup.uid not in known:
                    self._kernel.remove(folder / entry.name)

    def _set(self, pod: _Pod, hook: Hook) -> None:
        before = self._pods.get(pod.cgroup.uid)
        self._pods[pod.cgroup.uid] = pod
        if before is None and not (self._kernel.root / self._layout.pod(pod.cgroup)).is_dir():
            self._kernel.make(self._layout.pod(pod.cgroup), pod.cpu_max)
            self._kernel.settle(self._layout.pod(pod.cgroup))
        for gone in [] if before is None else [key for key in before.containers if key not in pod.containers]:
            self._end(gone)
        for container_id in pod.containers:
            if container_id in self._running or container_id in self._starting:
                continue
            name, _ = pod.containers[container_id]
            cgroup = ContainerCgroup(pod.cgroup, name, container_id)
            if (self._kernel.root / self._layout.folder(cgroup)).is_dir():
                self._run(pod, cgroup)  # it runs since before this process
            else:
                self._starting[container_id] = asyncio.create_task(
                    self._start(hook, pod.cgroup.uid, container_id)
                )

    async def _start(self, hook: Hook, uid: str, container_id: str) -> None:
        """Ask the hook until it lets the container start; a kubelet backs off in the same way."""
        delay = 0.2
        try:
            while (pod := self._pods.get(uid)) and container_id in pod.containers:
                name, cpu_max = pod.containers[container_id]
                cgroup = ContainerCgroup(pod.cgroup, name, container_id)
                try:
                    starting = StartingContainer(
                        cgroup, pod.namespace, pod.labels, cpu_max, annotated=pod.annotated
                    )
                    start = await hook.start(starting, _PATIENCE)
                except StartRefused as refused:
                    logger.info("container %s of pod %s/%s: %s", name, pod.namespace, pod.name, refused)
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, 5.0)
                    continue
                self._create(pod, cgroup, cpu_max, start.values)
                return
        finally:
            self._starting.pop(container_id, None)

    def _create(
        self, pod: _Pod, cgroup: ContainerCgroup, cpu_max: CpuMax, target: CgroupTarget | None
    ) -> None:
        if self._pods.get(pod.cgroup.uid) is None:
            return
        folder = self._layout.folder(cgroup)
        self._kernel.make(folder, cpu_max)
        if target is not None:
            self._writer.write(CgroupWrite(cgroup, target.cpus, target.mems, target.cpu_max))
        self._kernel.settle(folder)
        self._run(pod, cgroup)
        self._changed()

    def _run(self, pod: _Pod, cgroup: ContainerCgroup) -> None:
        started = (self._kernel.root / self._layout.folder(cgroup) / files.CONTROLLERS).stat().st_mtime
        self._cgroups[cgroup.id] = cgroup
        self._running[cgroup.id] = Container(
            pod.cgroup.uid, pod.namespace, pod.name, cgroup.name, cgroup.id, started
        )

    def _end(self, container_id: str) -> None:
        self._running.pop(container_id, None)
        cgroup = self._cgroups.pop(container_id, None)
        if cgroup is not None:
            self._kernel.remove(self._layout.folder(cgroup))

    def _end_pod(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod is None:
            return
        for container_id in pod.containers:
            self._end(container_id)
        self._kernel.remove(self._layout.pod(pod.cgroup))


def _uid(item: Json) -> str:
    metadata = item.get("metadata")
    return str(metadata.get("uid") if isinstance(metadata, dict) else "")


def _read(item: Json) -> _Pod | None:
    """Return the pod with its running containers; None if it has ended or cannot be read."""
    try:
        facts = read_pod_facts(item)
        pod = read_pod(item)
    except InvalidObjectError as error:
        logger.debug("not simulated: %s", error)
        return None
    qos = _class_of(item)
    if facts.finished or qos is None:
        return None
    cgroup = PodCgroup(facts.uid_on_node, qos)
    # A kubelet knows nothing of a budget in an annotation.
    budget = (pod.pod_limits or {}).get(request.CPU) if _has_budget(item) else None
    states = dict(_states(item))
    running = {}
    for container in pod.containers:
        restarts, ended = states.get(container.name, (0, False))
        if ended or not _runs(container.kind, facts.phase):
            continue
        limit = container.limits.get(request.CPU) or budget
        running[_id(cgroup.uid, container.name, restarts)] = (container.name, _cpu_max(limit))
    limits = [container.limits.get(request.CPU) for container in pod.containers]
    total = budget.milli if budget else sum(limit.milli for limit in limits if limit) if all(limits) else 0
    metadata = facts.metadata
    annotated = is_guaranteed_budget(_annotation(item))
    return _Pod(cgroup, metadata.namespace, metadata.name, facts.labels, annotated, _of_milli(total), running)


def _class_of(item: Json) -> Qos | None:
    """Return the QoS class that the API server stored; it decides where a kubelet puts the cgroup."""
    status = item.get("status")
    return _CLASSES.get(str(status.get("qosClass"))) if isinstance(status, dict) else None


def _has_budget(item: Json) -> bool:
    spec = item.get("spec")
    return isinstance(spec, dict) and "resources" in spec


def _annotation(item: Json) -> str:
    metadata = item.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return str(annotations.get(RESOURCES_ANNOTATION) or "") if isinstance(annotations, dict) else ""


def _runs(kind: request.ContainerKind, phase: PodPhase) -> bool:
    if kind is request.ContainerKind.INIT:
        return phase is PodPhase.PENDING
    return phase is PodPhase.RUNNING


def _states(item: Json) -> Iterator[tuple[str, tuple[int, bool]]]:
    """Yield name, restart count and "has ended" of every container that has a status."""
    status = item.get("status")
    for field_name in ("initContainerStatuses", "containerStatuses"):
        entries: Any = status.get(field_name) if isinstance(status, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                restarts = entry.get("restartCount")
                state = entry.get("state")
                ended = isinstance(state, dict) and "terminated" in state
                yield str(entry.get("name")), (restarts if isinstance(restarts, int) else 0, ended)


def _cpu_max(limit: Quantity | None) -> CpuMax:
    return _of_milli(limit.milli if limit else 0)


def _of_milli(milli: int) -> CpuMax:
    return CpuMax(max(1000, milli * _PERIOD // 1000), _PERIOD) if milli else _NO_LIMIT


def _id(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
