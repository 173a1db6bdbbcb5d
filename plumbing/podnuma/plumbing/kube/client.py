"""Raw requests to an API server: credentials, deadlines, JSON in and out.

Credentials are read again every minute and after a 401, because tokens rotate. Every request has
a deadline, and a write also sends it to the server (`timeout=`), so that a write which was given up
here is not carried out there long afterwards. A read waits, within its deadline, when the server says how
long (`Retry-After`): a busy server refuses what it would answer a second later.

Whatever goes wrong is raised as one of `errors`; no caller sees an error of the HTTP library.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NewType
from urllib.parse import urlencode

import aiohttp
from podnuma.plumbing.kube import apply_body, errors
from podnuma.plumbing.kube.connector import connector_to
from podnuma.plumbing.kube.content_types import APPLY, JSON
from podnuma.plumbing.kube.endpoint import EndpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from podnuma.plumbing.kube.credentials import Credentials, CredentialSource

Json = dict[str, Any]
Version = NewType("Version", str)


_FRESH = 60.0  # seconds that credentials are used before their files are read again
_CONNECTIONS = 100
_WAITS = 10  # for a server that asks to come back later, of one read


@dataclass(frozen=True, slots=True)
class CompletedRequest:
    """A request and how it ended, for metrics. `outcome` is an HTTP status or "error"."""

    verb: str
    resource: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to be sent, perhaps twice (after a 401). `deadline`: seconds."""

    method: str
    path: str
    deadline: float
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | list[Json] | None = None
    content_type: str = JSON


def _ignore(_: CompletedRequest) -> None:
    pass


