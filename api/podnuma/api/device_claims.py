"""Devices of dynamic resource allocation: who uses which claim, what a claim got, and where that is.

    Pod            containers[].resources.claims[].{name,request}, and status for the claims' names
    ResourceClaim  status.allocation.devices.results[].{request,driver,pool,device}
    ResourceSlice  spec.devices[].attributes["resource.kubernetes.io/numaNode"], of the same driver and pool

The scheduler allocates a claim before it binds the pod, and an allocation in use does not change. So
nothing here has to be watched: a claim is read when its pod is decided, and the slices of that one node
are looked through page by page (``DeviceSearch``), which keeps only the devices that were asked for.

Of the slices of a pool only those of the highest generation count. Whatever is missing, contradictory or
of the wrong type is a problem in words, never an exception: the device then has no NUMA node.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.allocator import NodeSet, nodeset
from podnuma.allocator.request import Device
from podnuma.api.decoding import FieldErrors, Fields, cut, shown, text
from podnuma.api.object_metadata import subject
from podnuma.api.resource_types import RESOURCE_CLAIM
from podnuma.api.stored_json import Json, as_object, as_objects

NUMA_NODE: Final = "resource.kubernetes.io/numaNode"
"""The standard attribute: an integer, or a list whose first entry is where the device really is."""

_OWN_ATTRIBUTE: Final = "numaNode"
"""What most drivers call it in their own domain that do not know the standard attribute yet."""

_OLDER_ATTRIBUTES: Final = ("dra.net/numaNode", "dra.cpu/numaNodeID")
"""What others of them call it."""

MAX_RESULTS: Final = 512
MAX_REFERENCES: Final = 512
MAX_PROBLEMS: Final = 20
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class ClaimReference:
    """A container uses a claim, or one request of it (``request`` empty: all).

    ``claim`` is the name of the ResourceClaim in the pod's namespace, empty while it has none yet.
    """

    container: str
    claim: str
    request: str = ""

    def covers(self, request: str) -> bool:
        """Tell whether a result for this request is the container's; "gpu/a" is a choice within "gpu"."""
        return not self.request or request == self.request or request.startswith(f"{self.request}/")


def read_claim_references(pod: Json) -> tuple[ClaimReference, ...]:
    """Read which claims the containers of a stored pod use. Never raises: the API server has checked it."""
    spec, status = as_object(pod.get("spec")), as_object(pod.get("status"))
    extended = as_object(status.get("extendedResourceClaimStatus"))
    if "resourceClaims" not in spec and not extended:
        return ()
    names = {str(one.get("name")): _claim_name(one, status) for one in as_objects(spec.get("resourceClaims"))}
    found = []
    for part in ("initContainers", "containers"):
        for container in as_objects(spec.get(part)):
            for use in as_objects(as_object(container.get("resources")).get("claims")):
                claim = names.get(str(use.get("name")), "")
                if claim is not None:
                    request = str(use.get("request") or "")
                    found.append(ClaimReference(str(container.get("name")), claim, request))
    claim = str(extended.get("resourceClaimName") or "")
    found += [
        ClaimReference(str(one.get("containerName")), claim, str(one.get("requestName") or ""))
        for one in as_objects(extended.get("requestMappings"))
    ]
    return tuple(found[:MAX_REFERENCES])


def claims_in_use(pod: Json) -> tuple[str, ...]:
    """Return the claims and templates of claims that containers use, by kind and name. Never raises."""
    spec = as_object(pod.get("spec"))
    used = {
        str(use.get("name"))
        for part in ("initContainers", "containers")
        for container in as_objects(spec.get(part))
        for use in as_objects(as_object(container.get("resources")).get("claims"))
    }
    kinds = {
        "resourceClaimName": RESOURCE_CLAIM.kind,
        "resourceClaimTemplateName": f"{RESOURCE_CLAIM.kind}Template",
    }
    return tuple(
        f"{kind} {one[field_name]}"
        for one in as_objects(spec.get("resourceClaims"))
        for field_name, kind in kinds.items()
        if str(one.get("name")) in used and one.get(field_name)
    )


def _claim_name(claim: Json, status: Json) -> str | None:
    """Return the name of the object; None if the pod needs none after all, empty if it is not made yet."""
    direct = claim.get("resourceClaimName")
    if direct:
        return str(direct)
    for one in as_objects(status.get("resourceClaimStatuses")):
        if one.get("name") == claim.get("name"):
            made = one.get("resourceClaimName")
            return str(made) if made else None
    return ""


@dataclass(frozen=True, slots=True)
class AllocatedDevice:
    """One device that a claim got."""

    request: str
    driver: str
    pool: str
    device: str

    @property
    def name(self) -> str:
        """The name within its driver."""
        return f"{self.pool}/{self.device}"

    def __str__(self) -> str:
        return f"{self.driver} {self.name}"


