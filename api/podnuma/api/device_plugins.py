"""Devices of device plugins: which containers ask for them, and which ones the kubelet gave them.

    Pod             containers[].resources.limits["nvidia.com/gpu"], an extended resource
    PodAllocation   status.devices[], which the agent reports; condition DevicesKnown says whether it could

The kubelet chooses among the devices of a plugin when it admits a pod, so nobody knows them earlier. An
extended resource that dynamic resource allocation serves is none of these: its devices are those of a claim
(``device_claims``). Nor does every other one have devices; then the kubelet names none, and there is no wish.

Where a device is counts, not how many are there: what is reported of a container has each of its NUMA node
sets at least once (``bounded``), however many devices there are.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podnuma.allocator import GrantedDevice
from podnuma.api.conditions import Condition, Status
from podnuma.api.decoding import Fields, text
from podnuma.api.grant import read_device, render_device
from podnuma.api.quantity import read_quantity
from podnuma.api.stored_json import Json, as_object, as_objects

MAX_REPORTED: Final = 512
"""Devices of a pod that its status lists."""

MAX_EXTENDED: Final = 512

DEVICES_KNOWN: Final = "DevicesKnown"
"""Condition: the kubelet has said which devices of device plugins the containers of the pod have."""

_NATIVE: Final = re.compile(r"(^|[.])kubernetes[.]io/")
_QUOTA_PREFIX: Final = "requests."


@dataclass(frozen=True, slots=True)
class ExtendedResource:
    """A container asks for so many of an extended resource."""

    container: str
    resource: str
    count: int


def read_extended_resources(pod: Json) -> tuple[ExtendedResource, ...]:
    """Read what the containers of a stored pod ask device plugins for.

    Never raises: the API server has checked it, and what it would not have stored is left out.
    """
    spec, status = as_object(pod.get("spec")), as_object(pod.get("status"))
    claimed = {
        (one.get("containerName"), one.get("resourceName"))
        for one in as_objects(as_object(status.get("extendedResourceClaimStatus")).get("requestMappings"))
    }
    found = []
    for part in ("initContainers", "containers"):
        for container in as_objects(spec.get(part)):
            name = str(container.get("name"))
            limits = as_object(as_object(container.get("resources")).get("limits"))
            for resource, amount in limits.items():
                if is_extended(resource) and (name, resource) not in claimed:
                    count = _count(amount)
                    if count > 0:
                        found.append(ExtendedResource(name, resource, count))
    return tuple(found[:MAX_EXTENDED])


def is_extended(resource: str) -> bool:
    """Tell whether a resource can be a device plugin's: it is of a domain, and not Kubernetes' own."""
    return "/" in resource and not _NATIVE.search(resource) and not resource.startswith(_QUOTA_PREFIX)


@dataclass(frozen=True, slots=True)
class ReportedDevice:
    """A device that the kubelet gave to a container."""

    container: str
    device: GrantedDevice


def bounded(devices: Iterable[ReportedDevice]) -> tuple[ReportedDevice, ...]:
    """Return as many devices as a status can list: first one for each place, then the others."""
    places: dict[tuple[str, str, int], ReportedDevice] = {}
    others = []
    for one in devices:
        place = (one.container, one.device.resource, int(one.device.nodes))
        if place in places:
            others.append(one)
        else:
            places[place] = one
    return (*places.values(), *others)[:MAX_REPORTED]


def devices_known(conditions: Iterable[Condition]) -> Condition | None:
    """Return what the agent said about the devices; None if it has not said anything yet."""
    said = next((one for one in conditions if one.type == DEVICES_KNOWN), None)
    return None if said is None or said.status is Status.UNKNOWN else said


def read_reported_device(item: Fields) -> ReportedDevice:
    """Read an entry of ``status.devices``."""
    return ReportedDevice(item.required("container", text(63, shortest=1), ""), read_device(item))


def render_reported_device(reported: ReportedDevice) -> dict[str, str]:
    """Render an entry of ``status.devices``."""
    return {"container": reported.container, **render_device(reported.device)}


def _count(amount: object) -> int:
    try:
        return read_quantity(amount).units
    except ValueError:
        return 0
