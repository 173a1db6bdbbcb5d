"""Kopf in a thread of its own, and what it sees handed over to the loop of the service.

Kopf lists each kind before it watches it, and spends half a millisecond on every object; it
never tells what is no longer there. So its lists are kept empty, by a selector that no object
meets, and the service lists for itself once a watch stands: cheaply, page by page, and from
then on completely. When Kopf lists a kind again, because a watch could not be continued, the
kind is listed for the service again. `gaps` has the kinds whose watch stands and whose objects
have not been listed since.

Kopf cancels every task of its event loop when it ends, and it ends at errors it does not
know; so it gets a loop that nothing else lives in, and is started again. Events are turned
into records in its thread and handed over in batches, in order.

A sign of life of a watch is an event of its kind or a request that was answered: watches
are finite, so a healthy one is opened anew every few minutes even if nothing happens.

What a restarting API server answers is waited out below Kopf (see plumbing.kube.retrying_session).
When a part of Kopf ends all the same, it is not trusted to end the rest: it is cancelled,
left behind after a few seconds, and begun anew in a fresh loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import kopf
from podnuma.operator.cache.kinds import PLACES, Kind
from podnuma.operator.watch import kopf_handlers
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube.retrying_session import RetryMiddleware

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from podnuma.operator.cache.objects import CachedObject, ObjectKey, ObjectVersion
    from podnuma.plumbing.kube.client import CredentialSource

logger = logging.getLogger(__name__)

_BATCH = 500  # news taken in at once, before the loop may do something else
_PATIENCE = 5.0  # seconds for Kopf to end when asked to
_RETRIES = Backoff(first=0.3, limit=5.0)
_WATCH = "watch"  # the query parameter that makes a watch of a list
_NO_OBJECT = "metadata.name=-"  # no object can have this name
_COLLECTIONS = {place.collection: kind for kind, place in PLACES.items()}


class ResourceEventHandler(Protocol):
    """Who wants the news; called in the service's loop."""

    def on_update(self, record: CachedObject) -> None:
        """Take in the state of an object."""
        ...

    def on_delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        """Take in the end of an object."""
        ...


class KopfSource:
    """All watches, and what they may have missed."""

    def __init__(
        self,
        access: CredentialSource,
        handler: ResourceEventHandler,
        *,
        page_size: int,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._access = access
        self._handler = handler
        self._page_size = page_size
        self._clock = clock
        self._rng = rng
        self._news: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._alive = dict.fromkeys(Kind, clock())
        self._standing: set[Kind] = set()
        self._gaps: set[Kind] = set()
        self._news_of_gaps = asyncio.Event()

    @property
    def missing(self) -> frozenset[Kind]:
        """Return the kinds that are not watched now."""
        return frozenset(Kind) - self._standing

    async def gaps(self) -> frozenset[Kind]:
        """Wait until kinds have to be listed, and return them; who takes them must list them."""
        while not self._gaps:
            self._news_of_gaps.clear()
            await self._news_of_gaps.wait()
        found = frozenset(self._gaps)
        self._gaps.clear()
        return found

    def give_back(self, kinds: Iterable[Kind]) -> None:
        """Note that kinds could not be listed after all."""
        self._gaps |= self._standing & set(kinds)
        self._news_of_gaps.set()

    def age(self) -> float:
        """Return for how many seconds the quietest watch has given no sign of life."""
        return self._clock() - min(self._alive.values())

    async def run(self) -> None:
        """Watch until cancelled; raise if Kopf ends by itself."""
        self._loop = asyncio.get_running_loop()
        self._standing.clear()
        self._gaps.clear()
        ended: asyncio.Future[None] = self._loop.create_future()
        theirs = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(target=self._thread, args=(theirs, stop, ended), name="kopf", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                theirs.call_soon_threadsafe(stop.set)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(asyncio.shield(ended), 2 * _PATIENCE)
        raise RuntimeError("Kopf ended by itself")

    # In Kopf's thread

    def updated(self, kind: Kind, record: CachedObject | None) -> None:
        self._alive[kind] = self._clock()
        if record is not None:
            self._hand_over(self._handler.on_update, record)

    def deleted(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None:
        self._alive[kind] = self._clock()
        self._hand_over(self._handler.on_delete, kind, key, version)

    def _thread(
        self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, ended: asyncio.Future[None]
    ) -> None:
        error: BaseException | None = None
        try:
            loop.run_until_complete(self._kopf(stop))
        except BaseException as problem:  # noqa: BLE001 - told to the loop that waits for it
            error = problem
        with contextlib.suppress(Exception):
            loop.run_until_complete(_abandon())
        loop.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            ended.get_loop().call_soon_threadsafe(_finish, ended, error)

    async def _kopf(self, stop: asyncio.Event) -> None:
        """Run Kopf until told to stop or until any part of it ends: what remains would be half blind."""
        sessions: list[aiohttp.ClientSession] = []

        async def login() -> kopf.AiohttpSession:
            context = await self._login()
            sessions.append(context.aiohttp_session)
            return context

        parts = await kopf.spawn_tasks(
            registry=kopf_handlers.registry(self, login),
            settings=kopf_handlers.kopf_settings(self._page_size),
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
            await asyncio.wait([running], timeout=_PATIENCE)
            for session in sessions:
                await session.close()

    async def _login(self) -> kopf.AiohttpSession:
        configuration = await self._access.read()
        info = kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers={"User-Agent": "podnuma-operator-watch"},
            trace_configs=[trace],
            middlewares=(
                RetryMiddleware(self._access.authorization, backoff=_RETRIES, rng=self._rng),
                self._empty_lists,
            ),
        )
        return kopf.AiohttpSession(aiohttp_session=session, server=configuration.host)

    async def _answered(
        self, _session: object, _context: object, request: aiohttp.TraceRequestEndParams
    ) -> None:
        kind = _COLLECTIONS.get(request.url.path)
        if kind is not None and request.response.status < 400 and _WATCH in request.url.query:  # noqa: PLR2004
            self._alive[kind] = self._clock()
            self._hand_over(self._stands, kind)

    async def _empty_lists(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        kind = _COLLECTIONS.get(request.url.path)
        if kind is not None and _WATCH not in request.url.query:
            self._hand_over(self._begins, kind)
            # An old version is fine: the watch goes on from it.
            request.url = request.url.update_query(fieldSelector=_NO_OBJECT, resourceVersion="0")
        return await handler(request)

    def _hand_over(self, call: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            self._news.append((call, arguments))
            if self._draining or self._loop is None:
                return
            self._draining = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._drain)

    # In the service's loop

    def _begins(self, kind: Kind) -> None:
        if kind in self._standing:
            logger.info("the watch of %s could not be continued and begins anew", kind.value)
        self._standing.discard(kind)
        self._gaps.discard(kind)

    def _stands(self, kind: Kind) -> None:
        if kind not in self._standing:
            self._standing.add(kind)
            self._gaps.add(kind)
            self._news_of_gaps.set()

    def _drain(self) -> None:
        for call, arguments in self._take():
            call(*arguments)
        with self._lock:
            self._draining = bool(self._news)
        if self._draining and self._loop is not None:
            self._loop.call_soon(self._drain)

    def _take(self) -> Iterable[tuple[Callable[..., None], tuple[Any, ...]]]:
        with self._lock:
            return [self._news.popleft() for _ in range(min(_BATCH, len(self._news)))]


async def _abandon() -> None:
    """Cancel what is left in this loop, and wait for it, but not for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_PATIENCE)


def _finish(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(RuntimeError(f"Kopf ended: {error}"))
