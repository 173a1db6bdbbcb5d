"""Connections through a SOCKS5 proxy (RFC 1928; RFC 1929 for a user and password), as `ssh -D` offers one.

The proxy is given the server's name and looks it up itself, as for kubectl: behind it are names that nobody
else knows. aiohttp knows HTTP proxies only; what is overridden here are the two steps in which it looks a
name up and opens a socket.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp
from podnuma.plumbing.kube.endpoint import EndpointError, proxy_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import ResolveResult
    from aiohttp.client_proto import ResponseHandler
    from podnuma.plumbing.kube.endpoint import Endpoint

_VERSION: Final = 5
_NO_LOGIN, _LOGIN = 0, 2
_PORT: Final = 1080
_LONGEST: Final = 255
_REPLIES: Final = {
    1: "general failure",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "connection refused",
    6: "the time to live has passed",
    7: "it does not know the command",
    8: "it does not know the kind of address",
}
_ADDRESS_SIZES: Final = {1: 4, 4: 16}
_NAME: Final = 3


def connector_to(endpoint: Endpoint, *, limit: int) -> aiohttp.TCPConnector:
    """Return what opens connections to a server; EndpointError if its certificates or proxy are unusable."""
    context = endpoint.ssl_context()
    if endpoint.proxy and (problem := proxy_problem(endpoint.proxy)):
        raise EndpointError(f"the proxy for {endpoint.server} {problem}")
    if endpoint.proxy and endpoint.http_proxy is None:
        return _SocksConnector(urlsplit(endpoint.proxy), limit=limit, ssl=context)
    return aiohttp.TCPConnector(limit=limit, ssl=context)


class _SocksConnector(aiohttp.TCPConnector):
    """A connector whose sockets come from a SOCKS5 proxy."""

    def __init__(self, proxy: SplitResult, **options: Any) -> None:
        super().__init__(**options)
        self._proxy = proxy

    async def _resolve_host(
        self,
        host: str,
        port: int,
        traces: Sequence[Any] | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> list[ResolveResult]:
        """Return the name itself."""
        return [
            {"hostname": host, "host": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        ]

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: Any,
        timeout: Any,  # noqa: ASYNC109 - aiohttp's signature
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **options: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port = addr_infos[0][4][:2]
        try:
            async with asyncio.timeout(timeout.sock_connect):
                sock = await open_socket(self._proxy, host, port)
        except TimeoutError:
            raise
        except OSError as error:
            raise aiohttp.ClientProxyConnectionError(req.connection_key, error) from error
        try:
            return await self._loop.create_connection(*args, **options, sock=sock)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise client_error(req.connection_key, error) from error
            raise


async def open_socket(proxy: SplitResult, host: str, port: int) -> socket.socket:
    """Return a socket that the proxy has connected. OSError says why there is none."""
    sock: socket.socket | None = None
    try:
        sock = await _reached(proxy)
        await _greet(sock, proxy)
        await _ask(sock, host, port)
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, OSError):
            where = f"SOCKS5 proxy {proxy.hostname}:{proxy.port or _PORT}"
            raise ConnectionError(errno.ECONNABORTED, f"{where}: {error.strerror or error}") from error
        raise
    return sock


async def _reached(proxy: SplitResult) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(proxy.hostname, proxy.port or _PORT, type=socket.SOCK_STREAM)
    failed: OSError = ConnectionError(f"{proxy.hostname} has no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


async def _greet(sock: socket.socket, proxy: SplitResult) -> None:
    """Agree with the proxy on how to log in, and do so where it wants that."""
    loop = asyncio.get_running_loop()
    user, password = (unquote(part or "").encode() for part in (proxy.username, proxy.password))
    methods = [_NO_LOGIN, _LOGIN] if user else [_NO_LOGIN]
    await loop.sock_sendall(sock, bytes([_VERSION, len(methods), *methods]))
    version, method = await _read(sock, 2)
    if version != _VERSION:
        raise ConnectionError("it does not speak SOCKS5; is it an HTTP proxy? then name it http://")
    if method not in methods:
        raise ConnectionError("it wants a login; name one as socks5://USER:PASSWORD@HOST:PORT")
    if method == _LOGIN:
        if max(len(user), len(password)) > _LONGEST:
            raise ConnectionError(f"its user and password have at most {_LONGEST} bytes")
        await loop.sock_sendall(sock, bytes([1, len(user), *user, len(password), *password]))
        if (await _read(sock, 2))[1]:
            raise ConnectionError("it does not take this user and password")


async def _ask(sock: socket.socket, host: str, port: int) -> None:
    """Have the proxy connect to a server."""
    name = host.encode("idna") if not host.isascii() else host.encode()
    if len(name) > _LONGEST:
        raise ConnectionError(f"{host} is longer than a name may be")
    asked = bytes([_VERSION, 1, 0, _NAME, len(name), *name]) + port.to_bytes(2)
    await asyncio.get_running_loop().sock_sendall(sock, asked)
    _, reply, _, kind = await _read(sock, 4)
    if reply:
        raise ConnectionError(f"no way to {host}:{port}: {_REPLIES.get(reply, f'answer {reply}')}")
    size = _ADDRESS_SIZES.get(kind) or (await _read(sock, 1))[0]
    await _read(sock, size + 2)  # the address that the proxy connects from


async def _read(sock: socket.socket, size: int) -> bytes:
    """Read as many bytes, and none of what follows them."""
    data = b""
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not part:
            raise ConnectionError("it closed the connection")
        data += part
    return data
