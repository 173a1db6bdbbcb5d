"""An API server that misbehaves on demand: a proxy in front of the real one.

    with FaultyApiServer(cluster) as faulty:
        kubeconfig = faulty.kubeconfig_for("podnuma-system", "podnuma-operator")
        faulty.next(writes("podallocations"), Refuse(409, "Conflict"))

Every request passes through unchanged until a rule says otherwise. A rule is a predicate on `Call` and a
fault; it applies `times` times and is then removed. `calls` is the history, for counting requests and
for finding kill points: `Notify` calls back, on the proxy's thread, before a request is passed on or
after it was carried out but before the client gets the response, and waits for the call to return.

Clients authenticate by token (their certificates end at the proxy). TLS is real, by the control
plane's own authority.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

import aiohttp
import yaml
from aiohttp import web

from testbed.pki import client_context
from testbed.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from testbed.control_plane import ControlPlane

# Hop by hop, or wrong once the body has been read and written again (RFC 9110, section 7.6.1).
_NOT_PASSED = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "host"})
_LARGEST_BODY = 16 * 2**20
# Seconds. A client may be gone, or in the middle of its handshake.
_HANDSHAKE_WITHIN = 3
_GOODBYE_WITHIN = 0.2
_CLOSED_WITHIN = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the proxy saw it. `watch` is true for a watch; `user_agent` says whose it is."""

    method: str
    path: str
    query: str
    user_agent: str
    watch: bool
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with a Status instead of passing the request on."""

    code: int
    reason: str
    message: str = "refused by the test bed"
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Pass the request on after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection: before passing the request on, or after it was carried out (`done`)."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class CutWatch:
    """Close a watch after `events` events, in the middle of the next one if there is one."""

    events: int


@dataclass(frozen=True, slots=True)
class DuplicateEvents:
    """Send every event of a watch twice, and the second copy after the following event."""


@dataclass(frozen=True, slots=True)
class EndWatch:
    """Answer a watch with an ERROR event of this code, 410 as when the resource version is too old."""

    code: int = 410
    reason: str = "Expired"


@dataclass(frozen=True, slots=True)
class Notify:
    """Call `callback` before the request is passed on, or once it was carried out (`done`)."""

    callback: Callable[[Call], None]
    done: bool = False


Fault: TypeAlias = Refuse | Delay | Cut | CutWatch | DuplicateEvents | EndWatch | Notify
Match: TypeAlias = "Callable[[Call], bool]"


@dataclass(slots=True)
class _Rule:
    match: Match
    fault: Fault
    left: int


def writes(plural: str, *methods: str) -> Match:
    """Match writes to a resource or its subresources; `methods` narrows, as in "PATCH", "DELETE"."""
    wanted = methods or ("POST", "PUT", "PATCH", "DELETE")
    return lambda call: call.method in wanted and f"/{plural}" in call.path


def watches(plural: str) -> Match:
    """Match watches of a resource."""
    return lambda call: call.watch and call.path.endswith(f"/{plural}")


def reads(plural: str) -> Match:
    """Match gets and lists of a resource."""
    return lambda call: call.method == "GET" and not call.watch and f"/{plural}" in call.path


def anything(_: Call) -> bool:
    """Match every request."""
    return True


class FaultyApiServer:
    """The proxy; its own thread and event loop from `__enter__` to `__exit__`."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._cluster = cluster
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._answering: dict[asyncio.Task[object], Call] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-api-server", daemon=True)
        self.port = free_port()
        self.server = f"https://127.0.0.1:{self.port}"
        self.calls: list[Call] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def next(self, match: Match, fault: Fault, times: int = 1) -> None:
        """Apply a fault to the next `times` requests that match."""
        with self._lock:
            self._rules.append(_Rule(match, fault, times))

    def heal(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def idle(self) -> bool:
        """Return whether every request except watches has been answered."""
        return all(call.watch for call in tuple(self._answering.values()))

    def count(self, match: Match) -> int:
        """Count the requests so far that match."""
        return sum(match(call) for call in list(self.calls))

    def kubeconfig_for(self, namespace: str, service_account: str, *, node: str | None = None) -> Path:
        """Return a kubeconfig of a service account that goes through the proxy."""
        direct = self._cluster.kubeconfig_for(namespace, service_account, node=node)
        content = yaml.safe_load(direct.read_text())
        content["clusters"][0]["cluster"]["server"] = self.server
        path = direct.with_name(f"faulty-{self.port}-{direct.name}")
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path

    # -- the proxy's own thread -------------------------------------------------------------------

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)  # type: ignore[arg-type]

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(ssl=client_context(self._cluster.ca_file), limit=0)
        self._upstream = aiohttp.ClientSession(
            connector=connector, auto_decompress=True, timeout=aiohttp.ClientTimeout(total=None)
        )
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(*self._cluster.serving_certificate)
        assert self._runner.server is not None, "aiohttp makes it in setup"
        self._server = self._runner.server
        self._listening = await self._loop.create_server(
            self._server,
            "127.0.0.1",
            self.port,
            ssl=serving,
            ssl_handshake_timeout=_HANDSHAKE_WITHIN,
            ssl_shutdown_timeout=_GOODBYE_WITHIN,
        )

    async def _close(self) -> None:
        # Not closed yet: asyncio would lose the sockets of clients it has accepted and not greeted.
        for listening in self._listening.sockets:
            self._loop.remove_reader(listening.fileno())
        await self._upstream.close()
        for answering in tuple(self._answering):
            answering.cancel()
        async with asyncio.timeout(_CLOSED_WITHIN):
            while self._is_anything_open():
                for connection in self._server.connections:
                    if connection.transport is not None:
                        connection.transport.abort()
                await asyncio.sleep(0.01)
        self._listening.close()
        await self._runner.cleanup()

    def _is_anything_open(self) -> bool:
        """Return whether there is more than the loop's own wake-up and the task that asks."""
        return len(self._selector.get_map()) > 1 or len(asyncio.all_tasks()) > 1

    def _faults_for(self, call: Call) -> list[Fault]:
        found = []
        with self._lock:
            for rule in self._rules:
                if rule.match(call):
                    rule.left -= 1
                    found.append(rule.fault)
            self._rules = [rule for rule in self._rules if rule.left > 0]
        return found

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=request.query_string,
            user_agent=request.headers.get("User-Agent", ""),
            watch=request.query.get("watch") in {"1", "true", "True"},
            body=await request.read(),
        )
        self.calls.append(call)
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in one"
        self._answering[task] = call
        try:
            faults = self._faults_for(call)
            for fault in faults:
                answer = await self._before(request, call, fault)
                if answer is not None:
                    return answer
            return await self._pass_on(request, call, faults)
        finally:
            del self._answering[task]

    async def _before(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse | None:
        match fault:
            case Refuse():
                return _refusal(fault)
            case EndWatch(code=code, reason=reason):
                status = _status(code, reason, "too old resource version")
                return web.json_response({"type": "ERROR", "object": status})
            case Delay(seconds=seconds):
                await asyncio.sleep(seconds)
            case Cut(done=False):
                return _hang_up(request)
            case Notify(callback=callback, done=False):
                await self._loop.run_in_executor(None, callback, call)
            case _:
                pass
        return None

    async def _pass_on(self, request: web.Request, call: Call, faults: list[Fault]) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_PASSED}
        url = self._cluster.server + request.path_qs
        try:
            async with self._upstream.request(
                call.method, url, headers=headers, data=call.body or None, allow_redirects=False
            ) as answer:
                kept = {key: value for key, value in answer.headers.items() if key.lower() not in _NOT_PASSED}
                response = web.StreamResponse(status=answer.status, headers=kept)
                if call.watch and answer.ok:
                    return await self._pass_watch(request, response, answer, faults)
                body = await answer.read()
        except aiohttp.ClientError:
            return _hang_up(request)
        for fault in faults:
            match fault:
                case Notify(callback=callback, done=True):
                    await self._loop.run_in_executor(None, callback, call)
                case Cut(done=True):
                    return _hang_up(request)
                case _:
                    pass
        response.content_length = len(body)
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write(body)
        return response

    async def _pass_watch(
        self,
        request: web.Request,
        response: web.StreamResponse,
        answer: aiohttp.ClientResponse,
        faults: list[Fault],
    ) -> web.StreamResponse:
        stream = _WatchStream(faults)
        with suppress(ConnectionError):
            await response.prepare(request)
            async for line in answer.content:
                for part in stream.pass_event(line):
                    await response.write(part)
                if stream.ended:
                    return _hang_up(request, response)
        return response


class _WatchStream:
    """Applies faults to the events of one watch."""

    def __init__(self, faults: list[Fault]) -> None:
        cuts = [fault.events for fault in faults if isinstance(fault, CutWatch)]
        self._left = min(cuts) if cuts else None
        self._twice = any(isinstance(fault, DuplicateEvents) for fault in faults)
        self._held: bytes | None = None
        self.ended = False

    def pass_event(self, line: bytes) -> Iterator[bytes]:
        if self._left is not None:
            if self._left == 0:
                self.ended = True
                yield line[: len(line) // 2]
                return
            self._left -= 1
        yield line
        if self._twice:
            if self._held is not None:
                yield self._held
            self._held = line


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _refusal(fault: Refuse) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.Response(
        status=fault.code,
        headers=headers,
        text=json.dumps(_status(fault.code, fault.reason, fault.message)),
        content_type="application/json",
    )


def _hang_up(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
