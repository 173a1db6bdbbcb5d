import asyncio
import tempfile
from pathlib import Path

import pytest
import pytest_asyncio
from podnuma.agent.nri import mux, ttrpc
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.service import PLUGIN_SERVICE
from podnuma.agent.nri.values import NriEvent

from testbed.nri import Recorder


class Peer:
    """The runtime's end of one connection, for sending it things that a runtime would not."""

    def __init__(self, reader, writer):
        self._reader, self.writer = reader, writer
        self._demux = mux.Demux()
        self._readers = {mux.PLUGIN_CONN: ttrpc.MessageReader(), mux.RUNTIME_CONN: ttrpc.MessageReader()}
        self._messages = []
        self._stream = -1

    def send(self, conn, data):
        self.writer.write(mux.frames(conn, data))

    def call(self, method, payload=b"", service=PLUGIN_SERVICE, timeout=0.0):
        """Start a call of the plugin and return its stream."""
        self._stream += 2
        request = ttrpc.Request(self._stream, service, method, payload, timeout)
        self.send(mux.PLUGIN_CONN, ttrpc.request(request))
        return self._stream

    async def next(self):
        """The next message of the plugin, with its connection."""
        async with asyncio.timeout(10):
            while not self._messages:
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError
                for chunk in self._demux.feed(data):
                    self._messages += [(chunk.conn, m) for m in self._readers[chunk.conn].feed(chunk.data)]
        return self._messages.pop(0)

    async def answer_of(self, stream):
        conn, message = await self.next()
        assert (conn, message.stream) == (mux.PLUGIN_CONN, stream)
        return ttrpc.read_response(message, "test")

    async def accept(self):
        """Take the registration, and configure and synchronize the plugin."""
        conn, message = await self.next()
        request = ttrpc.read_request(message)
        assert (conn, request.service, request.method) == (
            mux.RUNTIME_CONN,
            "nri.pkg.api.v1alpha1.Runtime",
            "RegisterPlugin",
        )
        self.send(mux.RUNTIME_CONN, ttrpc.response(message.stream, b""))
        configure = pb.ConfigureRequest(runtime_name="fake", request_timeout=2000, nri_version="v0.12.3")
        await self.answer_of(self.call("Configure", configure.SerializeToString()))
        await self.answer_of(self.call("Synchronize"))
        return request


class FakeRuntime:
    """Listens on a socket; each connection of a plugin is a Peer."""

    def __init__(self, socket):
        self.socket = socket
        self._fresh: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []

    async def listen(self):
        self._server = await asyncio.start_unix_server(self._accept, self.socket)

    def _accept(self, reader, writer):
        self._all.append(Peer(reader, writer))
        self._fresh.put_nowait(self._all[-1])

    async def connection(self):
        return await asyncio.wait_for(self._fresh.get(), 10)

    async def close(self):
        self._server.close()
        for peer in self._all:
            peer.writer.transport.abort()
        await self._server.wait_closed()


@pytest.fixture
def plugin():
    return Recorder()


@pytest_asyncio.fixture
async def fake_runtime():
    with tempfile.TemporaryDirectory() as folder:
        runtime = FakeRuntime(Path(folder, "nri.sock"))
        await runtime.listen()
        yield runtime
        await runtime.close()


@pytest.fixture
def settings(fake_runtime):
    return PluginConfig(name="podnuma", index="10", events=frozenset(NriEvent), socket=fake_runtime.socket)
