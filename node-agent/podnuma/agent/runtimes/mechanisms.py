"""The ways to write, in the order in which they are tried; see `apply.Mechanism`.

    NRI       containers, while the plugin is connected and the runtime takes updates outside hooks
    CRI       containers, while a CRI socket answers
    Systemd   slices and pods where systemd manages cgroups; containers where neither of the above can
    Files     everything that none of the above can, and where systemd does not manage cgroups

The runtime's ways come first for containers: it keeps the values over its own restart, and a value that
only the kernel has is undone by the runtime's next update, as it is by systemd's next reload. It is set
again then, and until then nobody is on the CPUs of others because systemd or a runtime has no success.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import CgroupGone, NotAnswered, WriteRefused
from podnuma.agent.cgroups.writers.systemd import SystemdWriter
from podnuma.agent.cri import values as cri_values
from podnuma.agent.cri.errors import CriError, LateError
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupWrite, CpuMax
from podnuma.agent.nri import values as nri_values
from podnuma.agent.nri.errors import NriError
from podnuma.agent.nri.link import LinkState
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet

NO_QUOTA = -1


def quota_and_period(cpu_max: CpuMax | None) -> tuple[int | None, int | None]:
    """Return quota and period as runtimes take them; None leaves them alone."""
    if cpu_max is None:
        return None, None
    return NO_QUOTA if cpu_max.quota is None else cpu_max.quota, cpu_max.period


def nri_resources(
    cpus: CpuSet | None, mems: NodeSet | None, cpu_max: CpuMax | None, memory: int | None = None
) -> nri_values.LinuxResources:
    """Spell values for NRI."""
    amount, period = quota_and_period(cpu_max)
    return nri_values.LinuxResources(
        cpus=cpuset.render(cpus) if cpus else None,
        mems=nodeset.render(mems) if mems else None,
        cpu_quota=amount,
        cpu_period=period,
        memory_limit=memory,
    )


class NriUpdates(Protocol):
    """What is needed of `nri.link.Link`."""

    @property
    def state(self) -> LinkState: ...

    @property
    def runtime(self) -> nri_values.RuntimeInfo | None: ...

    async def update_containers(
        self, updates: Iterable[nri_values.ContainerUpdate]
    ) -> tuple[nri_values.ContainerUpdate, ...]: ...


class CriUpdates(Protocol):
    """What is needed of `cri.client.CriClient`."""

    async def update(
        self, container_id: str, resources: cri_values.LinuxContainerResources
    ) -> cri_values.UpdateOutcome: ...


@dataclass(frozen=True, slots=True)
class NriMechanism:
    """Updates through the plugin's own connection."""

    link: NriUpdates
    start_priority: StartPriority
    name: str = "NRI"
    piggybacks: bool = True

    def takes(self, cgroup: CgroupRef) -> bool:
        runtime = self.link.runtime
        if runtime is None or self.link.state is not LinkState.SYNCHRONIZED:
            return False
        return isinstance(cgroup, ContainerCgroup) and runtime.unsolicited_updates_are_safe

    async def write(self, write: CgroupWrite) -> None:
        cgroup = _container(write)
        update = nri_values.ContainerUpdate(cgroup.id, nri_resources(write.cpus, write.mems, write.cpu_max))
        try:
            failed = await self.start_priority.update(describe(cgroup), self.link.update_containers([update]))
        except TimeoutError as error:
            raise NotAnswered(describe(cgroup), _value(write), "no answer in time") from error
        except NriError as error:
            raise WriteRefused(describe(cgroup), _value(write), str(error)) from error
        if failed:
            raise WriteRefused(describe(cgroup), _value(write), "the runtime refused; see its log")


@dataclass(frozen=True, slots=True)
class CriMechanism:
    """Updates through the runtime's socket. `client` gives None where there is none."""

    client: Callable[[], CriUpdates | None]
    start_priority: StartPriority
    name: str = "CRI"
    piggybacks: bool = True

    def takes(self, cgroup: CgroupRef) -> bool:
        return isinstance(cgroup, ContainerCgroup) and self.client() is not None

    async def write(self, write: CgroupWrite) -> None:
        cgroup, client = _container(write), self.client()
        if client is None:
            raise WriteRefused(describe(cgroup), _value(write), "no CRI socket")
        await self.start_priority.update(describe(cgroup), cri_update(client, cgroup, write))


