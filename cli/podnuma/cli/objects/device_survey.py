"""Pods with devices, where the devices are, and whether the CPUs of the pod are bound to be near.

    local      every device has CPUs of the pod's own at its NUMA node
    partly     some have
    apart      none has
    unbound    podnuma holds no CPUs for the pod: where it runs is for the kernel, or the kubelet, to say
    unknown    of no device is a NUMA node known

Devices of ResourceClaims are known with their NUMA nodes where their driver publishes them. Of devices of
device plugins the API has only the number, but for pods that podnuma decided: their PodAllocations have what
the kubelet told. Other pods of theirs are listed as unknown. Nothing need be installed in
the cluster; what may not be read is left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from podnuma.allocator import CpuSet, NodeSet, Topology, cpuset
from podnuma.allocator.device_hints import near_cpus
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_claims import (
    AllocatedDevice,
    DeviceSearch,
    read_allocated_devices,
    read_claim_references,
)
from podnuma.api.device_plugins import ReportedDevice, read_extended_resources
from podnuma.api.node_topology import read_node_topology
from podnuma.api.pod import read_pod_facts
from podnuma.api.pod_allocation import PodAllocation, read_pod_allocation

Json = Mapping[str, Any]


class PodLocality(StrEnum):
    """How near the CPUs of a pod are to its devices; the order is that of a report."""

    APART = "apart"
    PARTLY = "partly"
    UNBOUND = "unbound"
    UNKNOWN = "unknown"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device of a pod, or several of a device plugin; `nodes` empty: not known."""

    container: str
    resource: str
    name: str
    nodes: NodeSet


@dataclass(frozen=True, slots=True)
class PodDevices:
    """One pod with devices. `cpus` are those that podnuma holds for it."""

    namespace: str
    pod: str
    node: str
    devices: tuple[FoundDevice, ...]
    cpus: CpuSet
    locality: PodLocality


@dataclass(frozen=True, slots=True)
class DeviceSurvey:
    """All pods with devices, those whose CPUs can be far from them first; `problems` in sentences."""

    looked_at: int
    pods: tuple[PodDevices, ...]
    problems: tuple[str, ...]

    @property
    def by_locality(self) -> Mapping[PodLocality, int]:
        """How many pods there are of each kind."""
        counted = Counter(pod.locality for pod in self.pods)
        return {locality: counted[locality] for locality in PodLocality}


@dataclass(frozen=True, slots=True)
class SurveyedCluster:
    """What a survey reads; empty lists for what is not there or may not be read."""

    pods: Sequence[Json]
    claims: Sequence[Json] = ()
    slices: Sequence[Json] = ()
    allocations: Sequence[Json] = ()
    topologies: Sequence[Json] = ()


def survey_devices(cluster: SurveyedCluster) -> DeviceSurvey:
    """Find the pods with devices that run or are about to, and say how near their CPUs are."""
    problems: list[str] = []
    allocated = dict(_allocated(cluster.claims, problems))
    search = DeviceSearch(frozenset(device for devices in allocated.values() for device in devices))
    for one in cluster.slices:
        search.see(one)
    if cluster.slices:
        problems += search.problems()
    machines = dict(_machines(cluster.topologies))
    stored = dict(_readable(cluster.allocations))
    found: list[PodDevices] = []
    for value in cluster.pods:
        try:
            facts = read_pod_facts(value)
        except InvalidObjectError as error:
            problems.append(str(error))
            continue
        if facts.finished or not facts.bound:
            continue
        allocation = stored.get(facts.uid)
        told = allocation.status.devices if allocation is not None else ()
        devices = (*_claimed(value, facts.metadata.namespace, allocated, search), *_plugged(value, told))
        if devices:
            cpus = allocation.grant.exclusive_cpus if allocation is not None else cpuset.EMPTY
            locality = _locality(devices, cpus, machines.get(facts.node_name))
            found.append(
                PodDevices(
                    facts.metadata.namespace, facts.metadata.name, facts.node_name, devices, cpus, locality
                )
            )
    order = list(PodLocality)
    found.sort(key=lambda pod: (order.index(pod.locality), pod.namespace, pod.pod))
    return DeviceSurvey(len(cluster.pods), tuple(found), tuple(problems))


def _locality(devices: Sequence[FoundDevice], cpus: CpuSet, machine: Topology | None) -> PodLocality:
    known = [device.nodes for device in devices if device.nodes]
    if not known:
        return PodLocality.UNKNOWN
    if not cpus or machine is None:
        return PodLocality.UNBOUND
    local = sum(1 for nodes in known if near_cpus(machine, nodes) & machine.nodes_of(cpus))
    if local == len(known):
        return PodLocality.LOCAL
    return PodLocality.PARTLY if local else PodLocality.APART


def _allocated(
    claims: Sequence[Json], problems: list[str]
) -> Iterator[tuple[tuple[str, str], tuple[AllocatedDevice, ...]]]:
    for claim in claims:
        metadata = claim.get("metadata") or {}
        try:
            devices = read_allocated_devices(claim)
        except InvalidObjectError as error:
            problems.append(str(error))
            continue
        if devices:
            yield (str(metadata.get("namespace", "default")), str(metadata.get("name"))), devices


def _claimed(
    pod: Json,
    namespace: str,
    allocated: Mapping[tuple[str, str], tuple[AllocatedDevice, ...]],
    search: DeviceSearch,
) -> Iterator[FoundDevice]:
    for reference in read_claim_references(pod):
        for device in allocated.get((namespace, reference.claim), ()):
            if reference.covers(device.request):
                nodes = search.device(device).nodes
                yield FoundDevice(reference.container, device.driver, device.name, nodes)


def _plugged(pod: Json, told: Sequence[ReportedDevice]) -> Iterator[FoundDevice]:
    """Yield what containers have of device plugins: the devices told, else their number for a name."""
    known = {(one.container, one.device.resource) for one in told}
    for one in told:
        yield FoundDevice(one.container, one.device.resource, one.device.name, one.device.nodes)
    for asked in read_extended_resources(pod):
        if (asked.container, asked.resource) not in known:
            yield FoundDevice(asked.container, asked.resource, str(asked.count), NodeSet(0))


def _machines(topologies: Sequence[Json]) -> Iterator[tuple[str, Topology]]:
    for value in topologies:
        try:
            node = read_node_topology(value)
        except InvalidObjectError:
            continue
        if node.hardware is not None:
            yield node.name, node.hardware.topology


def _readable(allocations: Sequence[Json]) -> Iterator[tuple[str, PodAllocation]]:
    for value in allocations:
        try:
            allocation = read_pod_allocation(value)
        except InvalidObjectError:
            continue
        yield allocation.pod_uid, allocation
