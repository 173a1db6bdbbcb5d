"""The port for /healthz, /readyz and /metrics.

A check returns None when all is well, else one sentence that says what is wrong: the body
of the 503. The server answers one GET request per connection: up to
a few kilobytes to be read, a few seconds in all. So no client can block the port, or the end of the process.

It listens on IPv4 and IPv6 alike unless one address is named: in a cluster with IPv6 alone the kubelet asks
an IPv6 address, and ends who does not answer there.

With TLS the whole port speaks it; with readers /metrics asks who reads. /healthz and /readyz are for the
kubelet, which has no account: they answer everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from podnuma.plumbing.metrics_readers import METRICS, MetricsReaders

if TYPE_CHECKING:
    import ssl

Check = Callable[[], str | None]

EVERY_ADDRESS: Final = ""
"""As a host to listen on: all addresses that there are, of IPv4 and of IPv6."""

_LONGEST_REQUEST = 8 * 1024
_TIMEOUT = 5.0  # seconds for the whole request
_UNAUTHORIZED = 401
# A kernel without IPv6, and one on whose interfaces it is switched off (net.ipv6.conf.all.disable_ipv6).
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Response:
    """Status, content type and body of an HTTP response."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Probes:
    """What the port serves. `metrics` returns a content type and the exposition text.

    `readers` None: everybody.
    """

    healthy: Check
    ready: Check
    metrics: Callable[[], tuple[str, bytes]]
    readers: MetricsReaders | None = None

    async def admitted(self, method: str, path: str, authorization: str) -> Response:
        """Answer one request; the metrics only to who may read them."""
        if self.readers is not None and path.split("?", 1)[0] == METRICS:
            refusal = await self.readers.refusal(authorization)
            if refusal is not None:
                return _text(refusal.status, refusal.sentence)
        return self.answer(method, path)

    def answer(self, method: str, path: str) -> Response:
        """Answer one request line."""
        if method not in {"GET", "HEAD"}:
            return _text(405, "only GET is answered here")
        match path.split("?", 1)[0]:
            case "/healthz":
                return _verdict(self.healthy())
            case "/readyz":
                return _verdict(self.ready())
            case "/metrics":
                content_type, body = self.metrics()
                return Response(200, content_type, body)
            case _:
                return _text(404, "try /healthz, /readyz or /metrics")


def _verdict(problem: str | None) -> Response:
    return _text(200, "ok") if problem is None else _text(503, problem)


def _text(status: int, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode())


async def serve(probes: Probes, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen until the returned server is closed; port 0 takes a free one. Raises OSError."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the process ends: nothing awaits this task, and asyncio would log it as an error.
        with contextlib.suppress(
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
        ):
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                first, *headers = head.decode("latin-1").split("\r\n")
                words = first.split(" ")
                if len(words) == 3:  # noqa: PLR2004 - method, target, version
                    reply = await probes.admitted(words[0], words[1], _authorization(headers))
                else:
                    reply = _text(400, "not HTTP")
                reason = http.HTTPStatus(reply.status).phrase
                challenge = "WWW-Authenticate: Bearer\r\n" if reply.status == _UNAUTHORIZED else ""
                writer.write(
                    f"HTTP/1.1 {reply.status} {reason}\r\nContent-Type: {reply.content_type}\r\n{challenge}"
                    f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n".encode("latin-1")
                )
                if words[0] != "HEAD":
                    writer.write(reply.body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        # Of who reads no further: what is left to be sent would keep the connection, and this task, for ever.
        writer.transport.abort()

    patience = None if tls is None else _TIMEOUT
    where: dict[str, Any] = {"host": host, "port": port}
    return await asyncio.start_server(
        connection,
        **where if host != EVERY_ADDRESS else {"sock": _everywhere(port)},
        limit=_LONGEST_REQUEST,
        ssl=tls,
        ssl_handshake_timeout=patience,
        ssl_shutdown_timeout=patience,
    )


def _everywhere(port: int) -> socket.socket:
    """Return one socket that listens on all addresses: two would get two ports where any will do."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port))


def _authorization(headers: list[str]) -> str:
    """Return the value of the Authorization header; empty if there is none or more than one."""
    found = [line.split(":", 1)[1].strip() for line in headers if line.lower().startswith("authorization:")]
    return found[0] if len(found) == 1 else ""
