"""Kopf in a thread of its own, and what it sees handed over to the loop of the service.

Kopf cancels every task of its event loop when it ends, and it ends at errors it does not
know; so it gets a loop that nothing else lives in, and is started again. Events are turned
into records in its thread and handed over in batches, in order.

A sign of life of a watch is an event of its kind or a request that was answered: watches
are finite, so a healthy one is opened anew every few minutes even if nothing happens.
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
from podnuma.operator import handlers
from podnuma.operator.kinds import PLACES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podnuma.operator.records import Key, Record, Stamp
    from podnuma.plumbing.kube.client import Access

logger = logging.getLogger(__name__)

_BATCH = 500  # news taken in at once, before the loop may do something else
_LOGIN_PAUSE = 1.0  # seconds; credentials that are refused are read again, but not in a hot loop
_PATIENCE = 20.0  # seconds for Kopf to end when asked to

News = tuple[Kind, "Record | None", "Key", "Stamp"]


class Sink(Protocol):
    """Who wants the news; called in the service's loop."""

    def see(self, record: Record) -> None:
        """Take in the state of an object."""
        ...

    def lose(self, kind: Kind, key: Key, stamp: Stamp) -> None:
        """Take in the end of an object."""
        ...


class Watches:
    """All watches. `relisted` is called when a kind was listed again: something may have been missed."""

    def __init__(
        self,
        access: Access,
        sink: Sink,
        *,
        page_size: int,
        clock: Callable[[], float],
        relisted: Callable[[Kind], None],
    ) -> None:
        self._access = access
        self._sink = sink
        self._page_size = page_size
        self._clock = clock
        self._relisted = relisted
        self._news: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._alive = dict.fromkeys(Kind, clock())
        self._streaming: set[Kind] = set()
        self._logged_in = False

    def age(self) -> float:
        """Return for how many seconds the quietest watch has given no sign of life."""
        return self._clock() - min(self._alive.values())

    async def run(self) -> None:
        """Watch until cancelled; raise if Kopf ends by itself."""
        self._loop = asyncio.get_running_loop()
        self._streaming.clear()
        stop = threading.Event()
        ended: asyncio.Future[None] = self._loop.create_future()
        thread = threading.Thread(target=self._thread, args=(stop, ended), name="kopf", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            stop.set()
            with contextlib.suppress(TimeoutError, Exception):
                await asyncio.wait_for(asyncio.shield(ended), _PATIENCE)
        raise RuntimeError("Kopf ended by itself")

    # In Kopf's thread

    def seen(self, kind: Kind, record: Record | None, event: Mapping[str, Any]) -> None:
        self._alive[kind] = self._clock()
        if event["type"] is not None:
            self._streaming.add(kind)
        elif kind in self._streaming:
            # A listed object after streamed ones: the watch broke and began anew.
            self._streaming.discard(kind)
            self._hand_over(self._relisted, kind)
        if record is not None:
            self._hand_over(self._sink.see, record)

    def ended(self, kind: Kind, key: Key, stamp: Stamp) -> None:
        self._alive[kind] = self._clock()
        self._streaming.add(kind)
        self._hand_over(self._sink.lose, kind, key, stamp)

    def _thread(self, stop: threading.Event, ended: asyncio.Future[None]) -> None:
        error: BaseException | None = None
        try:
            kopf.run(
                loop=None,
                registry=handlers.registry(self, self._login),
                settings=handlers.settings(self._page_size),
                standalone=True,
                clusterwide=True,
                stop_flag=stop,
            )
        except BaseException as problem:  # noqa: BLE001 - passed on to the loop
            error = problem
        loop = ended.get_loop()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_finish, ended, error)

    async def _login(self) -> kopf.AiohttpSession:
        await asyncio.sleep(_LOGIN_PAUSE if self._logged_in else 0)
        self._logged_in = True
        configuration = await self._access.read()
        auth = (await configuration.auth_settings()).get("BearerToken")
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
            headers={"Authorization": str(auth["value"])} if auth else {},
            trace_configs=[trace],
        )
        return kopf.AiohttpSession(aiohttp_session=session, server=configuration.host)

    async def _answered(
        self, _session: object, _context: object, request: aiohttp.TraceRequestEndParams
    ) -> None:
        path = request.url.path
        for kind, place in PLACES.items():
            if path == place.collection and request.response.status < 400:  # noqa: PLR2004
                self._alive[kind] = self._clock()

    def _hand_over(self, call: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            self._news.append((call, arguments))
            if self._draining or self._loop is None:
                return
            self._draining = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._drain)

    # In the service's loop

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


def _finish(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(RuntimeError(f"Kopf ended: {error!r}"))
