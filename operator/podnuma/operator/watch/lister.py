"""Live reads of the API server: all objects of a kind, and one object by name.

A watch says what changes, a list proves what exists. Lists are read and decoded page by page,
so that no more than one page of full objects is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from podnuma.api.asked_devices import read_asking_claim, read_device_class, serving_classes
from podnuma.api.device_claims import DeviceSearch, read_allocated_devices
from podnuma.api.device_inventory import DeviceInventory
from podnuma.api.node_resource_topology import is_ours
from podnuma.api.resource_types import (
    DEVICE_CLASS,
    NODE,
    NODE_RESOURCE_TOPOLOGY,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_ALLOCATION,
    RESOURCE_CLAIM,
    RESOURCE_SLICE,
)
from podnuma.api.volumes import read_volume_name, read_volume_terms
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import FIELD_SELECTORS, PLACING_FIELD_SELECTORS, Kind
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.api.asked_devices import AskingClaim, NotKnown, SelectedDrivers
    from podnuma.api.device_claims import AllocatedDevice
    from podnuma.api.volumes import VolumeTerms
    from podnuma.operator.cache.objects import CachedAllocation, CachedObject, CachedPod, ObjectKey
    from podnuma.plumbing.kube.client import Client

Json = Mapping[str, Any]

_ATTEMPTS = 3  # a list whose continuation expired is begun again
_SLICES = 16  # ResourceSlices in a page: each may have 128 devices


class Reader(Protocol):
    """Reads from the API server, never from the cache; each raises one of plumbing.kube.errors."""

    async def list_all(self, kind: Kind) -> tuple[list[CachedObject], int]:
        """Return all objects of a kind that are to be cached, and the version of the list."""
        ...

    async def pod(self, key: ObjectKey) -> CachedPod | None:
        """Return the bound and unfinished pod of this name, whether it may hold something or not.

        An operator that places pods gets those that are not bound yet as well.
        """
        ...

    async def stored_pod(self, key: ObjectKey) -> Json | None:
        """Return the JSON of a pod, None without one."""
        ...

    async def allocation(self, key: ObjectKey) -> CachedAllocation | None:
        """Return the PodAllocation of this name, None without one."""
        ...

    async def node_exists(self, name: str) -> bool:
        """Tell whether there is a Node of this name."""
        ...

    async def allocated_devices(self, claim: ObjectKey) -> tuple[AllocatedDevice, ...] | None:
        """Return what a ResourceClaim got, None without allocation; may raise InvalidObjectError."""
        ...

    async def search_devices(self, node: str, wanted: frozenset[AllocatedDevice]) -> DeviceSearch:
        """Return where devices are, by the ResourceSlices of a node."""
        ...

    async def asking_claim(self, claim: ObjectKey) -> AskingClaim | NotKnown:
        """Return what a ResourceClaim asks for."""
        ...

    async def device_class(self, name: str) -> SelectedDrivers | NotKnown:
        """Return by which drivers a DeviceClass selects."""
        ...

    async def extended_resources(self) -> dict[str, str]:
        """Return which DeviceClass serves an extended resource, by its name."""
        ...

    async def volume_terms(self, claim: ObjectKey) -> VolumeTerms | None:
        """Return where the volume of a PersistentVolumeClaim can be; None: anywhere, or there is none yet."""
        ...

    async def device_inventory(self) -> DeviceInventory:
        """Return the devices of all nodes that no claim has; may raise InvalidObjectError."""
        ...

    async def resource_topology(self, name: str) -> str | None:
        """Return the UID of the NodeResourceTopology of a node, None if there is none that podnuma wrote."""
        ...


class ApiReader:
    """The reader that asks a real API server."""

    def __init__(self, client: Client, *, page_size: int, placing: bool = False) -> None:
        self._client = client
        self._page_size = page_size
        self._selectors = PLACING_FIELD_SELECTORS if placing else FIELD_SELECTORS
        self._decoders = decode.PLACING_DECODERS if placing else decode.DECODERS
        self._decode_pod = decode.decode_placeable_pod if placing else decode.decode_bound_pod

    async def list_all(self, kind: Kind) -> tuple[list[CachedObject], int]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._list_once(kind)
            except errors.GoneError:
                continue
        return await self._list_once(kind)

    async def pod(self, key: ObjectKey) -> CachedPod | None:
        found = await self.stored_pod(key)
        return None if found is None else self._decode_pod(found)

    async def stored_pod(self, key: ObjectKey) -> Json | None:
        try:
            return await self._client.get(POD.path(key.namespace, key.name))
        except errors.NotFoundError:
            return None

    async def allocation(self, key: ObjectKey) -> CachedAllocation | None:
        try:
            found = await self._client.get(POD_ALLOCATION.path(key.namespace, key.name))
        except errors.NotFoundError:
            return None
        return decode.decode_kept_allocation(found)

    async def node_exists(self, name: str) -> bool:
        query = {"fieldSelector": f"metadata.name={name}"}
        async for page, _ in self._client.pages(NODE.path(), size=1, query=query):
            if page:
                return True
        return False

    async def allocated_devices(self, claim: ObjectKey) -> tuple[AllocatedDevice, ...] | None:
        return read_allocated_devices(
            await self._client.get(RESOURCE_CLAIM.path(claim.namespace, claim.name))
        )

    async def search_devices(self, node: str, wanted: frozenset[AllocatedDevice]) -> DeviceSearch:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._search_once(node, wanted)
            except errors.GoneError:
                continue
        return await self._search_once(node, wanted)

    async def asking_claim(self, claim: ObjectKey) -> AskingClaim | NotKnown:
        return read_asking_claim(await self._client.get(RESOURCE_CLAIM.path(claim.namespace, claim.name)))

    async def device_class(self, name: str) -> SelectedDrivers | NotKnown:
        return read_device_class(await self._client.get(DEVICE_CLASS.path("", name)))

    async def extended_resources(self) -> dict[str, str]:
        pages = self._client.pages(DEVICE_CLASS.path(), size=self._page_size)
        return serving_classes([one async for page, _ in pages for one in page])

    async def volume_terms(self, claim: ObjectKey) -> VolumeTerms | None:
        try:
            found = await self._client.get(PERSISTENT_VOLUME_CLAIM.path(claim.namespace, claim.name))
            name = read_volume_name(found)
            return (
                read_volume_terms(await self._client.get(PERSISTENT_VOLUME.path("", name))) if name else None
            )
        except errors.NotFoundError:
            return None

    async def device_inventory(self) -> DeviceInventory:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._inventory_once()
            except errors.GoneError:
                continue
        return await self._inventory_once()

    async def resource_topology(self, name: str) -> str | None:
        try:
            found = await self._client.get(NODE_RESOURCE_TOPOLOGY.path("", name))
        except errors.NotFoundError:
            return None
        return decode.object_version(found).uid if is_ours(found) else None

    async def _search_once(self, node: str, wanted: frozenset[AllocatedDevice]) -> DeviceSearch:
        search = DeviceSearch(wanted)
        query = {"fieldSelector": f"spec.nodeName={node}"}
        async for page, _ in self._client.pages(RESOURCE_SLICE.path(), size=_SLICES, query=query):
            for one in page:
                search.see(one)
        return search

    async def _inventory_once(self) -> DeviceInventory:
        inventory = DeviceInventory()
        async for page, _ in self._client.pages(RESOURCE_SLICE.path(), size=_SLICES):
            for one in page:
                inventory.see_slice(one)
        async for page, _ in self._client.pages(RESOURCE_CLAIM.path(), size=self._page_size):
            for one in page:
                inventory.see_claim(one)
        return inventory

    async def _list_once(self, kind: Kind) -> tuple[list[CachedObject], int]:
        selector = self._selectors.get(kind)
        query = {"fieldSelector": selector} if selector else {}
        objects: list[CachedObject] = []
        version = ""
        async for page, at in self._client.pages(kind.value.path(), size=self._page_size, query=query):
            objects.extend(obj for obj in map(self._decoders[kind], page) if obj is not None)
            version = version or at
        return objects, decode.resource_version(version)
