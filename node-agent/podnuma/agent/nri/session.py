"""One connection to the runtime, from connect to its end.

The plugin registers on connection 2 while it already serves connection 1: the runtime may call
Configure before it answers the registration. From then on calls of the runtime run in a task
each; answers go out in whatever order they are ready, each message in one piece.

A session ends by raising: ProtocolError for garbage, DisconnectedError for all else. It never tries
to go on after garbage, since the place where the next frame starts is unknown then.
"""

import asyncio
from contextlib import suppress
from typing import Final

from podnuma.agent.nri import mux, ttrpc
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.errors import CallError, DisconnectedError, NotConnectedError, ProtocolError
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.service import PluginService

RUNTIME_SERVICE: Final = "nri.pkg.api.v1alpha1.Runtime"
NRI_VERSION: Final = "v0.12.3"  # whose call forms this package knows

_READ_SIZE: Final = 64 << 10

# The Go side queues 256 frames per connection and drops the trunk when that overflows.
_SENT_MESSAGE_MAX: Final = 128 * mux.SENT_PAYLOAD_MAX


class Session:
    """Runs once. It alone holds the socket, and knows which calls are under way in either direction.

    `gave_up`: it ended because the runtime did not configure or synchronize us in time, which is the times of
    the configuration, `patience` times.
    """

    def __init__(self, service: PluginService, config: PluginConfig, patience: int = 1) -> None:
        self.gave_up = False
        self._service = service
        self._config = config
        self._patience = patience
        self._writer: asyncio.StreamWriter | None = None
        self._write_lock = asyncio.Lock()
        self._serving: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._end_reason = ""
        self._stream = -1
        self._waiting: dict[int, asyncio.Future[ttrpc.Message | None]] = {}  # None: the session is over

    def end(self, reason: str) -> None:
        """Let `run` end, with calls under way left unanswered, as when the runtime closes the connection."""
        self._end_reason = reason
        self._ended.set()

    async def run(self) -> None:
        """Connect and serve until the connection ends; always ends by an exception, perhaps in a group."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._config.socket)
        except OSError as error:
            raise DisconnectedError(f"cannot connect: {error.strerror or error}") from error
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(reader, group))
                group.create_task(self._register())
                group.create_task(self._wait_for_end())
        finally:
            self._writer.transport.abort()  # close() would linger for a peer that does not read
            for future in self._waiting.values():
                if not future.done():
                    future.set_result(None)
            with suppress(OSError):
                await self._writer.wait_closed()

    async def _wait_for_end(self) -> None:
        await self._ended.wait()
        raise DisconnectedError(self._end_reason)

    def serves_here(self) -> bool:
        """Whether the running task is a callback of this session, for which the runtime waits."""
        return asyncio.current_task() in self._serving

    async def call(self, method: str, payload: bytes, within: float) -> bytes:
        """Call the runtime; raises CallError, DisconnectedError, or TimeoutError after `within` seconds."""
        if self._writer is None or self._writer.is_closing():
            raise NotConnectedError(f"{method}: the connection to the runtime is closed")
        self._stream += 2
        stream = self._stream
        future: asyncio.Future[ttrpc.Message | None] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = future
        try:
            async with asyncio.timeout(within):
                request = ttrpc.Request(stream, RUNTIME_SERVICE, method, payload, within)
                await self._send(mux.RUNTIME_CONN, ttrpc.request(request))
                response = await future
        finally:
            del self._waiting[stream]
        if response is None:
            raise DisconnectedError(f"{method}: the connection ended before the runtime answered")
        return ttrpc.read_response(response, method)

    async def _register(self) -> None:
        request = pb.RegisterPluginRequest(
            plugin_name=self._config.name, plugin_idx=self._config.index, nri_version=NRI_VERSION
        )
        within = self._config.registration_timeout * self._patience
        try:
            async with asyncio.timeout(within):
                await self.call("RegisterPlugin", request.SerializeToString(), within)
                await self._service.configured.wait()
        except CallError as error:
            raise DisconnectedError(f"registration refused: {error}") from error
        except TimeoutError:
            self.gave_up = True
            raise DisconnectedError(f"the runtime did not configure us within {within:g} s") from None
        within = self._config.synchronization_timeout * self._patience
        try:
            async with asyncio.timeout(within):
                await self._service.synchronized.wait()
        except TimeoutError:
            # A runtime to which that took too long may go on without us and leave us connected.
            self.gave_up = True
            raise DisconnectedError(
                f"the runtime configured us and did not synchronize us within {within:g} s; if its log says"
                " that this took too long, raise plugin_request_timeout in its NRI configuration"
            ) from None

    async def _read(self, reader: asyncio.StreamReader, group: asyncio.TaskGroup) -> None:
        demux = mux.Demux()
        readers = {mux.PLUGIN_CONN: ttrpc.MessageReader(), mux.RUNTIME_CONN: ttrpc.MessageReader()}
        while data := await _read_some(reader):
            for chunk in demux.feed(data):
                if chunk.conn in readers:
                    for message in readers[chunk.conn].feed(chunk.data):
                        self._take(chunk.conn, message, group)
        raise DisconnectedError("the runtime closed the connection")

    def _take(self, conn: int, message: ttrpc.Message, group: asyncio.TaskGroup) -> None:
        if conn == mux.PLUGIN_CONN:
            self._start_serving(ttrpc.read_request(message), group)
            return
        if message.kind is not ttrpc.MessageType.RESPONSE or message.stream > self._stream:
            raise ProtocolError(
                f"connection 2 brought a {message.kind.name} on stream {message.stream}, which no call opened"
            )
        future = self._waiting.get(message.stream)
        if future is not None and not future.done():  # else the answer to a call that was given up
            future.set_result(message)

    def _start_serving(self, call: ttrpc.Request, group: asyncio.TaskGroup) -> None:
        if len(self._serving) >= self._config.concurrent_calls:
            raise ProtocolError(
                f"the runtime has {len(self._serving)} calls under way; it makes one at a time"
            )
        task = group.create_task(self._serve(call))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, call: ttrpc.Request) -> None:
        response = await self._service.respond(call)
        if len(response) > _SENT_MESSAGE_MAX:
            text = f"the answer has {len(response)} bytes, at most {_SENT_MESSAGE_MAX} can be sent"
            response = ttrpc.error_response(call.stream, ttrpc.StatusCode.UNKNOWN, text)
        await self._send(mux.PLUGIN_CONN, response)

    async def _send(self, conn: int, message: bytes) -> None:
        if self._writer is None:
            raise NotConnectedError("nothing can be sent before the connection is made")
        within = self._config.write_timeout
        try:
            async with self._write_lock, asyncio.timeout(within):
                self._writer.write(mux.frames(conn, message))
                await self._writer.drain()
        except TimeoutError:
            raise DisconnectedError(f"the runtime read nothing for {within:g} s") from None
        except OSError as error:
            raise DisconnectedError(f"the connection broke: {error.strerror or error}") from error


async def _read_some(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_READ_SIZE)
    except ConnectionResetError:
        return b""  # how the end looks when the runtime left with data of ours unread
    except OSError as error:
        raise DisconnectedError(f"the connection broke: {error.strerror or error}") from error
