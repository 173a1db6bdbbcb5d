"""Which node is nominated for a pod whose ResourceClaims are not allocated yet.

An extended resource that a DeviceClass serves is such a claim, too: the scheduler makes it with the binding.

    near       a node that has the devices free, and would admit the pod with them on the fewest NUMA nodes
               that have enough; the best of these by the profile's packing
    has them   else the best one by CPUs and memory that has them free
    none       else: the cluster autoscaler adds no node for a pod that has a nominated one
    usual      wherever it is not known what is asked for or free: the best one by CPUs and memory

So no pod waits for devices: what podnuma knows of them may be wrong by the next second, and the scheduler,
which chooses among the devices of a node, lets the pod wait itself. What was not judged is said.

Claims, classes and slices are read while a pass meets pods with claims, never watched, and forgotten with the
pass. What nominated pods will take is remembered until their claims have it, or for a minute: two pods of one
pass are not sent to the same last device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.allocator.placement.device_wishes import (
    AskedDevices,
    count_by_resource,
    device_wishes,
    devices_left,
)
from podnuma.allocator.quantities import NANO
from podnuma.api.asked_devices import NotKnown, asked_devices
from podnuma.api.decoding import InvalidObjectError
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.placement.ungating import UnreservedRelease
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podnuma.allocator.nodeset import NodeSet
    from podnuma.allocator.placement.device_wishes import DeviceWish, FreeDevices
    from podnuma.allocator.placement.fleet import Placement
    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.topology import Topology
    from podnuma.api.asked_devices import AskingClaim, SelectedDrivers
    from podnuma.api.device_inventory import DeviceInventory
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.placement.placing_nodes import PlacingNodes
    from podnuma.operator.watch.lister import Reader

_CLAIMS_WITHIN = 5.0  # seconds in which the controller manager makes the claims of a template
_EXPECTED_FOR = 60.0  # seconds from a nomination until the scheduler has allocated the claims, or will not


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a nominated pod will take, and since when it is expected."""

    pod: ObjectKey
    uid: str
    node: str
    taken: tuple[tuple[str, NodeSet], ...]
    since: float