def read_allocated_devices(claim: Any) -> tuple[AllocatedDevice, ...] | None:
    """Read what a claim got; None without an allocation. Raises ``InvalidObjectError``.

    Devices that a claim only looks at (admin access) are left out.
    """
    errors = FieldErrors()
    status = Fields.of(claim, "", errors).fields("status")
    if not status.has("allocation"):
        return None
    results = status.fields("allocation").fields("devices").items("results", MAX_RESULTS)
    name = text(_LONGEST_NAME, shortest=1)
    found = [
        AllocatedDevice(
            item.optional("request", text(_LONGEST_NAME), ""),
            item.required("driver", name, ""),
            item.required("pool", name, ""),
            item.required("device", name, ""),
        )
        for item in results
        if item.raw("adminAccess") is not True
    ]
    errors.check(subject(RESOURCE_CLAIM.kind, claim))
    return tuple(found)


@dataclass(slots=True)
class _Pool:
    """What the slices of one pool said so far, at its highest generation."""

    generation: int = -1
    slices: int = 0
    expected: int = 0
    nodes: dict[str, NodeSet] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


class DeviceSearch:
    """Look for the NUMA nodes of some devices in ResourceSlices, seen one after the other in any order."""

    def __init__(self, wanted: frozenset[AllocatedDevice]) -> None:
        self._wanted = wanted
        self._pools: dict[tuple[str, str], _Pool] = {
            (device.driver, device.pool): _Pool() for device in wanted
        }
        self._names = {(device.driver, device.pool, device.device) for device in wanted}

    def see(self, value: Any) -> None:
        """Look at one ResourceSlice."""
        spec = as_object(as_object(value).get("spec"))
        described = as_object(spec.get("pool"))
        driver, pool = str(spec.get("driver")), str(described.get("name"))
        known = self._pools.get((driver, pool))
        generation = described.get("generation")
        if known is None or not isinstance(generation, int) or generation < known.generation:
            return
        if generation > known.generation:
            known = self._pools[driver, pool] = _Pool(generation)
        known.slices += 1
        count = described.get("resourceSliceCount")
        known.expected = count if isinstance(count, int) else 0
        for one in as_objects(spec.get("devices")):
            name = str(one.get("name"))
            if (driver, pool, name) in self._names:
                _note(known, driver, name, one)

    def device(self, wanted: AllocatedDevice) -> Device:
        """Return a device with its NUMA nodes, without any if they are not known."""
        pool = self._pools[wanted.driver, wanted.pool]
        known = nodeset.EMPTY if wanted.device in pool.problems else pool.nodes.get(wanted.device)
        return Device(wanted.name, known or nodeset.EMPTY)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, for people; a device that says nothing about its NUMA node is not."""
        for wanted in sorted(self._wanted, key=str)[:MAX_PROBLEMS]:
            pool = self._pools[wanted.driver, wanted.pool]
            if wanted.device in pool.problems:
                yield cut(f"device {wanted}: {pool.problems[wanted.device]}", 400)
            elif wanted.device not in pool.nodes:
                seen = (
                    f"{pool.slices} of {pool.expected}" if pool.slices < pool.expected else str(pool.slices)
                )
                yield cut(
                    f"device {wanted} is in no ResourceSlice of the node ({seen} of its pool seen)", 400
                )


def _note(pool: _Pool, driver: str, name: str, device: Json) -> None:
    nodes, problem = device_numa_nodes(device, driver)
    if problem:
        pool.problems[name] = problem
    elif pool.nodes.setdefault(name, nodes) != nodes:
        both = f"{nodeset.render(pool.nodes[name]) or 'none'} and {nodeset.render(nodes) or 'none'}"
        pool.problems[name] = f"two ResourceSlices of generation {pool.generation} disagree, NUMA node {both}"


def device_numa_nodes(device: Json, driver: str) -> tuple[NodeSet, str]:
    """Return the NUMA nodes that a device of a ResourceSlice names, or what is wrong with its attributes."""
    attributes = as_object(as_object(device.get("basic") or device).get("attributes"))
    for attribute in (NUMA_NODE, f"{driver}/{_OWN_ATTRIBUTE}", *_OLDER_ATTRIBUTES):
        domain, _, short = attribute.partition("/")
        value = attributes.get(attribute)
        if value is None and domain == driver:
            value = attributes.get(short)  # in its own domain a driver may leave the domain out
        if value is None:
            continue
        content = as_object(value)
        listed = content.get("ints")
        number = listed[0] if isinstance(listed, list) and listed else content.get("int")
        if type(number) is not int or number > nodeset.MAX_ID:
            said = ", ".join(f"{cut(str(kind), 20)} {shown(one)}" for kind, one in list(content.items())[:2])
            return (
                nodeset.EMPTY,
                f"attribute {attribute} is {said or shown(value)}; expected the int of a node",
            )
        return (nodeset.of([number]) if number >= 0 else nodeset.EMPTY), ""
    return nodeset.EMPTY, ""
