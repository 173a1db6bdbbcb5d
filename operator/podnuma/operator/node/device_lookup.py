"""Look up the devices of a pod that is to be decided; report what is missing, and look again later.

Claims are read again with growing pauses, because they are not watched. What the agent reports about device
plugins arrives through the watch on PodAllocations, which queues the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.operator.node.devices import NO_DEVICES, LocatedDevices, locate, plugin_devices
from podnuma.plumbing.backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.allocations import AllocationSync
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.lister import Reader

_CLAIMS = Backoff(first=1.0, limit=60.0)  # between looks at a claim that has no allocation
_UNKNOWN = "DevicesUnknown"


class DeviceLookup:
    """What is known of the devices of the pods of all nodes; keeps nothing itself."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        allocations: AllocationSync,
        *,
        enqueue: Callable[[str, float], None],
        rng: random.Random,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._allocations = allocations
        self._enqueue = enqueue
        self._rng = rng

    async def of_claims(self, node: NodeState, pod: CachedPod) -> LocatedDevices:
        """Return the devices of a pod's claims; warn and come back if they are not known yet."""
        if not pod.claims or node.allocator is None:
            return NO_DEVICES
        state = node.pods[pod.uid]
        if state.devices is not None:
            return state.devices
        located = await locate(self._reader, pod, node.allocator.topology)
        if located.waits_for:
            state.device_lookups += 1
            self._enqueue(node.name, _CLAIMS.delay(state.device_lookups, self._rng))
            self._allocations.warn_once(node, pod, _UNKNOWN, f"Waits for {located.waits_for}")
            return located
        state.devices, state.device_lookups = located, 0
        return located

    def of_plugins(self, node: NodeState, pod: CachedPod) -> LocatedDevices:
        """Return a pod's devices of device plugins; none where the policy does not look at devices."""
        settings = node.settings
        if not pod.extended or settings is None or node.allocator is None or not node.allocator.rules.aligned:
            return NO_DEVICES
        allocation = self._cache.allocation(pod.key, pod.uid)
        unknown = settings.pod_policy.on_devices_unknown
        return plugin_devices(pod, allocation, node.allocator.topology, unknown)

    def warn(self, node: NodeState, pod: CachedPod, devices: LocatedDevices) -> None:
        """Say what is wrong with devices, once."""
        if devices.problems:
            how = "Waits" if devices.waits_for else "Decided without some devices"
            self._allocations.warn_once(node, pod, _UNKNOWN, f"{how}: {'; '.join(devices.problems)}")
