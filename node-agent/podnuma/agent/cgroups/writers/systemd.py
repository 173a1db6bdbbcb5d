"""Writes unit properties over D-Bus: for nodes whose cgroups systemd manages.

A runtime property (`SetUnitProperties(runtime=true)`) survives daemon-reload and the kubelet's resync; a
bare file write to a unit's own files does not. systemd takes CPUs and memory nodes as a bit mask in bytes,
lowest first, and cpu_max as microseconds per second.

The names are those of man 5 org.freedesktop.systemd1 and man 5 systemd.resource-control.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.layout import CgroupLayout
from podnuma.agent.cgroups.writers.refusals import CgroupGone, NotAnswered, WriteRefused
from podnuma.agent.model.cgroup_ref import describe
from podnuma.agent.model.cgroup_values import CgroupWrite, CpuMax
from podnuma.allocator import cpuset

Property: TypeAlias = tuple[str, str, object]
"""Name, D-Bus signature, value."""

INFINITY = 2**64 - 1
_SECOND = 1_000_000
_DEADLINE = 5.0


class NoSuchUnit(LookupError):  # noqa: N818 - a container that ended is no error
    """systemd knows no unit of that name."""


class Bus(Protocol):
    """What is needed of systemd. Raises NoSuchUnit, or OSError with systemd's text."""

    async def set_unit_properties(self, unit: str, properties: Iterable[Property]) -> None: ...


@dataclass(frozen=True, slots=True)
class SystemdWriter:
    """Carries out writes on units. `connect` opens the bus again if need be, or raises OSError."""

    connect: Callable[[], Awaitable[Bus]]
    layout: CgroupLayout

    async def write(self, write: CgroupWrite, unit: str | None = None) -> None:
        """Carry out a write. Raises CgroupGone or WriteRefused, NotAnswered after some seconds."""
        if write.cpus == cpuset.EMPTY:
            raise ValueError(f"{describe(write.cgroup)}: the empty set means 'all CPUs' and is never written")
        await self.set(unit or self.layout.unit(write.cgroup), properties(write))

    async def set(self, unit: str, wanted: list[Property]) -> None:
        """Set properties of one unit. Raises CgroupGone or WriteRefused."""
        value = ", ".join(f"{name}={_readable(name, value)}" for name, _, value in wanted)
        try:
            async with asyncio.timeout(_DEADLINE):
                bus = await self.connect()
                await bus.set_unit_properties(unit, wanted)
        except NoSuchUnit as error:
            raise CgroupGone(unit) from error
        except TimeoutError as error:
            raise NotAnswered(unit, value, f"systemd did not answer within {_DEADLINE:g} s") from error
        except OSError as error:
            raise WriteRefused(unit, value, str(error)) from error


def properties(write: CgroupWrite) -> list[Property]:
    """Return a write as unit properties."""
    wanted: list[Property] = []
    if write.mems is not None:
        wanted.append(("AllowedMemoryNodes", "ay", unit_mask(write.mems)))
    if write.cpus is not None:
        wanted.append(("AllowedCPUs", "ay", unit_mask(write.cpus)))
    if write.cpu_max is not None:
        wanted.append(("CPUQuotaPerSecUSec", "t", per_second(write.cpu_max)))
        wanted.append(("CPUQuotaPeriodUSec", "t", write.cpu_max.period))
    return wanted


def unit_mask(members: int) -> bytes:
    """Spell a set as systemd does: byte i, bit j is member 8i + j."""
    return members.to_bytes((members.bit_length() + 7) // 8, "little")


def per_second(cpu_max: CpuMax) -> int:
    """Return microseconds of CPU time per second; infinity for no limit."""
    if cpu_max.quota is None:
        return INFINITY
    return -(-cpu_max.quota * _SECOND // cpu_max.period)


def _readable(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return files.CPUS.render(cpuset.CpuSet(int.from_bytes(value, "little"))) or "all"
    return "infinity" if value == INFINITY and name.startswith("CPUQuota") else str(value)
