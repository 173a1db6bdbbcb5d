"""The devices of all nodes that no claim has, by driver and NUMA nodes.

    ResourceSlice  spec.{driver,nodeName,pool,devices}: of each pool the highest generation counts
    ResourceClaim  status.allocation.devices.results: who has what; administrative access takes nothing

Slices and claims are seen one after the other, in any order, and no more is kept of a device than its name,
its node and its NUMA nodes. Not free: a device with a taint, since no known request tolerates one, and those
of a pool of which slices are missing, since the scheduler takes none of them.

Of a driver it is not known what is free while one of its pools has devices that are not of a single node,
that are parts of another device, or that several claims share.

Always true: a device is counted once, whatever slices repeat, and never while a claim has it.
"""

from dataclasses import dataclass, field

from podnuma.allocator import NodeSet, nodeset
from podnuma.allocator.placement.device_wishes import FreeDevices
from podnuma.api.device_claims import device_numa_nodes, read_allocated_devices
from podnuma.api.stored_json import Json, as_object, as_objects

_TAINTED = ("NoSchedule", "NoExecute")


@dataclass(slots=True)
class _Pool:
    """What the slices of one pool said so far, at its highest generation."""

    generation: int = -1
    slices: int = 0
    expected: int = 0
    special: str = ""
    devices: dict[str, tuple[str, NodeSet]] = field(default_factory=dict)


class DeviceInventory:
    """What has been seen of slices and claims; ask when all have been seen."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._taken: dict[tuple[str, str], set[str]] = {}  # by driver and pool
        self._free: dict[str, dict[str, dict[NodeSet, int]]] | None = None
        self.allocated: set[tuple[str, str]] = set()
        """The claims that have an allocation, by namespace and name."""

    def see_slice(self, value: Json) -> None:
        """Look at one ResourceSlice. Never raises."""
        spec = as_object(as_object(value).get("spec"))
        described = as_object(spec.get("pool"))
        driver, name = str(spec.get("driver")), str(described.get("name"))
        pool = self._pools.setdefault((driver, name), _Pool())
        generation = described.get("generation")
        if not isinstance(generation, int) or generation < pool.generation:
            return
        if generation > pool.generation:
            pool = self._pools[driver, name] = _Pool(generation)
        count = described.get("resourceSliceCount")
        pool.slices += 1
        pool.expected = count if isinstance(count, int) else 0
        pool.special = pool.special or _special(spec)
        node = str(spec.get("nodeName") or "")
        for device in as_objects(spec.get("devices")):
            _note(pool, driver, node, device)
        self._free = None

    def see_claim(self, value: Json) -> None:
        """Look at one ResourceClaim. Raises ``InvalidObjectError``."""
        devices = read_allocated_devices(value)
        if devices is None:
            return
        metadata = as_object(value.get("metadata"))
        self.allocated.add((str(metadata.get("namespace")), str(metadata.get("name"))))
        for one in devices:
            self._taken.setdefault((one.driver, one.pool), set()).add(one.device)
        self._free = None

    def unknown(self, driver: str) -> str:
        """Return why it is not known what is free of a driver; empty if it is."""
        for (of, name), pool in self._pools.items():
            if of == driver and pool.special:
                return f"pool {name} of {driver} {pool.special}"
        return ""

    def free(self, node: str) -> FreeDevices:
        """Return what is free on a node."""
        if self._free is None:
            self._free = self._count()
        return self._free.get(node, {})

    def _count(self) -> dict[str, dict[str, dict[NodeSet, int]]]:
        found: dict[str, dict[str, dict[NodeSet, int]]] = {}
        for (driver, name), pool in self._pools.items():
            if pool.slices < pool.expected:
                continue
            taken = self._taken.get((driver, name), set())
            for device, (node, nodes) in pool.devices.items():
                if device not in taken:
                    counts = found.setdefault(node, {}).setdefault(driver, {})
                    counts[nodes] = counts.get(nodes, 0) + 1
        return found


def _special(spec: Json) -> str:
    if not spec.get("nodeName"):
        return "has devices that are not of one node"
    if spec.get("sharedCounters"):
        return "has devices that are parts of others"
    for device in as_objects(spec.get("devices")):
        content = as_object(device.get("basic") or device)
        if content.get("consumesCounters"):
            return "has devices that are parts of others"
        if content.get("allowMultipleAllocations"):
            return "has devices that several claims share"
    return ""


def _note(pool: _Pool, driver: str, node: str, device: Json) -> None:
    content = as_object(device.get("basic") or device)
    if any(taint.get("effect") in _TAINTED for taint in as_objects(content.get("taints"))):
        return
    nodes, _ = device_numa_nodes(device, driver)
    known = pool.devices.setdefault(str(device.get("name")), (node, nodes))
    if known[1] != nodes:
        pool.devices[str(device.get("name"))] = (known[0], nodeset.EMPTY)
