"""Kopf in a thread of its own; its events are decoded there and handed to the controller's loop.

Kopf lists each kind before it watches it, spends half a millisecond on every object, and never
says what no longer exists. So its lists are kept empty, by a selector that no object matches,
and the operator lists a kind itself once its watch is established: cheaply, page by page, and
completely. When Kopf lists a kind again, because a watch could not be continued, the operator
does so too. `unlisted` has the kinds whose watch is established and that are to be listed.

Kopf cancels every task of its event loop when it ends, and it ends at errors it does not
know. So it gets a loop of its own and is started again. Events arrive in batches, in order.

A watch is alive as of its last event or answered request: watches are finite, so a healthy
one is opened anew every few minutes even if nothing happens.

What a restarting API server answers is waited out below Kopf (see plumbing.kube.retrying_session).
A watch that fails soon after it began costs a full list each time. So the next one begins after a
pause that grows while one after another fails, and `in_vain` says how many did in a row.

When a part of Kopf ends all the same, the rest is cancelled, abandoned after a few seconds, and
Kopf is started again in a new loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import kopf
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.watch import kopf_handlers
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube.connector import connector_to
from podnuma.plumbing.kube.retrying_session import RetryMiddleware

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from podnuma.operator.cache.objects import CachedObject, ObjectKey, ObjectVersion
    from podnuma.plumbing.kube.credentials import CredentialSource

logger = logging.getLogger(__name__)

_BATCH = 500  # events handled at once, before the loop may do something else
_GRACE = 5.0  # seconds for Kopf to end when asked to
_RETRIES = Backoff(first=0.3, limit=5.0)
_LISTS = Backoff(first=0.5, limit=30.0)
_PROVEN = 30.0  # seconds after which a watch was not in vain
_FEW = 3  # failures in a row are no trouble yet
_WATCH = "watch"  # the query parameter that makes a watch of a list
_NO_OBJECT = "metadata.name=-"  # no object can have this name
_COLLECTIONS = {kind.value.path(): kind for kind in Kind}


class ResourceEventHandler(Protocol):
    """Takes what changed; called in the controller's loop."""

    def on_update(self, obj: CachedObject) -> None:
        """Take a state of an object."""
        ...

    def on_delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        """Take the deletion of an object."""
        ...

    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool:
        """Tell whether exactly this state is cached; called in Kopf's thread."""
        ...


