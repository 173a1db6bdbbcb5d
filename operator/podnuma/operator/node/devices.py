"""Find the devices of a pod that names ResourceClaims, before the pod is decided.

Claims and slices are read when a pod that names claims is to be decided, and never watched: the
scheduler allocates claims before it binds the pod, what a pod uses does not change, and other pods cost
nothing. What was found is remembered with the node until the pod is gone (`NodeState.devices`).

A claim without allocation makes the pod wait: its kubelet does not start it either. Whatever else is
missing or contradictory is a problem in words, and the pod is decided without the device in question.
What the decision should say besides is a note: a device at a NUMA node without CPUs, and which ones are near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podnuma.allocator import nodeset
from podnuma.allocator.device_hints import near_cpus
from podnuma.allocator.request import DeviceRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podnuma.allocator.request import Device, PodRequest
    from podnuma.allocator.topology import Topology
    from podnuma.api.device_claims import AllocatedDevice
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.watch.lister import Reader


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
            return _waits("a ResourceClaim that its template has not made yet")
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
    problems += _missing_nodes(known, machine)
    return LocatedDevices(
        _requests(pod, allocated, known), tuple(problems), tuple(_nodes_without_cpus(known, machine))
    )


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


def _missing_nodes(known: Mapping[AllocatedDevice, Device], machine: Topology) -> list[str]:
    return [
        f"device {wanted} is on NUMA node {nodeset.render(device.nodes)}; "
        f"the machine has {nodeset.render(machine.all_nodes)}"
        for wanted, device in known.items()
        if device.nodes and not device.nodes & machine.all_nodes
    ]


def _nodes_without_cpus(known: Mapping[AllocatedDevice, Device], machine: Topology) -> Iterator[str]:
    for wanted, device in known.items():
        if device.nodes & machine.all_nodes and not device.nodes & machine.cpu_nodes:
            near = nodeset.render(near_cpus(machine, device.nodes))
            where = f"device {wanted} is on NUMA node {nodeset.render(device.nodes)}, which has no CPUs"
            yield f"{where}; nearest by distance: {near}" if near else f"{where}, and no distances are known"


def _waits(claim: str) -> LocatedDevices:
    return LocatedDevices({}, waits_for=claim)
