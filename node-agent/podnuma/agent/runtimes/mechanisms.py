"""The ways to write, in the order in which they are tried; see `apply.Mechanism`.

    NRI       containers, while the plugin is connected and the runtime takes updates outside hooks
    CRI       containers, while a CRI socket answers
    Systemd   slices and pods where systemd manages cgroups; containers where neither of the above can
    Files     everything, where nobody manages cgroups

The runtime's ways come first for containers: it keeps the values over its own restart, and a value that
only the kernel has is undone by the runtime's next update.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from podnuma.agent.cgroups.reader import Reader
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import PlaceGone, WriteRefused
from podnuma.agent.cgroups.writers.systemd import SystemdWriter
from podnuma.agent.cri import values as cri_values
from podnuma.agent.cri.errors import CriError
from podnuma.agent.nri import values as nri_values
from podnuma.agent.nri.errors import NriError
from podnuma.agent.nri.link import LinkState
from podnuma.agent.plan.places import Bandwidth, ContainerPlace, Place, Step, describe
from podnuma.agent.runtimes.giving_way import GivingWay
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet

NO_QUOTA = -1


def quota(bandwidth: Bandwidth | None) -> tuple[int | None, int | None]:
    """Return quota and period as runtimes take them; None leaves them alone."""
    if bandwidth is None:
        return None, None
    return NO_QUOTA if bandwidth.quota is None else bandwidth.quota, bandwidth.period


def nri_resources(
    cpus: CpuSet | None, mems: NodeSet | None, bandwidth: Bandwidth | None, memory: int | None = None
) -> nri_values.Resources:
    """Spell values for NRI."""
    amount, period = quota(bandwidth)
    return nri_values.Resources(
        cpus=cpuset.render(cpus) if cpus else None,
        mems=nodeset.render(mems) if mems else None,
        cpu_quota=amount,
        cpu_period=period,
        memory_limit=memory,
    )


class Plugged(Protocol):
    """What is needed of `nri.link.Link`."""

    @property
    def state(self) -> LinkState: ...

    @property
    def runtime(self) -> nri_values.RuntimeInfo | None: ...

    async def update_containers(
        self, updates: Iterable[nri_values.Update]
    ) -> tuple[nri_values.Update, ...]: ...


class Updating(Protocol):
    """What is needed of `cri.client.Client`."""

    async def update(self, container_id: str, resources: cri_values.Resources) -> cri_values.Outcome: ...


@dataclass(frozen=True, slots=True)
class Nri:
    """Updates through the plugin's own connection."""

    link: Plugged
    giving_way: GivingWay
    name: str = "NRI"
    rides: bool = True

    def takes(self, place: Place) -> bool:
        runtime = self.link.runtime
        if runtime is None or self.link.state is not LinkState.SYNCHRONIZED:
            return False
        return isinstance(place, ContainerPlace) and runtime.unsolicited_updates_are_safe

    async def write(self, step: Step) -> None:
        place = _container(step)
        update = nri_values.Update(place.id, nri_resources(step.cpus, step.mems, step.bandwidth))
        try:
            failed = await self.giving_way.outside(describe(place), self.link.update_containers([update]))
        except (NriError, TimeoutError) as error:
            raise WriteRefused(describe(place), _value(step), str(error) or "no answer in time") from error
        if failed:
            raise WriteRefused(describe(place), _value(step), "the runtime refused; see its log")


@dataclass(frozen=True, slots=True)
class Cri:
    """Updates through the runtime's socket. `client` gives None where there is none."""

    client: Callable[[], Updating | None]
    giving_way: GivingWay
    name: str = "CRI"
    rides: bool = True

    def takes(self, place: Place) -> bool:
        return isinstance(place, ContainerPlace) and self.client() is not None

    async def write(self, step: Step) -> None:
        place, client = _container(step), self.client()
        if client is None:
            raise WriteRefused(describe(place), _value(step), "no CRI socket")
        await self.giving_way.outside(describe(place), cri_update(client, place, step))


async def cri_update(client: Updating, place: ContainerPlace, step: Step) -> None:
    """Write a step through CRI. Raises PlaceGone or WriteRefused."""
    amount, period = quota(step.bandwidth)
    resources = cri_values.Resources(
        cpus=cpuset.render(step.cpus) if step.cpus else None,
        mems=nodeset.render(step.mems) if step.mems else None,
        cpu_quota=amount,
        cpu_period=period,
    )
    try:
        outcome = await client.update(place.id, resources)
    except CriError as error:
        raise WriteRefused(describe(place), _value(step), str(error)) from error
    if outcome is cri_values.Outcome.GONE:
        raise PlaceGone(describe(place))


@dataclass(frozen=True, slots=True)
class Systemd:
    """Unit properties."""

    writer: SystemdWriter
    reader: Reader
    name: str = "Systemd"
    rides: bool = False

    def takes(self, place: Place) -> bool:
        del place
        return True

    async def write(self, step: Step) -> None:
        unit = None
        if isinstance(step.place, ContainerPlace):
            unit = _folder(self.reader, step.place).name
        await self.writer.write(step, unit)


@dataclass(frozen=True, slots=True)
class Files:
    """Cgroup files, where systemd is not in charge."""

    writer: CgroupfsWriter
    reader: Reader
    name: str = "Files"
    rides: bool = False

    def takes(self, place: Place) -> bool:
        del place
        return True

    async def write(self, step: Step) -> None:
        folder: PurePosixPath | None = None
        if isinstance(step.place, ContainerPlace):
            folder = PurePosixPath(_folder(self.reader, step.place).relative_to(self.reader.root))
        self.writer.write(step, folder)


def _folder(reader: Reader, place: ContainerPlace) -> Path:
    folder = reader.folder(place)
    if folder is None:
        raise PlaceGone(describe(place))
    return folder


def _container(step: Step) -> ContainerPlace:
    if not isinstance(step.place, ContainerPlace):
        raise TypeError(f"{describe(step.place)} is no container; runtimes know of no other place")
    return step.place


def _value(step: Step) -> str:
    parts = [
        f"cpus {cpuset.render(step.cpus)}" if step.cpus is not None else "",
        f"mems {nodeset.render(step.mems)}" if step.mems is not None else "",
        f"cpu.max {step.bandwidth}" if step.bandwidth is not None else "",
    ]
    return ", ".join(part for part in parts if part)