class DeviceNomination:
    """What is read within one pass, and what earlier nominations will take."""

    def __init__(
        self, cache: ClusterCache, reader: Reader, placing: PlacingNodes, clock: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._placing = placing
        self._clock = clock
        self._classes: dict[str, SelectedDrivers | NotKnown] = {}
        self._inventory: DeviceInventory | None = None
        self._expected: dict[frozenset[ObjectKey], _Expected] = {}

    def forget(self) -> None:
        """Forget what was read; the next pass reads it anew."""
        self._classes.clear()
        self._inventory = None

    async def nominate(
        self,
        pod: CachedPod,
        usual: Placement,
        may_go: Callable[[str], bool],
        *,
        since: float,
        claimed: Mapping[str, str],
    ) -> UnreservedRelease | None:
        """Return how a pod is released: to which node, `usual` if no devices are known; None: ask again soon.

        `since` is when the pod was first seen: the claims of a template are waited for a moment. `claimed`:
        the extended resources that it would get by a claim, with their classes.
        """
        node = usual.candidate.node
        if pod.request is None or not (pod.claims or claimed):
            return _nominated(node)
        try:
            asked = await self._asked(pod, claimed)
            if asked is None:
                late = self._clock() - since >= _CLAIMS_WITHIN
                return _nominated(node, "a ResourceClaim that it names does not exist") if late else None
            if not isinstance(asked, NotKnown):
                return await self._judge(pod, pod.request, asked, node, may_go)
            why = asked.why
        except (errors.KubeError, InvalidObjectError) as error:
            why = str(error)
        return _nominated(node, f"its devices cannot be judged: {why}")

    async def _asked(
        self, pod: CachedPod, claimed: Mapping[str, str]
    ) -> tuple[AskedDevices, ...] | NotKnown | None:
        """Return what a pod's claims ask for; None if one of them is not there yet."""
        claims: dict[str, AskingClaim] = {}
        for name in dict.fromkeys(reference.claim for reference in pod.claims):
            key = ObjectKey(pod.key.namespace, name)
            if not name:
                return None
            if any(key in keys for keys in self._expected_now()):
                return NotKnown(f"ResourceClaim {key} is about to be allocated for another pod")
            try:
                found = await self._reader.asking_claim(key)
            except errors.NotFoundError:
                return None
            if isinstance(found, NotKnown):
                return found
            claims[name] = found
        classes: dict[str, SelectedDrivers] = {}
        of_claims = {one.device_class for claim in claims.values() for one in claim.requests}
        for name in sorted(of_claims | set(claimed.values())):
            driven = self._classes.get(name)
            if driven is None:
                driven = self._classes[name] = await self._reader.device_class(name)
            if isinstance(driven, NotKnown):
                return driven
            classes[name] = driven
        asked = asked_devices(pod.claims, claims, classes)
        if isinstance(asked, NotKnown):
            return asked
        wanted = _of_extended(pod, claimed, classes)
        return wanted if isinstance(wanted, NotKnown) else (*asked, *wanted)

    async def _judge(
        self,
        pod: CachedPod,
        request: PodRequest,
        asked: tuple[AskedDevices, ...],
        usual: str,
        may_go: Callable[[str], bool],
    ) -> UnreservedRelease:
        inventory = await self._free_devices()
        wanted = count_by_resource(asked)
        for driver in wanted:
            if why := inventory.unknown(driver):
                return _nominated(usual, f"its devices cannot be judged: {why}")
        wishes = device_wishes(request, asked, self._nodes(inventory))
        near = self._placing.nearest(wishes, may_go)
        if near is not None:
            placement, wish = near
            self._expect(pod, placement.candidate.node, wish)
            return _nominated(placement.candidate.node)
        said = ", ".join(f"{count} of {driver}" for driver, count in wanted.items())
        owners = {name: wish for wish in wishes for name in wish.nodes}
        having = self._placing.best(request, lambda name: name in owners and may_go(name))
        if having is not None:
            node = having.candidate.node
            self._expect(pod, node, owners[node])
            return _nominated(node, f"no node that has its devices free ({said}) would admit it with them")
        # With a nominated node it would get none from the cluster autoscaler.
        return _nominated("", f"no node that could hold it has its devices free ({said})")

    def _nodes(self, inventory: DeviceInventory) -> dict[str, tuple[Topology, FreeDevices]]:
        promised: dict[str, list[tuple[str, NodeSet]]] = {}
        for one in self._expected.values():
            promised.setdefault(one.node, []).extend(one.taken)
        found: dict[str, tuple[Topology, FreeDevices]] = {}
        for name in self._placing:
            free = inventory.free(name)
            if free:
                if name in promised:
                    free = devices_left(free, promised[name])
                found[name] = (self._placing.allocator(name).topology, free)
        return found

    async def _free_devices(self) -> DeviceInventory:
        if self._inventory is None:
            self._inventory = await self._reader.device_inventory()
            allocated = self._inventory.allocated
            for keys in list(self._expected_now()):
                if any((key.namespace, key.name) in allocated for key in keys):
                    del self._expected[keys]
        return self._inventory

    def _expected_now(self) -> Iterable[frozenset[ObjectKey]]:
        """Return the claims of pods that are expected to take something, without pods that are gone."""
        now = self._clock()
        for keys, one in tuple(self._expected.items()):
            pod = self._cache.pod(one.pod, one.uid)
            # Of a pod that is bound all claims are allocated.
            if pod is None or pod.node or now - one.since > _EXPECTED_FOR:
                del self._expected[keys]
        return self._expected.keys()

    def _expect(self, pod: CachedPod, node: str, wish: DeviceWish) -> None:
        keys = frozenset(ObjectKey(pod.key.namespace, one.claim) for one in pod.claims)
        keys = keys or frozenset(
            {ObjectKey(pod.key.namespace, f"{pod.key.name}/")}
        )  # no claim has such a name
        self._expected[keys] = _Expected(pod.key, pod.uid, node, wish.taken, self._clock())


def _of_extended(
    pod: CachedPod, claimed: Mapping[str, str], classes: Mapping[str, SelectedDrivers]
) -> tuple[AskedDevices, ...] | NotKnown:
    """Return the devices that a pod asks for as extended resources of classes."""
    found: list[AskedDevices] = []
    for resource, name in claimed.items():
        drivers = classes[name].drivers
        if len(drivers) != 1:
            which = ", ".join(sorted(drivers)) or "any"
            return NotKnown(f"{resource} is for devices of {which} driver (DeviceClass {name})")
        (driver,) = drivers
        users = [one for one in pod.extended if one.resource == resource]
        found += [AskedDevices(driver, one.count, frozenset({one.container})) for one in users]
        if not users:  # the name of the class itself: which containers ask is not kept
            every = frozenset(one.name for one in pod.request.containers) if pod.request else frozenset()
            found.append(AskedDevices(driver, pod.needs[resource] // NANO, every))
    return tuple(found)


def _nominated(node: str, unjudged: str = "") -> UnreservedRelease:
    return UnreservedRelease("its devices are known once it is bound", nominated=node, unjudged=unjudged)
