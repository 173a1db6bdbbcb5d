"""Writes that give a cgroup back to the kubelet and the runtime; `cleanup` says which.

Runtimes know no empty set: they get all CPUs, so that what they keep is right, and the unit is emptied
afterwards. So is the file, where nothing runs below it: Linux lets no one empty the set of a cgroup that has
processes (ENOSPC). There all CPUs stay written until the pod ends, which is the same to it. What a runtime or
systemd does not know any more is written to the file alone; so is what they refuse, which is told.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from podnuma.agent.cgroups.layout import CgroupDriver
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.bus import SystemBus
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.cgroups.writers.systemd import SystemdWriter
from podnuma.agent.cri import sockets
from podnuma.agent.cri.choice import choose_socket
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.settings import AgentSettings

if TYPE_CHECKING:
    from podnuma.agent.cri.client import CriClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restorer:
    """Writes through everything that keeps a value: the runtime, then the unit or else the files."""

    reader: CgroupReader
    runtime: "CriClient | None"
    units: SystemdWriter | None
    files: CgroupfsWriter

    async def restore(self, write: CgroupWrite, *, empty: bool) -> None:
        """Carry out one write; `empty`: let the cgroup follow its parent afterwards.

        Raises CgroupGone or WriteRefused.
        """
        refusals: list[WriteRefused] = []
        if isinstance(write.cgroup, ContainerCgroup) and self.runtime is not None:
            from podnuma.agent.runtimes.mechanisms import cri_update  # noqa: PLC0415 - loads gRPC

            # Or the runtime's next update would pin the container again. One that it has forgotten may run.
            with _kept(refusals):
                await cri_update(self.runtime, write.cgroup, write)
        folder = self._folder(write.cgroup)
        with _kept(refusals):
            await self._restore_unit(write, folder.name)
        self.files.write(write, folder)
        if empty:
            try:
                self.files.clear(folder)
            except WriteRefused as refused:
                logger.debug("%s keeps all CPUs written: %s", folder, refused.why)
        if refusals:
            raise refusals[0]

    async def _restore_unit(self, write: CgroupWrite, unit: str) -> None:
        if self.units is not None:
            await self.units.write(write, unit)
            if write.cpus is not None:
                await self.units.set(unit, [("AllowedCPUs", "ay", b""), ("AllowedMemoryNodes", "ay", b"")])

    def _folder(self, cgroup: CgroupRef) -> PurePosixPath:
        if not isinstance(cgroup, ContainerCgroup):
            return self.reader.layout.folder(cgroup)
        folder = self.reader.folder(cgroup)
        if folder is None:
            raise CgroupGone(describe(cgroup))
        return PurePosixPath(folder.relative_to(self.reader.root))


@contextlib.contextmanager
def _kept(refusals: list[WriteRefused]) -> Iterator[None]:
    """Go on where somebody refuses, or does not know a cgroup."""
    try:
        yield
    except CgroupGone as gone:
        logger.debug("not known: %s", gone)
    except WriteRefused as refused:
        refusals.append(refused)


async def _socket(root: Path, reader: CgroupReader) -> Path | None:
    try:
        return await choose_socket(sockets.find_sockets(root), reader.container_ids)
    except OSError as error:
        logger.warning("no runtime is told what is given back: %s", error)
        return None


@contextlib.asynccontextmanager
async def real_restorer(settings: AgentSettings, reader: CgroupReader) -> AsyncIterator[Restorer]:
    """Give what this node has to write through, for the time of the context."""
    bus = SystemBus(f"unix:path={settings.run_root}/dbus/system_bus_socket")
    units = (
        SystemdWriter(bus.connect, reader.layout) if reader.layout.driver is CgroupDriver.SYSTEMD else None
    )
    files = CgroupfsWriter(settings.cgroup_root, reader.layout)
    socket = settings.cri_socket or await _socket(settings.run_root.parent, reader)
    if socket is None:
        yield Restorer(reader, None, units, files)
    else:
        from podnuma.agent.cri.client import CriClient  # noqa: PLC0415 - loads gRPC

        async with CriClient(socket) as client:
            yield Restorer(reader, client, units, files)
    bus.close()
