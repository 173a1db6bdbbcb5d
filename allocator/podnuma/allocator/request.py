"""A pod as the allocator sees it: what each container asks for, and the pod's own budget.

Container order is spec order, all init containers first, then all app containers. "First
container" means the first of that list. Ephemeral containers are never in it: they hold
nothing. A standard init container runs alone and ends before the next one starts; a sidecar
(an init container that restarts) runs as long as the pod.

Amounts arrive as the API server stores them, defaults filled in: request
from limit, pod-level requests and huge pages. Devices are named by who asks: what was given to the
containers already (`DeviceRequest.chosen`), or what they may still get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.quantities import Quantity

CPU = "cpu"
MEMORY = "memory"
HUGEPAGES = "hugepages-"

Amounts = Mapping[str, Quantity]
NO_AMOUNTS: Amounts = MappingProxyType({})


class ContainerKind(Enum):
    """How long a container runs and what it leaves behind."""

    INIT = "init"
    SIDECAR = "sidecar"
    APP = "app"


class Qos(Enum):
    """Quality-of-service class, spelled as in pod status."""

    __hash__ = object.__hash__  # an Enum's own is Python, and these are in the keys of every pass

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


def is_memory(resource: str) -> bool:
    """Say whether the memory manager cares about a resource name: memory or huge pages."""
    return resource == MEMORY or resource.startswith(HUGEPAGES)


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its name, unique within its resource, and the NUMA nodes it is attached to, if any."""

    name: str
    nodes: NodeSet


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A request for `count` devices of one resource, out of the `available` ones.

    `every` are all devices of the resource that the machine has; they say how few NUMA nodes would do.
    `fixed`: the devices are chosen, so CPUs and memory follow them.
    """

    resource: str
    count: int
    available: tuple[Device, ...]
    every: tuple[Device, ...]
    fixed: bool = False

    @classmethod
    def chosen(
        cls, resource: str, devices: tuple[Device, ...], every: tuple[Device, ...] = ()
    ) -> "DeviceRequest":
        """Return the wish to be near devices that were chosen already."""
        return cls(resource, len(devices), devices, every or devices, fixed=True)


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """One init or app container; amounts by resource name ("cpu", "memory", "hugepages-2Mi", ...)."""

    name: str
    kind: ContainerKind = ContainerKind.APP
    requests: Amounts = field(default_factory=lambda: NO_AMOUNTS)
    limits: Amounts = field(default_factory=lambda: NO_AMOUNTS)
    devices: tuple[DeviceRequest, ...] = ()


@dataclass(frozen=True)
class PodRequest:
    """One pod. `pod_requests`/`pod_limits` are spec.resources; both None when it is absent.

    `qos` is status.qosClass, None while the API server has not set it. `overhead` is
    spec.overhead: it enters the pod cgroup's values and no decision. `pod_level`: spec.resources names cpu,
    memory or huge pages; the value may be zero. `has_devices`: a container wants a device.
    """

    uid: str
    namespace: str
    name: str
    containers: tuple[ContainerRequest, ...]
    pod_requests: Amounts | None = None
    pod_limits: Amounts | None = None
    qos: Qos | None = None
    overhead: Amounts = field(default_factory=lambda: NO_AMOUNTS)
    pod_level: bool = field(init=False, compare=False, repr=False)
    has_devices: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        budget = _is_budget(self.pod_requests) or _is_budget(self.pod_limits)
        object.__setattr__(self, "pod_level", budget)
        devices = any(container.devices for container in self.containers)
        object.__setattr__(self, "has_devices", devices)


def _is_budget(amounts: Amounts | None) -> bool:
    return bool(amounts) and any(name == CPU or is_memory(name) for name in amounts or ())


def aggregate(containers: tuple[ContainerRequest, ...], sizes: Sequence[int]) -> int:
    """Return what the containers need at their peak; `sizes` in container order.

    The larger of "all apps and all sidecars" and, for each init container, "itself and the
    sidecars before it".
    """
    running = apps = peak = 0
    for container, size in zip(containers, sizes, strict=True):
        if container.kind is ContainerKind.APP:
            apps += size
        elif container.kind is ContainerKind.SIDECAR:
            running += size
            peak = max(peak, running)
        else:
            peak = max(peak, running + size)
    return max(peak, apps + running)
