"""Find the devices of a pod before it is decided: those of its ResourceClaims, and those of device plugins.

Claims and slices are read when a pod that names claims is to be decided, and never watched: the
scheduler allocates claims before it binds the pod, what a pod uses does not change, and other pods cost
nothing. What was found is remembered with the node until the pod is gone (`PodState.devices`).

A claim without allocation makes the pod wait: its kubelet does not start it either. Whatever else is
missing or contradictory is a problem in words, and the pod is decided without the device in question.
What the decision should say besides is a note: a device at a NUMA node without CPUs, and which ones are near.

Devices of device plugins are chosen by the pod's kubelet, and the node's agent reports them in the status of
the PodAllocation, which says until then that the pod is not decided. If the agent cannot read them, the
profile says whether the pod is decided without. A resource none of whose devices has a NUMA node is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podnuma.allocator import nodeset
from podnuma.allocator.device_hints import near_cpus
from podnuma.allocator.request import Device, DeviceRequest
from podnuma.api.conditions import Status
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_plugins import MAX_REPORTED, devices_known
from podnuma.api.node_settings import OnDevicesUnknown
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.topology import Topology
    from podnuma.api.device_claims import AllocatedDevice
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.watch.lister import Reader


_LONGEST_MESSAGE = 2048  # of a decision


@dataclass(frozen=True, slots=True)
class LocatedDevices:
    """The devices of a pod by container, and what is wrong with them; `waits_for`: what is missing yet."""

    requests: Mapping[str, tuple[DeviceRequest, ...]]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    waits_for: str = ""

    @property
    def told(self) -> str:
        """What the decision should say about the devices."""
        return "; ".join((*self.problems, *self.notes))

    @property
    def waiting(self) -> str:
        """What the pod waits for, as its PodAllocation says; empty if for nothing."""
        return f"waits for {self.waits_for}"[:_LONGEST_MESSAGE] if self.waits_for else ""

    def joined(self, other: LocatedDevices) -> LocatedDevices:
        """Return these and other devices of the same pod."""
        if other == NO_DEVICES:
            return self
        requests = dict(self.requests)
        for container, more in other.requests.items():
            requests[container] = requests.get(container, ()) + more
        waits_for = self.waits_for or other.waits_for
        return LocatedDevices(requests, self.problems + other.problems, self.notes + other.notes, waits_for)

    def attached_to(self, request: PodRequest) -> PodRequest:
        """Return the pod's request with the wish to be near its devices."""
        if not self.requests:
            return request
        containers = tuple(
            replace(container, devices=self.requests.get(container.name, ()))
            for container in request.containers
        )
        return replace(request, containers=containers)


NO_DEVICES = LocatedDevices({})


async def locate(reader: Reader, pod: CachedPod, machine: Topology) -> LocatedDevices:
    """Read the claims of a pod and find their devices on a machine.

    Raises one of plumbing.kube.errors if there is no answer.
    """
    try:
        return await _locate(reader, pod, machine)
    except errors.RefusedError as error:
        return LocatedDevices({}, (f"the devices of its claims are not known: {error}",))


async def _locate(reader: Reader, pod: CachedPod, machine: Topology) -> LocatedDevices:
    allocated: dict[str, tuple[AllocatedDevice, ...]] = {}
    problems: list[str] = []
    for claim in dict.fromkeys(reference.claim for reference in pod.claims):
        key = ObjectKey(pod.key.namespace, claim)
        if not claim:
            return _waits("a ResourceClaim that has not been created from its template yet")
        try:
            found = await reader.allocated_devices(key)
        except errors.NotFoundError:
            return _waits(f"ResourceClaim {key}, which does not exist")
        except InvalidObjectError as error:
            problems.append(str(error))
            found = ()
        if found is None:
            return _waits(f"ResourceClaim {key}, which has no allocation")
        allocated[claim] = found
    wanted = frozenset(device for devices in allocated.values() for device in devices)
    if not wanted:
        return LocatedDevices({}, tuple(problems))
    search = await reader.search_devices(pod.node, wanted)
    problems += search.problems()
    known = {device: search.device(device) for device in sorted(wanted, key=str)}
    named = {str(device): place for device, place in known.items()}
    problems += _missing_nodes(named, machine)
    return LocatedDevices(
        _requests(pod, allocated, known), tuple(problems), tuple(_nodes_without_cpus(named, machine))
    )


