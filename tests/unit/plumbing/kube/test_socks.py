"""Requests through a SOCKS5 proxy: siderolabs/talos#11665, davidB/kubectl-view-allocations#235."""

import asyncio
import contextlib
import ssl

import pytest
from aiohttp import web
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Client
from podnuma.plumbing.kube.credentials import Credentials
from podnuma.plumbing.kube.endpoint import Endpoint

from testbed.pki import DAY, Authority

SERVER = "api.behind.invalid"  # a name that only the proxy knows


class Proxy:
    """A SOCKS5 proxy that connects whatever it is asked for to one port of this machine."""

    def __init__(self, port, *, login=b"", reply=0, speaks=b"\x05"):
        self.asked = []
        self._port, self._login, self._reply, self._speaks = port, login, reply, speaks

    async def handle(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader, writer):
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self._login else 0
        writer.write(self._speaks + bytes([method if method in methods else 255]))
        if method == 2 and method in methods:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(bytes([1, user + b":" + password != self._login]))
        _, _, _, kind, length = await reader.readexactly(5)
        name = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append((kind, name.decode(), port))
        # An answer may have an address of any kind.
        writer.write(bytes([5, self._reply, 0, 4]) + bytes(18))
        if self._reply:
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, source, target):
        while data := await source.read(65536):
            target.write(data)
        target.close()


@contextlib.asynccontextmanager
async def running(proxy):
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def api_server(context=None):
    async def answer(_):
        return web.json_response({"ok": True})

    application = web.Application()
    application.router.add_get("/version", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Access:
    """Credentials of nobody for one endpoint."""

    def __init__(self, endpoint):
        self._endpoint = endpoint

    async def read(self, *, refused=False):
        del refused
        return Credentials(self._endpoint)


async def version(**endpoint):
    client = Client(Access(Endpoint(**endpoint)), user_agent="test")
    try:
        return await client.get("/version", deadline=20)
    finally:
        await client.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_the_proxy_is_given_the_name_and_connects(scheme):
    async with api_server() as port, running(proxy := Proxy(port)) as where:
        assert await version(server=f"http://{SERVER}:8080", proxy=f"{scheme}://{where}") == {"ok": True}
    assert proxy.asked == [(3, SERVER, 8080)]


async def test_the_certificate_is_that_of_the_server_behind_it(tmp_path):
    authority = Authority(tmp_path, DAY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("behind", "server", hosts=(SERVER,)))
    trusted = authority.ca_file.read_bytes()
    async with api_server(context) as port, running(Proxy(port)) as where:
        asked = {"proxy": f"socks5://{where}", "authority": trusted}
        assert await version(server=f"https://{SERVER}", **asked) == {"ok": True}
        with pytest.raises(errors.UncertainError, match="certificate"):
            await version(server="https://other.invalid", **asked)


async def test_a_proxy_may_want_a_login():
    async with api_server() as port, running(Proxy(port, login=b"me:s:cret")) as where:
        at = {"server": f"http://{SERVER}"}
        assert await version(proxy=f"socks5://me:s%3Acret@{where}", **at) == {"ok": True}
        with pytest.raises(errors.UncertainError, match="authentication failure"):
            await version(proxy=f"socks5://me:other@{where}", **at)
        with pytest.raises(errors.UncertainError, match="authentication methods"):
            await version(proxy=f"socks5://{where}", **at)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reply": 2}, "not allowed by ruleset"),
        ({"reply": 99}, "Invalid reply code"),
        ({"speaks": b"H"}, "Unexpected SOCKS version number"),
    ],
)
async def test_why_there_is_no_connection_is_said_with_the_proxy(options, said):
    async with running(Proxy(1, **options)) as where:
        with pytest.raises(errors.UncertainError, match=said) as failed:
            await version(server=f"http://{SERVER}", proxy=f"socks5://{where}")
        assert where in str(failed.value)


async def test_a_proxy_that_is_not_there_is_named():
    with pytest.raises(errors.UncertainError, match=r"SOCKS5 proxy 127\.0\.0\.1:1: "):
        await version(server=f"http://{SERVER}", proxy="socks5://127.0.0.1:1")


async def test_a_proxy_that_nobody_knows_how_to_speak_to_is_named():
    with pytest.raises(errors.RefusedError, match="the proxy for http://x is 'socks4://p'; podnuma knows"):
        await version(server="http://x", proxy="socks4://p")
