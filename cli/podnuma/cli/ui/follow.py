"""Following one collection of the API server: list it, watch it from there, list again when told to.

A watch that ends is opened again from the last version seen. After an error the next try waits, with
jitter and up to a limit, and the page says why meanwhile; what was known stays on it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from podnuma.cli.objects.queries import ObjectQuery
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Json, Version

_BACKOFF = Backoff(first=0.5, limit=30.0)
_PAGE = 500


class ObjectStream(Protocol):
    """Lists and watches: `plumbing.kube.client.Client`."""

    def pages(
        self, path: str, *, size: int, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[list[Json], Version]]:
        """Yield a collection in pages."""
        ...

    def watch(
        self, path: str, *, version: Version, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Json]:
        """Yield the events after a version."""
        ...


async def follow_objects(reader: ObjectStream, query: ObjectQuery, live: LiveObjects) -> None:
    """Keep `live` as the cluster is, until cancelled."""
    failures = 0
    version: Version | None = None
    rng = random.Random()
    while True:
        try:
            if version is None:
                version = await _list(reader, query, live)
            live.problem(query.label, "")
            async for event in reader.watch(query.path, version=version, query=query.query):
                version = _take(event, query, live) or version
                failures = 0
            await asyncio.sleep(rng.random() / 2)  # a server that ends each watch at once is not stormed
        except errors.GoneError:
            version = None
        except errors.KubeError as error:
            failures += 1
            live.problem(query.label, f"{query.label}: {error.message}")
            if isinstance(error, errors.RefusedError | errors.NotFoundError):
                version = None
            await asyncio.sleep(_BACKOFF.delay(failures, rng))


async def _list(reader: ObjectStream, query: ObjectQuery, live: LiveObjects) -> Version:
    values: list[Json] = []
    version = Version("")
    async for items, read_at in reader.pages(query.path, size=_PAGE, query=query.query):
        values += items
        version = read_at
    live.replace(query.type.kind, values)
    return version


def _take(event: Json, query: ObjectQuery, live: LiveObjects) -> Version | None:
    value: dict[str, Any] = {**event["object"], "kind": query.type.kind}
    match event.get("type"):
        case "ADDED" | "MODIFIED":
            live.keep(value)
        case "DELETED":
            live.forget(value)
        case _:  # a bookmark has a version alone
            pass
    found = (value.get("metadata") or {}).get("resourceVersion")
    return Version(found) if isinstance(found, str) and found else None
