"""Finds out what this node has and puts its backend together.

Detected, not configured: the cgroup driver by the tree the kubelet made, NRI and CRI by their sockets. Both
can come and go while the agent runs; which one is in use is asked anew each time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING

from podnuma.agent.cgroups.layout import CgroupDriver
from podnuma.agent.cgroups.new_pods import watch_new_pods
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.bus import SystemBus
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.systemd import SystemdWriter
from podnuma.agent.cri import sockets
from podnuma.agent.cri import values as cri_values
from podnuma.agent.cri.choice import choose_socket
from podnuma.agent.model.containers import Container, RuntimeDescription
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.link import Link, LinkState
from podnuma.agent.runtimes.backend import Hook, NodeBackend, Task
from podnuma.agent.runtimes.container_cache import ContainerCache
from podnuma.agent.runtimes.mechanisms import CriMechanism, FilesMechanism, NriMechanism, SystemdMechanism
from podnuma.agent.runtimes.missed import MissedContainers
from podnuma.agent.runtimes.nri_plugin import EVENTS, NriPlugin
from podnuma.agent.runtimes.patience import Patient
from podnuma.agent.runtimes.pod_tree import find_layout, until_moved
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.agent.settings import AgentSettings, Runtime

if TYPE_CHECKING:
    from podnuma.agent.cri.client import CriClient
    from podnuma.agent.reconcile.apply import Mechanism

NRI_SOCKET = Path("nri/nri.sock")  # below /run
_PLUGIN = "podnuma"
_INDEX = "50"
_HEAD_START = 1.0  # seconds that NRI has before CRI is tried
_LOOK_AGAIN = 2.0
_LOOK_AT_CGROUPS = 15.0
_GRACE = 10.0  # seconds for which a lost runtime's last report counts
_UNANSWERED = 3  # updates in a row that a runtime may leave unanswered
_NANO = 10**9
_GONE = (cri_values.CriContainerState.EXITED,)
_DENIED = (
    "; what root may not do SELinux or AppArmor denies: where SELinux is in force, set agent.seLinuxType of"
    " the chart to spc_t"
)


def real_backend(settings: AgentSettings, changed: Callable[[], None]) -> NodeBackend:
    """Return the backend of a real node. Raises NodeUnfit with what is missing."""
    layout = find_layout(settings.cgroup_root)
    reader = CgroupReader(settings.cgroup_root, layout)
    start_priority = StartPriority()
    node = _RealNode(settings, start_priority, reader, changed)
    mechanisms: list[Mechanism] = []
    if settings.runtime is not Runtime.CRI:
        mechanisms.append(Patient(NriMechanism(node.link, start_priority), _UNANSWERED))
    if settings.runtime is not Runtime.NRI:
        mechanisms.append(Patient(CriMechanism(lambda: node.cri, start_priority), _UNANSWERED))
    by_file = CgroupfsWriter(settings.cgroup_root, layout)
    if layout.driver is CgroupDriver.SYSTEMD:
        bus = SystemBus(f"unix:path={settings.run_root}/dbus/system_bus_socket")
        units = SystemdWriter(bus.connect, layout)
        mechanisms.append(Patient(SystemdMechanism(units, reader), 1))
        mechanisms.append(Patient(FilesMechanism(by_file, reader, units), 1))
    else:
        mechanisms.append(FilesMechanism(by_file, reader))
    return NodeBackend(
        reader=reader,
        runtime=node,
        mechanisms=mechanisms,
        describe=node.describe,
        kubepods=reader.kubepods,
        tasks=node.tasks,
        until_moved=lambda: until_moved(reader),
    )


class _RealNode:
    """The containers of a real node: by NRI while that is synchronized, else by CRI."""

    def __init__(
        self,
        settings: AgentSettings,
        start_priority: StartPriority,
        reader: CgroupReader,
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._start_priority = start_priority
        self._changed = changed
        self._by_nri = ContainerCache(changed)
        self._by_cri = ContainerCache(changed)
        self._cri_trouble: str | None = "not asked yet"
        self._cri_version = ""
        self._seen_at = float("-inf")
        self._heard_when_missed = -1
        self.cri: CriClient | None = None
        socket = settings.nri_socket or settings.run_root / NRI_SOCKET
        self.link = Link(PluginConfig(_PLUGIN, _INDEX, EVENTS, socket))

    @property
    def name(self) -> str:
        return self.describe().runtime

    async def containers(self) -> Sequence[Container]:
        """Return what runs. Raises OSError while no runtime is connected."""
        now = asyncio.get_running_loop().time()
        if self._settings.runtime is not Runtime.CRI and self.link.state is LinkState.SYNCHRONIZED:
            self._seen_at = now
            return self._by_nri.all()
        if self._settings.runtime is not Runtime.NRI and self._cri_trouble is None:
            return self._by_cri.all()
        if now - self._seen_at < _GRACE:
            # A runtime that restarts keeps its containers running, and slices go on needing care.
            return self._by_nri.all()
        why = f"NRI: {self.link.reason}; CRI: {self._cri_trouble}"
        denied = _DENIED if "permission denied" in why.lower() else ""
        raise OSError(f"no runtime is connected; {why}{denied}")

    def describe(self) -> RuntimeDescription:
        runtime = self.link.runtime
        if runtime is not None and self.link.state is LinkState.SYNCHRONIZED:
            policy = self.link.failure_policy.value
            return RuntimeDescription("NRI", f"{runtime.name} {runtime.version}", policy)
        if self.cri is not None:
            return RuntimeDescription("CRI", self._cri_version)
        return RuntimeDescription("-")

    def tasks(self, hook: Hook) -> list[Task]:
        """Return what has to run for ever."""
        reader = self._reader
        tasks: list[Task] = [lambda: watch_new_pods(reader.root, reader.layout, self._changed)]
        if self._settings.runtime is not Runtime.CRI:
            plugin = NriPlugin(
                self._by_nri, self._start_priority, hook, self._settings.hook_share, self._changed
            )
            tasks += [lambda: self.link.run(plugin), lambda: self._follow_failure_policy(plugin, hook)]
            if self._settings.runtime is not Runtime.NRI:
                tasks.append(lambda: self._look_for_missed(plugin.sandboxes))
        if self._settings.runtime is not Runtime.NRI:
            tasks.append(self._follow_cri)
        return tasks

    async def _follow_failure_policy(self, plugin: NriPlugin, hook: Hook) -> None:
        while True:
            closed = hook.fail_closed()
            self.link.register_with(plugin.failure_policy())
            await hook.wait_fail_closed(closed=not closed)

    async def _look_for_missed(self, sandboxes: Callable[[AbstractSet[str]], AbstractSet[str]]) -> None:
        missed = MissedContainers(
            self._reader,
            lambda there: self._by_nri.ids() | sandboxes(there),
            self._ask_cri,
            self._found_missed,
        )
        while True:
            await asyncio.sleep(_LOOK_AT_CGROUPS)
            if self.link.state is LinkState.SYNCHRONIZED:
                with contextlib.suppress(OSError):
                    await missed.look()

    def _found_missed(self, containers: Sequence[cri_values.CriContainer]) -> None:
        """Take containers of which NRI did not tell; a runtime that tells nothing any more is asked to."""
        for container in containers:
            self._by_nri.add(_seen(container))
        if self.link.heard == self._heard_when_missed:
            # Some runtimes go on without a plugin that was late, and leave it connected (containerd/nri#102).
            self.link.register_anew(
                "the runtime starts containers and tells nothing of them; registering anew. If this comes"
                " again, raise plugin_request_timeout in its NRI configuration"
            )
        self._heard_when_missed = self.link.heard

    async def _ask_cri(self) -> Sequence[cri_values.CriContainer]:
        """Return the containers that the CRI lists. Raises OSError."""
        from podnuma.agent.cri.client import CriClient  # noqa: PLC0415 - loads gRPC
        from podnuma.agent.cri.errors import CriError  # noqa: PLC0415

        socket = await self._found_socket()
        try:
            async with CriClient(socket) as client:
                return await client.containers()
        except CriError as error:
            raise OSError(str(error)) from error

    async def _found_socket(self) -> Path:
        """Return the socket of the kubelet's runtime. Raises OSError that says why there is none."""
        socket = await self._cri_socket()
        if socket is None or not socket.is_socket():
            raise OSError(self._no_socket())
        return socket

    async def _cri_socket(self) -> Path | None:
        if self._settings.cri_socket is not None:
            return self._settings.cri_socket
        return await choose_socket(self._sockets(), self._reader.container_ids)

    def _sockets(self) -> tuple[Path, ...]:
        return sockets.find_sockets(self._settings.run_root.parent)

    def _no_socket(self) -> str:
        if self._settings.cri_socket is None and len(found := self._sockets()) > 1:
            return (
                f"none of the runtimes at {', '.join(map(str, found))} lists a container of this node's pods;"
                " --cri-socket of the agent names the one that the kubelet uses"
            )
        return (
            f"no runtime listens where runtimes usually do below {self._settings.run_root.parent}; name its"
            " folder in agent.runtimeDirectory of the chart, and a socket of another name with --cri-socket"
        )

    @property
    def _nri_is_enough(self) -> bool:
        runtime = self.link.runtime
        return (
            self._settings.runtime is not Runtime.CRI
            and self.link.state is LinkState.SYNCHRONIZED
            and runtime is not None
            and runtime.unsolicited_updates_are_safe
        )

    async def _follow_cri(self) -> None:
        """Keep the CRI inventory, and the client that updates go through, while NRI is not enough."""
        await asyncio.sleep(_HEAD_START)
        while True:
            if self._nri_is_enough:
                self._cri_trouble = "not used while NRI is connected"
            else:
                try:
                    socket = await self._found_socket()
                except OSError as error:
                    self._cri_trouble = str(error)
                else:
                    await self._follow(socket)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _follow(self, socket: Path) -> None:
        # gRPC is a third of the memory of an agent that does not need it.
        from podnuma.agent.cri.client import CriClient  # noqa: PLC0415
        from podnuma.agent.cri.watch import ContainersListed, RuntimeLost, watch  # noqa: PLC0415

        async with CriClient(socket) as client:
            try:
                async with contextlib.aclosing(watch(client)) as stream:
                    async for seen in stream:
                        if self._nri_is_enough:
                            return
                        if isinstance(seen, RuntimeLost):
                            self._lose_cri(seen.reason)
                            if not self._cri_version:
                                return  # nobody has ever answered there: another socket may be the one
                        elif isinstance(seen, ContainersListed):
                            await self._take(client, seen.containers)
                        else:
                            await self._take(client, await client.containers())
            finally:
                self._lose_cri(self._cri_trouble or "not connected")

    def _lose_cri(self, why: str) -> None:
        self._cri_trouble, self.cri = why, None
        self._changed()

    async def _take(self, client: "CriClient", containers: Iterable[cri_values.CriContainer]) -> None:
        if self.cri is None:
            version = await client.version()
            self._cri_version = f"{version.runtime_name} {version.runtime_version}"
            self.cri, self._cri_trouble = client, None
            self._changed()
        self._by_cri.replace(_seen(container) for container in containers if container.state not in _GONE)


def _seen(container: cri_values.CriContainer) -> Container:
    return Container(
        pod_uid=container.pod_uid,
        namespace=container.pod_namespace,
        pod_name=container.pod_name,
        name=container.name,
        id=container.id,
        started=container.created_at / _NANO if container.created_at else None,
    )
