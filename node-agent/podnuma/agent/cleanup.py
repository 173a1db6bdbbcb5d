"""Gives every cgroup of a node back: `podnuma agent cleanup`, and a write of uninstalling.

    slices, pods, containers                  cpuset follows the parent again, parents first
    a container whose quota was taken off     as many CPUs as it had for itself
    a pod whose quota was taken off           as many CPUs as its containers had together

Nothing is asked of the API server: what is there to be given back stands in the cgroups, and a node that has
lost everything can still be cleaned. The agent must not run meanwhile; it would set everything again.

Runtimes know no empty set: they get all CPUs, so that what they keep is right, and the unit is emptied
afterwards. So is the file, where nothing runs below it: Linux lets nobody empty a set of a cgroup that has
processes (ENOSPC). There all CPUs stay written until the pod ends, which is the same to it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml
from podnuma.agent.cgroups.layout import Driver, detect
from podnuma.agent.cgroups.reader import Reader, values_in
from podnuma.agent.cgroups.writers.bus import SystemBus
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.cgroups.writers.systemd import SystemdWriter
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, depth, describe
from podnuma.agent.model.cgroup_values import CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Qos

if TYPE_CHECKING:
    from podnuma.agent.cri.client import Client

logger = logging.getLogger(__name__)

_LONGEST_CONFIG = 2**20


@dataclass(frozen=True, slots=True)
class CleanupResult:
    """What became of one cgroup; `why` is empty when it was given back."""

    cgroup: CgroupRef
    why: str = ""


def main(settings: AgentSettings) -> None:
    """Give the node back and say what was done. Raises SystemExit(1) if something could not be."""
    outcomes = asyncio.run(clean(settings))
    for outcome in outcomes:
        if outcome.why:
            logger.error("%s: %s", describe(outcome.cgroup), outcome.why)
    failed = sum(bool(outcome.why) for outcome in outcomes)
    logger.info("given back: %d of %d cgroups", len(outcomes) - failed, len(outcomes))
    if failed:
        raise SystemExit(1)


async def clean(settings: AgentSettings) -> tuple[CleanupResult, ...]:
    """Give everything back that differs from what the kubelet makes. Never raises for a single cgroup."""
    layout = detect(settings.cgroup_root)
    if layout is None:
        logger.info("%s has no kubepods: nothing to give back", settings.cgroup_root)
        return ()
    reader = Reader(settings.cgroup_root, layout)
    pods = [pod for qos in Qos for pod in reader.pods(qos)]
    cgroups = [
        ContainerCgroup(pod, "", container_id) for pod in pods for container_id in reader.containers(pod)
    ]
    seen = reader.read(pods, cgroups)
    everything, machine = reader.everything(), values_in(settings.cgroup_root)
    if everything is None or machine is None:
        return ()
    quotas = not _quota_is_off(settings.kubelet_root)
    writes = give_back(seen, everything, machine.effective_mems, quotas=quotas)
    async with _ways(settings, reader) as ways:
        outcomes = tuple([await _give(write, seen[write.cgroup], ways) for write in writes])
    if settings.runtime is Runtime.SIMULATED:
        _settle_simulated(settings.cgroup_root)
    return outcomes


def give_back(
    seen: Mapping[CgroupRef, CgroupValues], everything: CpuSet, nodes: NodeSet | None, *, quotas: bool
) -> list[CgroupWrite]:
    """Return one write per cgroup that was touched, parents first: all CPUs and memory nodes, its old quota.

    Pure. `nodes`: the memory nodes of the machine; `quotas`: whether this kubelet sets quotas at all.
    """
    writes = []
    for cgroup, values in sorted(seen.items(), key=lambda item: (depth(item[0]), repr(item[0]))):
        cpu_max = _original(cgroup, values, seen) if quotas else None
        touched = values.cpus is not None or values.mems is not None
        if touched or cpu_max is not None:
            mems = nodes if values.mems is not None else None
            writes.append(CgroupWrite(cgroup, everything if touched else None, mems, cpu_max))
    return writes


def _original(
    cgroup: CgroupRef, values: CgroupValues, seen: Mapping[CgroupRef, CgroupValues]
) -> CpuMax | None:
    """Return the quota that the kubelet gave and that was taken off: exclusive CPUs are whole ones."""
    if values.cpu_max is None or values.cpu_max.quota is not None:
        return None
    match cgroup:
        case ContainerCgroup():
            own = values.cpus or 0
        case PodCgroup():
            own = 0
            for other, its in seen.items():
                if isinstance(other, ContainerCgroup) and other.pod == cgroup and _exclusive(its):
                    own |= its.cpus or 0
        case _:
            return None
    period = values.cpu_max.period
    return CpuMax(own.bit_count() * period, period) if own else None


def _exclusive(values: CgroupValues) -> bool:
    return values.cpu_max is not None and values.cpu_max.quota is None


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways to write that this node has, all that apply are used in this order."""

    reader: Reader
    runtime: "Client | None"
    units: SystemdWriter | None
    files: CgroupfsWriter


