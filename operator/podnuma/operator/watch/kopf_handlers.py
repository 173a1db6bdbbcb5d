"""What is registered with Kopf: one event handler per kind, its credentials and its settings.

Only plain event handlers: nothing here makes Kopf patch an object, add a finalizer, keep an
index or post an event. There is no storage for the annotations that its other handlers would
need; that also saves a deep copy of every object it sees.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import kopf
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import FIELD_SELECTORS, PLACING_FIELD_SELECTORS, Kind

if TYPE_CHECKING:
    from podnuma.operator.cache.objects import CachedObject, ObjectKey, ObjectVersion


class EventQueue(Protocol):
    """Takes decoded watch events; called in Kopf's thread."""

    def updated(self, kind: Kind, obj: CachedObject | None) -> None:
        """Queue a state of an object; `obj` None: a sign of life, with nothing to be kept."""
        ...

    def deleted(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        """Queue the deletion of an object."""
        ...

    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool:
        """Tell whether exactly this state is cached: of own writes the watch tells after their answers."""
        ...


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last-handled state: no handler here asks for a difference."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Keeps no handler progress: event handlers have none."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


Decoder = Callable[[Any], "CachedObject | None"]
Login = Callable[[], Awaitable[kopf.AiohttpSession]]


def registry(queue: EventQueue, login: Login, *, placing: bool = False) -> kopf.OperatorRegistry:
    """Return a registry with the handlers of all kinds and the login."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def credentials(**_: Any) -> kopf.AiohttpSession:
        return await login()

    decoders = decode.PLACING_DECODERS if placing else decode.DECODERS
    for kind in Kind:
        _register(handlers, kind, decoders[kind], queue)
    return handlers


def _register(handlers: kopf.OperatorRegistry, kind: Kind, read: Decoder, queue: EventQueue) -> None:
    served = kind.value

    @kopf.on.event(served.group, served.version, served.plural, registry=handlers, id=f"see-{served.plural}")
    async def see(event: Any, **_: Any) -> None:
        value = event["object"]
        if event["type"] == "DELETED":
            if kind is Kind.POD and (last := read(value)) is not None and not last.node:
                queue.updated(kind, last)  # it ended without a node
            queue.deleted(kind, decode.object_key(value), decode.object_version(value))
        elif queue.is_cached(kind, decode.object_key(value), decode.object_version(value)):
            queue.updated(kind, None)
        else:
            queue.updated(kind, read(value))


def kopf_settings(page_size: int, *, placing: bool = False) -> kopf.OperatorSettings:
    """Return Kopf's settings: finite watches, paged lists, nothing written to the cluster."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.process.ultimate_exiting_timeout = None
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.watching.chunk_size = page_size
    chosen.watching.server_timeout = 240
    chosen.watching.client_timeout = 300
    chosen.watching.connect_timeout = 10
    chosen.watching.reconnect_backoff = 0.5
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = (0.5, 1, 2, 4)
    # A worker keeps the last object for as long as it idles.
    chosen.queueing.idle_timeout = 0.5
    for kind, selector in (PLACING_FIELD_SELECTORS if placing else FIELD_SELECTORS).items():
        served = kind.value
        chosen.watching.field_selectors[served.group, served.version, served.plural] = selector
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns that it cannot handle signals in a thread; the process handles them itself.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    return chosen
