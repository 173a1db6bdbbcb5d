"""Gives every cgroup of a node back: `podnuma agent cleanup`, and a step of uninstalling.

    slices, pods, containers                  cpuset follows the parent again, parents first
    a container whose quota was taken off     as many CPUs as it had for itself
    a pod whose quota was taken off           as many CPUs as its containers had together

Who ran where the slices of pods do had nothing for itself: its quota is as the kubelet gave it.

Nothing is asked of the API server: the cgroups themselves show what there is to be given back, so a node
that has lost everything else can still be cleaned. An agent that runs on the node would set everything
again: it has a while to end, then the cleanup fails. Where the kubelet pins containers itself, their values
and all quotas are the kubelet's and stay. Whether it gives quotas at all may be said in a file or a flag
elsewhere: a Guaranteed pod that holds nothing and has none tells that it does not.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from podnuma.agent.cgroups.layout import detect
from podnuma.agent.cgroups.lock import CgroupsTakenError, the_only_one
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.model.cgroup_ref import (
    CgroupRef,
    ContainerCgroup,
    PodCgroup,
    QosCgroup,
    depth,
    describe,
)
from podnuma.agent.model.cgroup_values import CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.reconcile.pause import static_kubelet
from podnuma.agent.runtimes.restore import Restorer, real_restorer
from podnuma.agent.runtimes.simulated.backend import simulated_restorer
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Qos

logger = logging.getLogger(__name__)

_LONGEST_CONFIG = 2**20
_PATIENCE = 40.0  # seconds for an agent to end: a pod has 30
_LOOK = 0.5  # seconds between looks whether it has


@dataclass(frozen=True, slots=True)
class CleanupResult:
    """What became of one cgroup; `why` is empty when it was given back."""

    cgroup: CgroupRef
    why: str = ""


def main(settings: AgentSettings) -> None:
    """Give the node back and say what was done. Raises SystemExit(1) if something could not be."""
    try:
        outcomes = asyncio.run(_clean_alone(settings))
    except CgroupsTakenError as taken:
        raise SystemExit(f"{taken}; stop that first, it would set again what is given back") from None
    except OSError as error:
        raise SystemExit(f"the cgroups of this node cannot be read: {error}") from error
    for outcome in outcomes:
        if outcome.why:
            logger.error("%s: %s", describe(outcome.cgroup), outcome.why)
    failed = sum(bool(outcome.why) for outcome in outcomes)
    logger.info("given back: %d of %d cgroups", len(outcomes) - failed, len(outcomes))
    if failed:
        raise SystemExit(1)


async def _clean_alone(settings: AgentSettings) -> tuple[CleanupResult, ...]:
    """Clean once no agent runs on the node. Raises CgroupsTakenError if one goes on."""
    until = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            with the_only_one(settings.cgroup_root):
                return await clean(settings)
        except CgroupsTakenError as taken:
            if time.monotonic() >= until:
                raise
            if not told:
                logger.info("waiting for %g s at most: %s", _PATIENCE, taken)
            told = True
        await asyncio.sleep(_LOOK)


async def clean(settings: AgentSettings) -> tuple[CleanupResult, ...]:
    """Give everything back that differs from what the kubelet makes. Never raises for a single cgroup."""
    layout = detect(settings.cgroup_root)
    if layout is None:
        logger.info("%s has no kubepods: nothing to give back", settings.cgroup_root)
        return ()
    reader = CgroupReader(settings.cgroup_root, layout)
    pods = [pod for qos in Qos for pod in reader.pods(qos)]
    containers = [
        ContainerCgroup(pod, "", container_id) for pod in pods for container_id in reader.containers(pod)
    ]
    static = static_kubelet(settings.kubelet_root)
    if static is not None:
        logger.info("containers and quotas stay as they are: %s", static)
    seen = reader.read(pods, containers if static is None else ())
    everything, machine = reader.everything(), reader.at(settings.cgroup_root)
    if everything is None or machine is None:
        return ()
    quotas = static is None and not (_quota_is_off(settings.kubelet_root) or lacks_quotas(seen))
    writes = give_back(seen, everything, machine.effective_mems, quotas=quotas)
    async with _restorer(settings, reader) as restorer:
        return tuple([await _restore(write, seen[write.cgroup], restorer) for write in writes])


def give_back(
    seen: Mapping[CgroupRef, CgroupValues], everything: CpuSet, nodes: NodeSet | None, *, quotas: bool
) -> list[CgroupWrite]:
    """Return one write per cgroup that was touched, parents first: all CPUs and memory nodes, its old quota.

    Pure. `nodes`: the memory nodes of the machine; `quotas`: whether this kubelet sets quotas at all.
    """
    writes = []
    shared = _shared(seen)
    for cgroup, values in sorted(seen.items(), key=lambda item: (depth(item[0]), repr(item[0]))):
        cpu_max = _original(cgroup, values, seen, shared) if quotas else None
        touched = values.cpus is not None or values.mems is not None
        if touched or cpu_max is not None:
            mems = nodes if values.mems is not None else None
            writes.append(CgroupWrite(cgroup, everything if touched else None, mems, cpu_max))
    return writes


def lacks_quotas(seen: Mapping[CgroupRef, CgroupValues]) -> bool:
    """Tell whether some pod has no quota that would have one from a kubelet which gives them. Pure."""
    shared = _shared(seen)
    filled, holders = set(), set()
    for cgroup, values in seen.items():
        if isinstance(cgroup, QosCgroup):
            continue
        pod = cgroup if isinstance(cgroup, PodCgroup) else cgroup.pod
        if isinstance(cgroup, ContainerCgroup):
            filled.add(pod)
        if (values.cpus or 0) & ~shared:
            holders.add(pod)
    limits = ((pod, seen[pod].cpu_max) for pod in filled - holders if pod in seen)
    return any(
        pod.qos is Qos.GUARANTEED and limit is not None and limit.quota is None for pod, limit in limits
    )


def _shared(seen: Mapping[CgroupRef, CgroupValues]) -> CpuSet:
    """Return the node shared pool: what is left to both slices, of which one may have holders."""
    slices = (seen.get(QosCgroup(qos)) for qos in (Qos.BURSTABLE, Qos.BEST_EFFORT))
    burstable, best_effort = (0 if values is None else values.cpus or 0 for values in slices)
    return CpuSet(burstable & best_effort)


def _original(
    cgroup: CgroupRef, values: CgroupValues, seen: Mapping[CgroupRef, CgroupValues], shared: CpuSet
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
    own &= ~shared
    period = values.cpu_max.period
    return CpuMax(own.bit_count() * period, period) if own else None


def _exclusive(values: CgroupValues) -> bool:
    return values.cpu_max is not None and values.cpu_max.quota is None


@contextlib.asynccontextmanager
async def _restorer(settings: AgentSettings, reader: CgroupReader) -> AsyncIterator[Restorer]:
    if settings.runtime is Runtime.SIMULATED:
        with simulated_restorer(reader) as simulated:
            yield simulated
        return
    async with real_restorer(settings, reader) as real:
        yield real


async def _restore(write: CgroupWrite, values: CgroupValues, restorer: Restorer) -> CleanupResult:
    try:
        await restorer.restore(write, empty=values.cpus is not None or values.mems is not None)
    except CgroupGone:
        return CleanupResult(write.cgroup)
    except WriteRefused as refused:
        return CleanupResult(write.cgroup, str(refused))
    return CleanupResult(write.cgroup)


def _quota_is_off(kubelet_root: Path) -> bool:
    """Tell whether this kubelet gives no quotas, by its configuration file."""
    try:
        with (kubelet_root / "config.yaml").open("rb") as file:
            config = yaml.safe_load(file.read(_LONGEST_CONFIG))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(config, dict) and config.get("cpuCFSQuota") is False