@contextlib.asynccontextmanager
async def _ways(settings: AgentSettings, reader: Reader) -> AsyncIterator[_Ways]:
    files = CgroupfsWriter(settings.cgroup_root, reader.layout)
    if settings.runtime is Runtime.SIMULATED:
        yield _Ways(reader, None, None, files)
        return
    bus = SystemBus(f"unix:path={settings.run_root}/dbus/system_bus_socket")
    units = SystemdWriter(bus.connect, reader.layout) if reader.layout.driver is Driver.SYSTEMD else None
    async with _client(settings) as runtime:
        yield _Ways(reader, runtime, units, files)
    bus.close()


@contextlib.asynccontextmanager
async def _client(settings: AgentSettings) -> "AsyncIterator[Client | None]":
    # gRPC is loaded only where there is a socket to talk to.
    from podnuma.agent.cri import sockets  # noqa: PLC0415

    socket = settings.cri_socket or sockets.find(settings.run_root.parent)
    if socket is None:
        yield None
        return
    from podnuma.agent.cri.client import Client  # noqa: PLC0415

    async with Client(socket) as client:
        yield client


async def _give(write: CgroupWrite, values: CgroupValues, ways: _Ways) -> CleanupResult:
    try:
        if isinstance(write.cgroup, ContainerCgroup) and ways.runtime is not None:
            await _by_runtime(write, write.cgroup, ways)
        folder = _folder(write.cgroup, ways.reader)
        if ways.units is not None:
            await ways.units.write(write, folder.name)
            if write.cpus is not None:
                await ways.units.set(
                    folder.name, [("AllowedCPUs", "ay", b""), ("AllowedMemoryNodes", "ay", b"")]
                )
        else:
            ways.files.write(write, folder)
        if values.cpus is not None or values.mems is not None:
            _empty(folder, ways)
    except CgroupGone:
        return CleanupResult(write.cgroup)
    except WriteRefused as refused:
        return CleanupResult(write.cgroup, str(refused))
    return CleanupResult(write.cgroup)


async def _by_runtime(write: CgroupWrite, cgroup: ContainerCgroup, ways: _Ways) -> None:
    """Let the runtime keep all CPUs for this container, or its next update would pin it again."""
    from podnuma.agent.runtimes.mechanisms import cri_update  # noqa: PLC0415

    if ways.runtime is not None:
        await cri_update(ways.runtime, cgroup, write)


def _folder(cgroup: CgroupRef, reader: Reader) -> PurePosixPath:
    if not isinstance(cgroup, ContainerCgroup):
        return reader.layout.folder(cgroup)
    folder = reader.folder(cgroup)
    if folder is None:
        raise CgroupGone(describe(cgroup))
    return PurePosixPath(folder.relative_to(reader.root))


def _empty(folder: PurePosixPath, ways: _Ways) -> None:
    try:
        ways.files.clear(folder)
    except WriteRefused as refused:
        logger.debug("%s keeps all CPUs written: %s", folder, refused.why)


def _settle_simulated(root: Path) -> None:
    machine = values_in(root)
    if machine is not None and machine.effective_cpus and machine.effective_mems:
        cpus, mems = cpuset.render(machine.effective_cpus), nodeset.render(machine.effective_mems)
        FakeKernel(root, cpus, mems).settle(PurePosixPath())


def _quota_is_off(kubelet_root: Path) -> bool:
    """Tell whether this kubelet gives no quotas, by its configuration file."""
    try:
        with (kubelet_root / "config.yaml").open("rb") as file:
            config = yaml.safe_load(file.read(_LONGEST_CONFIG))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(config, dict) and config.get("cpuCFSQuota") is False
