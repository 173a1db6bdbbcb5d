"""What a ResourceClaim asks for before it is allocated, as far as that can be told without running CEL.

    ResourceClaim  spec.devices.requests[].exactly.{deviceClassName,allocationMode,count,selectors}
    DeviceClass    spec.selectors; spec.extendedResourceName, which pods request like that of a device plugin

Known is a request for an exact number of devices of one class, where class and request together select by
driver alone: each selector is `device.driver == "name"`, there is at least one, and all name the same driver.
Anything else is not known, with the reason in words: other expressions, all devices of a node, alternatives,
constraints between devices, shares of a device, administrative access, tolerations.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podnuma.allocator.placement.device_wishes import AskedDevices
from podnuma.api.decoding import cut
from podnuma.api.device_claims import ClaimReference
from podnuma.api.object_metadata import subject
from podnuma.api.resource_types import DEVICE_CLASS, RESOURCE_CLAIM
from podnuma.api.stored_json import Json, as_object

CLASS_RESOURCE: Final = "deviceclass.resource.kubernetes.io/"
"""What the extended resource begins with that each class has, followed by its name."""

_BY_DRIVER: Final = re.compile(
    r"""\s*device\.driver\s*==\s*(?P<quote>["'])(?P<driver>[^"'\\]+)(?P=quote)\s*"""
)
_MAX_REQUESTS: Final = 32
_NOT_KNOWN: Final = ("adminAccess", "capacity", "tolerations")
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Why it cannot be told what is asked for, for people."""

    why: str


@dataclass(frozen=True, slots=True)
class SelectedDrivers:
    """The drivers that selectors ask for: devices of all of them at once, so more than one is never met."""

    drivers: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClassRequest:
    """One request of a claim: so many devices of a class, and the drivers that its own selectors name."""

    name: str
    device_class: str
    count: int
    drivers: frozenset[str]


@dataclass(frozen=True, slots=True)
class AskingClaim:
    """What a claim without allocation asks for."""

    name: str
    requests: tuple[ClassRequest, ...]


def read_asking_claim(claim: Json) -> AskingClaim | NotKnown:
    """Read what a stored claim asks for. Never raises: the API server has checked it."""
    name = subject(RESOURCE_CLAIM.kind, claim)
    if "allocation" in as_object(claim.get("status")):
        return NotKnown(f"{name} is allocated already")
    devices = as_object(as_object(claim.get("spec")).get("devices"))
    listed = devices.get("requests")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_REQUESTS:
        return NotKnown(f"{name}: spec.devices.requests names none")
    if devices.get("constraints"):
        return NotKnown(f"{name}: spec.devices.constraints are the scheduler's to judge")
    requests = [_read_request(as_object(one)) for one in listed]
    for one in requests:
        if isinstance(one, NotKnown):
            return NotKnown(f"{name}: {one.why}")
    return AskingClaim(name, tuple(one for one in requests if isinstance(one, ClassRequest)))


def read_device_class(device_class: Json) -> SelectedDrivers | NotKnown:
    """Read by which drivers a class selects. Never raises."""
    found = _drivers(as_object(device_class.get("spec")).get("selectors"))
    if isinstance(found, NotKnown):
        return NotKnown(f"{subject(DEVICE_CLASS.kind, device_class)}: {found.why}")
    return found


def serving_classes(device_classes: Iterable[Json]) -> dict[str, str]:
    """Return which class serves an extended resource: of several the newest, then the first by name.

    Never raises.
    """
    named = [(as_object(one.get("metadata")), as_object(one.get("spec"))) for one in device_classes]
    by_name = sorted(named, key=lambda one: str(one[0].get("name")), reverse=True)
    found: dict[str, str] = {}
    for metadata, spec in sorted(by_name, key=lambda one: str(one[0].get("creationTimestamp") or "")):
        name, resource = metadata.get("name"), spec.get("extendedResourceName")
        if isinstance(name, str) and name:
            found[f"{CLASS_RESOURCE}{name}"] = name
            if isinstance(resource, str) and resource:
                found[resource] = name
    return found


def asked_devices(
    references: Iterable[ClaimReference],
    claims: Mapping[str, AskingClaim],
    classes: Mapping[str, SelectedDrivers],
) -> tuple[AskedDevices, ...] | NotKnown:
    """Return what a pod asks for: each request of each claim once, whoever uses it."""
    users = tuple(references)
    asked: list[AskedDevices] = []
    for claim, asking in claims.items():
        for request in asking.requests:
            drivers = request.drivers | classes[request.device_class].drivers
            if len(drivers) != 1:
                which = ", ".join(sorted(drivers)) or "any"
                return NotKnown(f"{asking.name}: request {request.name} is for devices of {which} driver")
            containers = frozenset(
                one.container for one in users if one.claim == claim and one.covers(request.name)
            )
            (driver,) = drivers
            asked.append(AskedDevices(driver, request.count, containers))
    return tuple(asked)


def _read_request(request: Json) -> ClassRequest | NotKnown:
    name = cut(str(request.get("name")))
    if "exactly" not in request:
        return NotKnown(f"request {name} has alternatives (firstAvailable)")
    exactly = as_object(request.get("exactly"))
    mode = exactly.get("allocationMode", "ExactCount")
    if mode != "ExactCount":
        return NotKnown(f"request {name} has allocationMode {cut(str(mode))}")
    for field in _NOT_KNOWN:
        if exactly.get(field):
            return NotKnown(f"request {name} has {field}")
    count = exactly.get("count", 1)
    if type(count) is not int or count < 1:
        return NotKnown(f"request {name} has no count")
    found = _drivers(exactly.get("selectors"))
    if isinstance(found, NotKnown):
        return replace(found, why=f"request {name}: {found.why}")
    return ClassRequest(name, str(exactly.get("deviceClassName")), count, found.drivers)


def _drivers(selectors: object) -> SelectedDrivers | NotKnown:
    drivers: set[str] = set()
    for one in selectors if isinstance(selectors, Sequence) and not isinstance(selectors, str) else ():
        expression = as_object(as_object(one).get("cel")).get("expression")
        found = _BY_DRIVER.fullmatch(expression) if isinstance(expression, str) else None
        if found is None:
            return NotKnown(f"selector {cut(str(expression), _LONGEST)} is the scheduler's to judge")
        drivers.add(found["driver"])
    return SelectedDrivers(frozenset(drivers))