async def cri_update(client: CriUpdates, cgroup: ContainerCgroup, write: CgroupWrite) -> None:
    """Carry out a write through CRI. Raises CgroupGone or WriteRefused."""
    amount, period = quota_and_period(write.cpu_max)
    resources = cri_values.LinuxContainerResources(
        cpus=cpuset.render(write.cpus) if write.cpus else None,
        mems=nodeset.render(write.mems) if write.mems else None,
        cpu_quota=amount,
        cpu_period=period,
    )
    try:
        outcome = await client.update(cgroup.id, resources)
    except LateError as error:
        raise NotAnswered(describe(cgroup), _value(write), str(error)) from error
    except CriError as error:
        raise WriteRefused(describe(cgroup), _value(write), str(error)) from error
    if outcome is cri_values.UpdateOutcome.GONE:
        raise CgroupGone(describe(cgroup))


@dataclass(frozen=True, slots=True)
class SystemdMechanism:
    """Unit properties."""

    writer: SystemdWriter
    reader: CgroupReader
    name: str = "Systemd"
    piggybacks: bool = False

    def takes(self, cgroup: CgroupRef) -> bool:
        del cgroup
        return True

    async def write(self, write: CgroupWrite) -> None:
        unit = None
        if isinstance(write.cgroup, ContainerCgroup):
            unit = _folder(self.reader, write.cgroup).name
        await self.writer.write(write, unit)
        # Delegated to the runtime: systemd knows no group below the unit.
        _write_leaf(self.reader, CgroupfsWriter(self.reader.root, self.reader.layout), write)


@dataclass(frozen=True, slots=True)
class FilesMechanism:
    """Cgroup files, where systemd is not in charge or has no success.

    `units`: where it is in charge, it is told all the same. What it keeps it may write late, and does at its
    next reload.
    """

    writer: CgroupfsWriter
    reader: CgroupReader
    units: SystemdWriter | None = None
    name: str = "Files"
    piggybacks: bool = False

    def takes(self, cgroup: CgroupRef) -> bool:
        del cgroup
        return True

    async def write(self, write: CgroupWrite) -> None:
        folder: PurePosixPath | None = None
        if isinstance(write.cgroup, ContainerCgroup):
            folder = PurePosixPath(_folder(self.reader, write.cgroup).relative_to(self.reader.root))
        if self.units is not None:
            await _tell(self.units, write, None if folder is None else folder.name)
        self.writer.write(write, folder)
        _write_leaf(self.reader, self.writer, write)


async def _tell(units: SystemdWriter, write: CgroupWrite, unit: str | None) -> None:
    try:
        await units.write(write, unit)
    except NotAnswered:
        raise
    except (CgroupGone, WriteRefused):
        return  # the file alone, then


def _write_leaf(reader: CgroupReader, writer: CgroupfsWriter, write: CgroupWrite) -> None:
    leaf = reader.leaf(write.cgroup) if isinstance(write.cgroup, ContainerCgroup) else None
    if leaf is not None:
        folder, values = leaf
        writer.write_leaf(write, PurePosixPath(folder.relative_to(reader.root)), values)


def _folder(reader: CgroupReader, cgroup: ContainerCgroup) -> Path:
    folder = reader.folder(cgroup)
    if folder is None:
        raise CgroupGone(describe(cgroup))
    return folder


def _container(write: CgroupWrite) -> ContainerCgroup:
    if not isinstance(write.cgroup, ContainerCgroup):
        raise TypeError(f"{describe(write.cgroup)} is not a container; runtimes can write only to containers")
    return write.cgroup


def _value(write: CgroupWrite) -> str:
    parts = [
        f"cpus {cpuset.render(write.cpus)}" if write.cpus is not None else "",
        f"mems {nodeset.render(write.mems)}" if write.mems is not None else "",
        f"cpu.max {write.cpu_max}" if write.cpu_max is not None else "",
    ]
    return ", ".join(part for part in parts if part)
