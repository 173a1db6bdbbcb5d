"""Fresh looks at the API server: full lists of a kind, and one object by name.

Watches tell what changes, a list proves what is there. Lists are read in pages and turned
into records page by page, so that no more than one page of full objects is in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import PLACES, Kind
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.operator.cache.objects import CachedAllocation, CachedObject, CachedPod, ObjectKey
    from podnuma.plumbing.kube.client import Client

_ATTEMPTS = 3  # a list whose continuation expired is begun again


class Reader(Protocol):
    """What may be asked. Each raises one of plumbing.kube.errors."""

    async def everything(self, kind: Kind) -> tuple[list[CachedObject], int]:
        """Return all objects of a kind, as far as they matter, and the version of the list."""
        ...

    async def pod(self, key: ObjectKey) -> CachedPod | None:
        """Return the bound and unfinished pod of this name, whether it may hold something or not."""
        ...

    async def allocation(self, key: ObjectKey) -> CachedAllocation | None:
        """Return the PodAllocation of this name, None without one."""
        ...


class ApiReader:
    """Reader over a client."""

    def __init__(self, client: Client, *, page_size: int) -> None:
        self._client = client
        self._page_size = page_size

    async def everything(self, kind: Kind) -> tuple[list[CachedObject], int]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._list(kind)
            except errors.GoneError:
                continue
        return await self._list(kind)

    async def pod(self, key: ObjectKey) -> CachedPod | None:
        try:
            found = await self._client.get(PLACES[Kind.POD].object(key.namespace, key.name))
        except errors.NotFoundError:
            return None
        return decode.decode_bound_pod(found)

    async def allocation(self, key: ObjectKey) -> CachedAllocation | None:
        try:
            found = await self._client.get(PLACES[Kind.ALLOCATION].object(key.namespace, key.name))
        except errors.NotFoundError:
            return None
        return decode.decode_allocation(found)

    async def _list(self, kind: Kind) -> tuple[list[CachedObject], int]:
        place = PLACES[kind]
        query = {"fieldSelector": place.field_selector} if place.field_selector else {}
        records: list[CachedObject] = []
        version = ""
        async for page, at in self._client.pages(place.collection, size=self._page_size, query=query):
            records.extend(record for record in map(decode.DECODERS[kind], page) if record is not None)
            version = version or at
        return records, decode.resource_version(version)