def plugin_devices(
    pod: CachedPod, allocation: CachedAllocation | None, machine: Topology, unknown: OnDevicesUnknown
) -> LocatedDevices:
    """Return the devices of device plugins, as the agent has told them in the status of the PodAllocation."""
    if not pod.extended:
        return NO_DEVICES
    asked = ", ".join(dict.fromkeys(one.resource for one in pod.extended))
    model = allocation.model if allocation is not None else None
    said = None if model is None else devices_known(model.status.conditions)
    if model is None or said is None:
        return LocatedDevices({}, waits_for=f"the devices of {asked} that the kubelet gives it")
    if said.status is not Status.TRUE:
        problem = f"devices of {asked} are not known: {said.message}"
        if unknown is OnDevicesUnknown.WAIT:
            waits_for = f"devices of {asked}, which are not known: {said.message}"
            return LocatedDevices({}, (problem,), waits_for=waits_for)
        return LocatedDevices({}, (problem,))
    told: dict[str, dict[str, dict[str, Device]]] = {}
    for one in model.status.devices:
        device = Device(one.device.name, one.device.nodes)
        told.setdefault(one.container, {}).setdefault(one.device.resource, {})[device.name] = device
    requests = {
        container: chosen
        for container, resources in told.items()
        if (chosen := tuple(_with_nodes(resources)))
    }
    known = {
        f"{request.resource} {device.name}": device
        for chosen in requests.values()
        for request in chosen
        for device in request.available
    }
    problems = (*_untold(pod, told, len(model.status.devices)), *_missing_nodes(known, machine))
    return LocatedDevices(requests, problems, tuple(_nodes_without_cpus(known, machine)))


def _with_nodes(resources: Mapping[str, Mapping[str, Device]]) -> Iterator[DeviceRequest]:
    for resource, devices in resources.items():
        if any(device.nodes for device in devices.values()):
            yield DeviceRequest.chosen(resource, tuple(devices.values()))


def _untold(
    pod: CachedPod, told: Mapping[str, Mapping[str, Mapping[str, Device]]], listed: int
) -> Iterator[str]:
    """Yield of what only some devices are told; where none are, no plugin serves the resource."""
    for one in pod.extended:
        found = len(told.get(one.container, {}).get(one.resource, {}))
        if 0 < found < one.count and listed < MAX_REPORTED:
            yield f"the kubelet names {found} of {one.count} {one.resource} of container {one.container}"


def _requests(
    pod: CachedPod,
    allocated: Mapping[str, tuple[AllocatedDevice, ...]],
    known: Mapping[AllocatedDevice, Device],
) -> dict[str, tuple[DeviceRequest, ...]]:
    by_container: dict[str, dict[str, dict[str, Device]]] = {}
    for reference in pod.claims:
        for device in allocated[reference.claim]:
            if reference.covers(device.request):
                drivers = by_container.setdefault(reference.container, {})
                drivers.setdefault(device.driver, {})[device.name] = known[device]
    return {
        container: tuple(
            DeviceRequest.chosen(driver, tuple(devices.values())) for driver, devices in drivers.items()
        )
        for container, drivers in by_container.items()
    }


def _missing_nodes(known: Mapping[str, Device], machine: Topology) -> list[str]:
    return [
        f"device {wanted} is on {nodeset.named(device.nodes)}; "
        f"the machine has {nodeset.render(machine.all_nodes)}"
        for wanted, device in known.items()
        if device.nodes and not device.nodes & machine.all_nodes
    ]


def _nodes_without_cpus(known: Mapping[str, Device], machine: Topology) -> Iterator[str]:
    for wanted, device in known.items():
        if device.nodes & machine.all_nodes and not device.nodes & machine.cpu_nodes:
            near = nodeset.render(near_cpus(machine, device.nodes))
            where = f"device {wanted} is on {nodeset.named(device.nodes)}, which has no CPUs"
            yield f"{where}; nearest by distance: {near}" if near else f"{where}, and no distances are known"


def _waits(claim: str) -> LocatedDevices:
    return LocatedDevices({}, waits_for=claim)
