import asyncio
import struct

import pytest
from podnuma.agent.cgroups.writers.bus import SystemBus

# The answer to Hello: a method return to message 1 with the text ":1.1".
HELLO = (
    struct.pack("<cBBBIII", b"l", 2, 1, 1, 9, 1, 15)
    + struct.pack("<B3sI", 5, b"\x01u\0", 1)
    + struct.pack("<B3s3sx", 8, b"\x01g\0", b"\x01s\0")
    + struct.pack("<I5s", 4, b":1.1\0")
)


@pytest.fixture
async def listening(tmp_path):
    """Return a function that listens as a system bus does, with its answers to a login and to a call."""
    servers = []

    async def listen(auth: bytes, call: bytes) -> SystemBus:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n")
            writer.write(auth)
            if auth.startswith(b"OK"):
                await reader.readuntil(b"BEGIN\r\n")
                await reader.read(4096)
                writer.write(HELLO)
                await reader.read(4096)
                writer.write(call)
            await writer.drain()
            writer.close()

        path = tmp_path / "system_bus_socket"
        servers.append(await asyncio.start_unix_server(serve, path))
        return SystemBus(f"unix:path={path}")

    yield listen
    for server in servers:
        server.close()


async def test_a_missing_bus_says_what_to_mount(tmp_path):
    bus = SystemBus(f"unix:path={tmp_path}/system_bus_socket")
    with pytest.raises(OSError, match="mount /run/dbus/system_bus_socket"):
        await bus.connect()
    bus.close()


async def test_nothing_is_sent_without_a_connection():
    with pytest.raises(OSError, match="not connected"):
        await SystemBus("unix:path=/nowhere").set_unit_properties("kubepods.slice", [])


async def test_a_bus_that_lets_nobody_in_is_none(listening):
    bus = await listening(b"REJECTED EXTERNAL\r\n", b"")
    with pytest.raises(OSError, match="no system bus"):
        await bus.connect()


@pytest.mark.parametrize("answer", [b"", b"\xff" * 200])
async def test_a_connection_that_ends_during_a_call_is_no_answer_and_is_made_anew(listening, answer):
    """The bus was restarted, or something else listens there: the next write goes over a new connection."""
    bus = await listening(b"OK 1234deadbeef1234deadbeef12345678\r\n", answer)
    for _ in range(2):
        await bus.connect()
        with pytest.raises(OSError, match="the connection to the system bus ended"):
            await bus.set_unit_properties("kubepods-burstable.slice", [("AllowedCPUs", "ay", b"\1")])
    bus.close()
