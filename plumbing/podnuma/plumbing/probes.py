"""The port for /healthz, /readyz and /metrics.

A check returns None when all is well, else one sentence that says what is wrong: the body
of the 503. The server reads one GET request per connection, up to
a few kilobytes and a few seconds: no client can block the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[], str | None]

_LONGEST_REQUEST = 8 * 1024
_TIMEOUT = 5.0  # seconds for the whole request


@dataclass(frozen=True, slots=True)
class Response:
    """Status, content type and body of an HTTP response."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Probes:
    """What the port serves. `metrics` returns a content type and the exposition text."""

    healthy: Check
    ready: Check
    metrics: Callable[[], tuple[str, bytes]]

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


async def serve(probes: Probes, host: str, port: int) -> asyncio.Server:
    """Listen until the returned server is closed; port 0 takes a free one."""

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
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                known = len(words) == 3  # noqa: PLR2004 - method, target, version
                reply = probes.answer(words[0], words[1]) if known else _text(400, "not HTTP")
                reason = http.HTTPStatus(reply.status).phrase
                writer.write(
                    f"HTTP/1.1 {reply.status} {reason}\r\nContent-Type: {reply.content_type}\r\n"
                    f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n".encode("latin-1")
                )
                if words[0] != "HEAD":
                    writer.write(reply.body)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    return await asyncio.start_server(connection, host, port, limit=_LONGEST_REQUEST)
