"""Raw requests over the official asyncio client: credentials, deadlines, JSON in and out.

Credentials come from a kubeconfig or from the pod's service account, and are read again
every minute and after a 401, because tokens rotate. Every request has a deadline, and a
write also sends it to the server (`timeout=`), so that a write which was given up here is
not carried out there long afterwards.

Whatever goes wrong is raised as one of `errors`; no caller sees an error of the HTTP library.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio.config import ConfigException, incluster_config, kube_config
from podnuma.plumbing.kube import apply_body, errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

Json = dict[str, Any]
Version = NewType("Version", str)

APPLY = apply_body.CONTENT_TYPE
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

# The library passes a body on as it is only where it does not know the type by this very name.
_ENCODED_APPLY = f"{APPLY}; charset=utf-8"
_FRESH = 60.0  # seconds that credentials are used before their files are read again
_UNAUTHORIZED = 401

# The package says it is typed, but these functions carry no annotations.
_UNTYPED_INCLUSTER: Any = incluster_config
_UNTYPED_KUBECONFIG: Any = kube_config


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Where the credentials are: a context of a kubeconfig or, without one, the pod's service account."""

    kubeconfig: Path | None = None
    context: str | None = None

    async def read(self) -> kubernetes_client.Configuration:
        """Read the current credentials; RefusedError says what is missing."""
        configuration = kubernetes_client.Configuration()
        try:
            if self.kubeconfig is None:
                _UNTYPED_INCLUSTER.load_incluster_config(
                    client_configuration=configuration, try_refresh_token=False
                )
            else:
                await _UNTYPED_KUBECONFIG.load_kube_config(
                    config_file=str(self.kubeconfig), context=self.context, client_configuration=configuration
                )
        except (ConfigException, OSError) as error:
            where = self.kubeconfig or "the pod's service account"
            raise errors.RefusedError(
                0, "NoCredentials", f"cannot read credentials from {where}: {error}"
            ) from error
        configuration.retries = None
        # Else the environment is searched for a proxy again with every request, at a tenth of its cost.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        return configuration

    async def authorization(self) -> str | None:
        """Read the current value of the Authorization header; None with client certificates."""
        return await authorization(await self.read())


def _proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY)."""
    address = urlsplit(server)
    if address.hostname is None or proxy_bypass(address.hostname):
        return None
    return getproxies().get(address.scheme)


async def authorization(configuration: kubernetes_client.Configuration) -> str | None:
    """Return the value of the Authorization header in a configuration."""
    auth = (await configuration.auth_settings()).get("BearerToken")
    return str(auth["value"]) if auth else None


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
        self._api: kubernetes_client.ApiClient | None = None
        self._endpoint: tuple[object, ...] = ()
        self._authorization: str | None = None
        self._read_at = 0.0

    async def close(self) -> None:
        """Close the connections."""
        if self._api is not None:
            api: Any = self._api
            await api.close()
            self._api = None

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
        response: Any = None
        try:
            response = await self._open(_Request("GET", path, 0, asked), limits)
            if response.status >= 400:  # noqa: PLR2004
                if response.status == _UNAUTHORIZED:
                    self._read_at = 0.0
                raise errors.from_answer(response.status, await response.read())
            rest = b""
            # Not line by line: the reader refuses lines longer than its buffer.
            async for chunk in response.response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise errors.no_answer(error) from error
        finally:
            if response is not None:
                response.response.close()

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
            status, data, retry_after = await self._exchange(request)
            if status == _UNAUTHORIZED:
                self._read_at = 0.0
                status, data, retry_after = await self._exchange(request)
            outcome = str(status)
            if status >= 400:  # noqa: PLR2004
                raise errors.from_answer(status, data, retry_after)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise errors.no_answer(error) from error
        finally:
            self._observe(
                CompletedRequest(request.method, _resource(request.path), outcome, self._clock() - began)
            )
        return data

    async def _exchange(self, request: _Request) -> tuple[int, bytes, str | None]:
        response = await self._open(request, aiohttp.ClientTimeout(total=request.deadline))
        data: bytes = await response.read()
        return int(response.status), data, response.getheader("Retry-After")

    async def _open(self, request: _Request, limits: aiohttp.ClientTimeout) -> Any:
        """Send a request and return the answer, of which the body has not been read."""
        api = await self._connected()
        body: object = request.body
        content_type = request.content_type
        if content_type == APPLY and isinstance(body, dict):
            body, content_type = apply_body.apply_body(body), _ENCODED_APPLY
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": self._user_agent}
        if self._authorization:
            headers["Authorization"] = self._authorization
        query = f"?{urlencode(request.query)}" if request.query else ""
        return await api.call_api(
            request.method,
            f"{api.configuration.host}{request.path}{query}",
            headers,
            body,
            _request_timeout=limits,
        )

    async def _connected(self) -> kubernetes_client.ApiClient:
        now = self._clock()
        if self._api is not None and self._read_at and now - self._read_at < _FRESH:
            return self._api
        configuration = await self._credentials.read()
        self._authorization = await authorization(configuration)
        endpoint = (
            configuration.host,
            configuration.ssl_ca_cert,
            configuration.cert_file,
            configuration.key_file,
            configuration.verify_ssl,
        )
        if self._api is None or endpoint != self._endpoint:
            await self.close()
            self._api = kubernetes_client.ApiClient(configuration)
            self._endpoint = endpoint
        self._read_at = now
        return self._api


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