class KopfSource:
    """All watches; delivers every event once and in order, and says which kinds must be listed."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        access: CredentialSource,
        handler: ResourceEventHandler,
        *,
        page_size: int,
        clock: Callable[[], float],
        rng: random.Random,
        placing: bool = False,
        begins_anew: Callable[[Kind], None] = lambda _: None,
    ) -> None:
        self._access = access
        self._handler = handler
        self._page_size = page_size
        self._placing = placing
        self._clock = clock
        self._rng = rng
        self._events: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._begins_anew = begins_anew
        self._watched_since: dict[Kind, float] = {}
        self._failures = dict.fromkeys(Kind, -1)  # in a row; -1 before the first list
        self._alive = dict.fromkeys(Kind, clock())
        self._established: set[Kind] = set()
        self._unlisted: set[Kind] = set()
        self._unlisted_added = asyncio.Event()

    @property
    def missing(self) -> frozenset[Kind]:
        """Return the kinds that are not watched now."""
        return frozenset(Kind) - self._established

    @property
    def in_vain(self) -> dict[Kind, int]:
        """Return how many watches in a row have failed soon after they began, by kind, where it is many.

        One that has gone on for a while ends that; nobody has to hear of it meanwhile.
        """
        return {
            kind: count
            for kind, count in self._failures.items()
            if count >= _FEW and not self._has_lasted(self._watched_since.get(kind))
        }

    async def unlisted(self) -> frozenset[Kind]:
        """Wait until kinds have to be listed, and return them; the caller must list them."""
        while not self._unlisted:
            self._unlisted_added.clear()
            await self._unlisted_added.wait()
        found = frozenset(self._unlisted)
        self._unlisted.clear()
        return found

    def list_again(self, kinds: Iterable[Kind]) -> None:
        """Ask for kinds to be listed again, as far as they are watched."""
        self._unlisted |= self._established & set(kinds)
        self._unlisted_added.set()

    def age(self) -> float:
        """Return for how many seconds the quietest watch has shown no activity."""
        return self._clock() - min(self._alive.values())

    async def run(self) -> None:
        """Watch until cancelled; raise if Kopf ends by itself."""
        self._loop = asyncio.get_running_loop()
        self._established.clear()
        self._unlisted.clear()
        ended: asyncio.Future[None] = self._loop.create_future()
        kopf_loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(
            target=self._thread, args=(kopf_loop, stop, ended), name="kopf", daemon=True
        )
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                kopf_loop.call_soon_threadsafe(stop.set)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2 * _GRACE):
                    await asyncio.shield(ended)
        raise RuntimeError("Kopf ended by itself")

    # In Kopf's thread

    def updated(self, kind: Kind, obj: CachedObject | None) -> None:
        self._alive[kind] = self._clock()
        if obj is not None:
            self._hand_over(self._handler.on_update, obj)

    def deleted(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        self._alive[kind] = self._clock()
        self._hand_over(self._handler.on_delete, kind, key, version)

    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool:
        return self._handler.is_cached(kind, key, version)

    def _thread(
        self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, ended: asyncio.Future[None]
    ) -> None:
        error: BaseException | None = None
        try:
            loop.run_until_complete(self._kopf(stop))
        except BaseException as problem:  # noqa: BLE001 - passed to the loop that waits for it
            error = problem
        with contextlib.suppress(Exception):
            loop.run_until_complete(_abandon())
        loop.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            ended.get_loop().call_soon_threadsafe(_finish, ended, error)

    async def _kopf(self, stop: asyncio.Event) -> None:
        """Run Kopf until told to stop or until any part of it ends: the rest would miss events."""
        sessions: list[aiohttp.ClientSession] = []

        async def login() -> kopf.AiohttpSession:
            context = await self._login()
            sessions.append(context.aiohttp_session)
            return context

        parts = await kopf.spawn_tasks(
            registry=kopf_handlers.registry(self, login, placing=self._placing),
            settings=kopf_handlers.kopf_settings(self._page_size, placing=self._placing),
            standalone=True,
            clusterwide=True,
        )
        running = asyncio.create_task(
            kopf.run_tasks(parts, ignored=frozenset(asyncio.all_tasks() - {*parts}))
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*parts, running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                failed = [part for part in parts if part.done() and not part.cancelled() and part.exception()]
                raise RuntimeError(
                    f"{failed[0].get_name()}: {failed[0].exception()!r}" if failed else "ended"
                )
        finally:
            stopping.cancel()
            running.cancel()
            await asyncio.wait([running], timeout=_GRACE)
            for session in sessions:
                await session.close()

    async def _login(self) -> kopf.AiohttpSession:
        credentials = await self._access.read()
        endpoint = credentials.endpoint
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        session = aiohttp.ClientSession(
            connector=connector_to(endpoint, limit=0),
            headers=[("User-Agent", "podnuma-operator-watch"), *credentials.impersonation],
            proxy=endpoint.http_proxy,
            trace_configs=[trace],
            middlewares=(
                RetryMiddleware(self._authorization, backoff=_RETRIES, rng=self._rng),
                self._empty_lists,
            ),
        )
        return kopf.AiohttpSession(aiohttp_session=session, server=endpoint.server)

    async def _authorization(self) -> str | None:
        return (await self._access.read()).authorization

    async def _answered(
        self, _session: object, _context: object, request: aiohttp.TraceRequestEndParams
    ) -> None:
        kind = _COLLECTIONS.get(request.url.path)
        established = request.response.status < HTTPStatus.BAD_REQUEST and _WATCH in request.url.query
        if kind is not None and established:
            self._alive[kind] = self._clock()
            if self._has_lasted(self._watched_since.setdefault(kind, self._clock())):
                self._failures[kind] = 0
            self._hand_over(self._watch_established, kind)

    async def _empty_lists(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        kind = _COLLECTIONS.get(request.url.path)
        if kind is not None and _WATCH not in request.url.query:
            self._hand_over(self._list_begins, kind)
            if pause := self._pause(kind):
                await asyncio.sleep(pause)
            # An old version will do: the watch continues from it.
            request.url = request.url.update_query(fieldSelector=_NO_OBJECT, resourceVersion="0")
        return await handler(request)

    def _pause(self, kind: Kind) -> float:
        """Return how long to wait before a list: not at all at first, nor after a watch that lasted."""
        lasted = self._has_lasted(self._watched_since.pop(kind, None))
        first = self._failures[kind] < 0
        self._failures[kind] = 0 if first or lasted else self._failures[kind] + 1
        if not first:
            self._begins_anew(kind)
        return _LISTS.delay(self._failures[kind], self._rng) if self._failures[kind] else 0.0

    def _has_lasted(self, since: float | None) -> bool:
        return since is not None and self._clock() - since >= _PROVEN

    def _hand_over(self, call: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            self._events.append((call, arguments))
            if self._draining or self._loop is None:
                return
            self._draining = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._drain)

    # In the controller's loop

    def _list_begins(self, kind: Kind) -> None:
        if kind in self._established:
            logger.info("the watch of %s could not be resumed; listing again", kind.value.kind)
        self._established.discard(kind)
        self._unlisted.discard(kind)

    def _watch_established(self, kind: Kind) -> None:
        if kind not in self._established:
            self._established.add(kind)
            self._unlisted.add(kind)
            self._unlisted_added.set()

    def _drain(self) -> None:
        for call, arguments in self._take():
            call(*arguments)
        with self._lock:
            self._draining = bool(self._events)
        if self._draining and self._loop is not None:
            self._loop.call_soon(self._drain)

    def _take(self) -> Iterable[tuple[Callable[..., None], tuple[Any, ...]]]:
        with self._lock:
            return [self._events.popleft() for _ in range(min(_BATCH, len(self._events)))]


async def _abandon() -> None:
    """Cancel all tasks that are left in this loop, and wait for them a while."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_GRACE)


def _finish(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(RuntimeError(f"Kopf ended: {error}"))