class Client:
    """Requests to one API server, over connections that are kept; `observe` hears of each that ended."""

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        user_agent: str,
        observe: Callable[[CompletedRequest], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._observe = observe
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._used: Credentials | None = None
        self._read_at = 0.0
        self._refused = False
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, *, query: Mapping[str, str] | None = None, deadline: float = 30.0) -> Json:
        """Read one object or one page."""
        return await self._send(_Request("GET", path, deadline, query or {}))

    async def write(
        self,
        method: str,
        path: str,
        body: Json | list[Json] | None,
        *,
        deadline: float,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """POST, PUT, PATCH or DELETE; the server does not carry it out after `deadline` seconds."""
        bounded = {**(query or {}), "timeout": f"{deadline:.3f}s"}
        return await self._send(_Request(method, path, deadline, bounded, body, content_type))

    async def pages(
        self, path: str, *, size: int, query: Mapping[str, str] | None = None, deadline: float = 60.0
    ) -> AsyncIterator[tuple[list[Json], Version]]:
        """Yield a collection in pages, each with the list's resource version. GoneError: start over."""
        follow: dict[str, str] = {}
        while True:
            page = await self.get(
                path, query={**(query or {}), "limit": str(size), **follow}, deadline=deadline
            )
            metadata = page.get("metadata") or {}
            yield page.get("items") or [], Version(str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
            follow = {"continue": str(metadata["continue"])}

    async def text(self, path: str, *, deadline: float = 30.0) -> str:
        """Read what is not JSON, such as the metrics behind a node's proxy."""
        return (await self._answer(_Request("GET", path, deadline))).decode(errors="replace")

    async def watch(
        self,
        path: str,
        *,
        version: Version,
        query: Mapping[str, str] | None = None,
        seconds: float = 240.0,
        silence: float = 90.0,
    ) -> AsyncIterator[Json]:
        """Yield the events after a version, until the server ends the watch, which it does in `seconds`.

        Bookmarks are among them. GoneError: list again. The API server sends a bookmark every minute or so;
        a connection that says nothing for `silence` seconds is given up.
        """
        options = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": f"{seconds:.0f}"}
        asked = {**(query or {}), **options, "resourceVersion": version}
        limits = aiohttp.ClientTimeout(total=seconds + silence, sock_connect=30, sock_read=silence)
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._open(_Request("GET", path, 0, asked), limits)
            if response.status >= HTTPStatus.BAD_REQUEST:
                self._refused = self._refused or response.status == HTTPStatus.UNAUTHORIZED
                raise errors.from_answer(response.status, await response.read())
            rest = b""
            # Not line by line: the reader refuses lines longer than its buffer.
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise errors.no_answer(error) from error
        finally:
            if response is not None:
                response.close()

    async def _send(self, request: _Request) -> Json:
        data = await self._answer(request)
        try:
            answer: Any = json.loads(data) if data else {}
        except ValueError as error:
            raise errors.no_answer(error) from error
        if not isinstance(answer, dict):
            raise errors.no_answer(
                TypeError(f"{request.method} {request.path} answered {type(answer).__name__}, not an object")
            )
        return answer

    async def _answer(self, request: _Request) -> bytes:
        began = self._clock()
        outcome = "error"
        try:
            status, data, error = await self._patient_exchange(request, began + request.deadline)
            outcome = str(status)
            if error is not None:
                raise error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise errors.no_answer(problem) from problem
        finally:
            self._observe(
                CompletedRequest(request.method, _resource(request.path), outcome, self._clock() - began)
            )
        return data

    async def _patient_exchange(
        self, request: _Request, until: float
    ) -> tuple[int, bytes, errors.KubeError | None]:
        """Send a request, a read again after the pauses that the server asks for."""
        answer = await self._authorized_exchange(request)
        for _ in range(_WAITS if request.method == "GET" else 0):
            pause = answer[2].retry_after if answer[2] is not None else None
            if pause is None or self._clock() + pause >= until:
                break
            await asyncio.sleep(pause)
            answer = await self._authorized_exchange(request)
        return answer

    async def _authorized_exchange(self, request: _Request) -> tuple[int, bytes, errors.KubeError | None]:
        """Send a request, once more if its credentials were refused."""
        status, data, retry_after = await self._exchange(request)
        if status == HTTPStatus.UNAUTHORIZED:
            self._refused = True
            status, data, retry_after = await self._exchange(request)
        refused = status >= HTTPStatus.BAD_REQUEST
        return status, data, errors.from_answer(status, data, retry_after) if refused else None

    async def _exchange(self, request: _Request) -> tuple[int, bytes, str | None]:
        response = await self._open(request, aiohttp.ClientTimeout(total=request.deadline))
        async with response:
            return response.status, await response.read(), response.headers.get("Retry-After")

    async def _open(self, request: _Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send a request and return the answer, of which the body has not been read."""
        session, credentials = await self._connected()
        if request.content_type == APPLY and isinstance(request.body, dict):
            body: bytes | None = apply_body.apply_body(request.body)
        else:
            body = None if request.body is None else json.dumps(request.body).encode()
        headers = [("Accept", JSON), ("User-Agent", self._user_agent), *credentials.impersonation]
        if body is not None:
            headers.append(("Content-Type", request.content_type))
        if credentials.authorization:
            headers.append(("Authorization", credentials.authorization))
        query = f"?{urlencode(request.query)}" if request.query else ""
        return await session.request(
            request.method,
            f"{credentials.endpoint.server}{request.path}{query}",
            data=body,
            headers=headers,
            proxy=credentials.endpoint.http_proxy,
            timeout=limits,
        )

    async def _connected(self) -> tuple[aiohttp.ClientSession, Credentials]:
        # One at a time: what gives credentials may be a program that asks a person.
        async with self._connecting:
            return await self._session_and_credentials()

    async def _session_and_credentials(self) -> tuple[aiohttp.ClientSession, Credentials]:
        now = self._clock()
        fresh = self._read_at and now - self._read_at < _FRESH and not self._refused
        if self._session is not None and self._used is not None and fresh:
            return self._session, self._used
        refused, self._refused = self._refused, False
        read = await self._credentials.read(refused=refused)
        if self._session is None or self._used is None or read.endpoint != self._used.endpoint:
            await self.close()
            try:
                connector = connector_to(read.endpoint, limit=_CONNECTIONS)
            except EndpointError as error:
                raise errors.RefusedError(0, "NoCredentials", str(error)) from error
            # What the environment says of proxies is in the credentials: not to be looked for each time.
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        self._used = read
        self._read_at = now
        return self._session, read


def _event(line: bytes) -> Json:
    """Read one event of a watch; one that says what went wrong is raised."""
    event: Any = json.loads(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise ValueError("an event of a watch is not an object")  # noqa: TRY004 - it is the server's text
    if event.get("type") == "ERROR":
        raise errors.from_answer(int(event["object"].get("code") or 500), json.dumps(event["object"]))
    return event


def _resource(path: str) -> str:
    """Return the plural name in an API path, with its subresource: a bounded set of label values."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004
        parts = parts[2:]
    return "/".join([*parts[:1], *parts[2:3]])
