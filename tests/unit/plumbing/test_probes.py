import asyncio
import contextlib
import errno
import socket

import pytest
from podnuma.plumbing import probes
from podnuma.plumbing.metrics_readers import ReadRefused
from podnuma.plumbing.probes import EVERY_ADDRESS, Probes, serve


@contextlib.asynccontextmanager
async def port(healthy=lambda: None, ready=lambda: None, readers=None, host="127.0.0.1"):
    server = await serve(Probes(healthy, ready, lambda: ("text/plain", b"up 1\n"), readers), host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def send(number, data, host="127.0.0.1"):
    reader, writer = await asyncio.open_connection(host, number)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def test_a_failing_check_answers_503_with_what_is_wrong():
    async with port(ready=lambda: "pods: not listed yet") as number:
        answer = await send(number, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        assert answer.endswith("\r\n\r\npods: not listed yet\n")
        assert (await send(number, b"GET /healthz HTTP/1.1\r\n\r\n")).endswith("ok\n")


async def test_metrics_are_served_with_their_length():
    async with port() as number:
        answer = await send(number, b"GET /metrics?x=1 HTTP/1.1\r\n\r\n")
        assert "Content-Length: 5\r\n" in answer
        assert answer.endswith("up 1\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"\xff\xfe\r\n\r\n", "400"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", ""),
    ],
)
async def test_odd_requests_get_an_error_or_are_dropped(request_bytes, status):
    async with port() as number:
        answer = ""
        with contextlib.suppress(ConnectionError):
            answer = await send(number, request_bytes)
        assert answer.startswith(f"HTTP/1.1 {status}" if status else "")
        assert (await send(number, b"GET /healthz HTTP/1.1\r\n\r\n")).endswith("ok\n")


class Readers:
    """Lets "Bearer known" read."""

    async def refusal(self, authorization):
        return None if authorization == "Bearer known" else ReadRefused(401, "who are you")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Authorization: Bearer known\r\n", "200"),
        (b"Accept: */*\r\nauthorization:Bearer known \r\n", "200"),
        (b"", "401"),
        (b"Authorization: Bearer other\r\n", "401"),
        # Which of two would somebody else have checked?
        (b"Authorization: Bearer known\r\nAuthorization: Bearer known\r\n", "401"),
        (b"X-Authorization: Bearer known\r\n", "401"),
    ],
)
async def test_metrics_are_for_readers_only(headers, status):
    async with port(readers=Readers()) as number:
        for path in (b"/metrics", b"/metrics?x"):
            answer = await send(number, b"GET " + path + b" HTTP/1.1\r\n" + headers + b"\r\n")
            assert answer.startswith(f"HTTP/1.1 {status} ")
            assert ("up 1" in answer) == (status == "200")
            assert ("WWW-Authenticate: Bearer\r\n" in answer) == (status == "401")


async def test_probes_ask_nobody_who_they_are():
    async with port(readers=Readers()) as number:
        for path in (b"/healthz", b"/readyz"):
            assert (await send(number, b"GET " + path + b" HTTP/1.1\r\n\r\n")).endswith("ok\n")


def test_a_process_that_ends_while_somebody_asks_logs_nothing():
    logged: list[dict[str, object]] = []
    client = socket.socket()

    async def life() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: logged.append(context))
        async with port() as number:
            client.connect(("127.0.0.1", number))
            client.send(b"GET /heal")
            for _ in range(10):  # the loop takes the connection in
                await asyncio.sleep(0.001)
            assert len(asyncio.all_tasks()) == 2

    with client:
        asyncio.run(life())
    assert logged == []


@contextlib.asynccontextmanager
async def deaf_client():
    """A client that asks for more than fits into the buffers between it and a port, and reads none of it."""
    asked = asyncio.Event()

    def much():
        asked.set()
        return "text/plain", b"x" * 20_000_000

    server = await serve(Probes(lambda: None, lambda: None, much), "127.0.0.1", 0)
    with contextlib.closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.sockets[0].getsockname())
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        await asked.wait()
        server.close()
        yield


async def test_who_reads_no_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(probes, "_TIMEOUT", 0.2)
    async with deaf_client():
        async with asyncio.timeout(60):
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the port tells nobody
                await asyncio.sleep(0.01)


def test_who_reads_no_answer_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr(probes, "_TIMEOUT", 3600)
    kept = []

    async def life():
        client = deaf_client()
        kept.append(client)  # it stays connected
        await client.__aenter__()

    asyncio.run(life())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_it_answers_on_ipv4_and_on_ipv6(address):
    """zakkg3/ClusterSecret#123: where pods have IPv6 alone, the kubelet asks there and nowhere else."""
    async with port(host=EVERY_ADDRESS) as number:
        assert (await send(number, b"GET /healthz HTTP/1.1\r\n\r\n", address)).endswith("ok\n")


@pytest.mark.parametrize("missing", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
async def test_it_answers_on_ipv4_where_ipv6_is_switched_off(monkeypatch, missing):
    """kubernetes-sigs/dra-driver-nvidia-gpu#328"""
    create = socket.create_server

    def without_ipv6(address, *, family=socket.AF_INET, **options):
        if family == socket.AF_INET6:
            raise OSError(missing, "not here")
        return create(address, family=family, **options)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    async with port(host=EVERY_ADDRESS) as number:
        assert (await send(number, b"GET /healthz HTTP/1.1\r\n\r\n")).endswith("ok\n")


async def test_a_port_that_is_taken_is_not_tried_on_ipv4_alone():
    async with port(host=EVERY_ADDRESS) as number:
        with pytest.raises(OSError, match="in use"):
            await serve(Probes(lambda: None, lambda: None, lambda: ("", b"")), EVERY_ADDRESS, number)
