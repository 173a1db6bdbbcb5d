import asyncio
import contextlib
from dataclasses import replace

import pytest
import pytest_asyncio
from podnuma.agent.nri import mux, ttrpc
from podnuma.agent.nri.errors import CallError, DisconnectedError, NotConnectedError, ProtocolError
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.service import PluginService
from podnuma.agent.nri.session import Session
from podnuma.agent.nri.values import ContainerUpdate, CreateContainerResponse, LinuxResources


@pytest_asyncio.fixture
async def start(plugin, settings, fake_runtime):
    """Start a session, and return it with its task and the runtime's end."""
    tasks = []

    async def start(**changes):
        changed = replace(settings, **changes)
        session = Session(PluginService(plugin, changed), changed)
        task = asyncio.create_task(session.run())
        tasks.append(task)
        return session, task, await fake_runtime.connection()

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def end_of(task):
    """The one reason for which a session ended."""
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(task, 10)
    (error,) = caught.value.exceptions
    return error


async def test_registration_says_name_index_and_version(start):
    _session, _task, peer = await start()
    request = pb.RegisterPluginRequest.FromString((await peer.accept()).payload)
    assert (request.plugin_name, request.plugin_idx, request.nri_version) == ("podnuma", "10", "v0.12.3")


async def test_runtime_may_configure_before_it_answers_the_registration(start):
    session, _task, peer = await start()
    await peer.next()
    await peer.answer_of(peer.call("Configure"))
    await peer.answer_of(peer.call("Synchronize"))
    assert not session.serves_here()


async def test_quick_call_is_answered_while_a_slow_one_waits(start, plugin):
    _session, _task, peer = await start()
    await peer.accept()
    gate = asyncio.Event()
    plugin.before_answer = gate.wait
    slow = peer.call("CreateContainer")
    await plugin.told("create")
    plugin.before_answer = None
    await peer.answer_of(peer.call("StopContainer"))
    gate.set()
    await peer.answer_of(slow)


async def test_answer_of_many_frames_arrives_in_one_piece(start, plugin):
    _session, _task, peer = await start()
    await peer.accept()
    updates = tuple(ContainerUpdate(f"c{number}", LinuxResources(cpus="1")) for number in range(2000))
    plugin.answer = CreateContainerResponse(updates=updates)
    first, second = peer.call("CreateContainer"), peer.call("CreateContainer")
    for stream in (first, second):
        response = pb.CreateContainerResponse.FromString(await peer.answer_of(stream))
        assert len(response.update) == 2000


async def test_answer_that_would_overflow_the_runtimes_queue_becomes_an_error(start, plugin):
    _session, _task, peer = await start()
    await peer.accept()
    plugin.answer = CreateContainerResponse(adjust=LinuxResources(unified={"x": "y" * 600_000}))
    with pytest.raises(CallError, match="at most 524288 can be sent"):
        await peer.answer_of(peer.call("CreateContainer"))


async def test_data_of_an_unknown_connection_is_passed_over(start):
    _session, _task, peer = await start()
    await peer.accept()
    peer.send(7, b"whatever this is")
    await peer.answer_of(peer.call("StopContainer"))


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "a frame on connection 1195725856 announces"),
        (mux.frames(1, bytes.fromhex("7fffffff000000090100")), "announces 2147483647 bytes"),
        (mux.frames(1, ttrpc.response(1, b"")), "expected a request"),
        (mux.frames(2, ttrpc.response(99, b"")), "a RESPONSE on stream 99, which no call opened"),
        (mux.frames(2, ttrpc.request(ttrpc.Request(1, "s", "m", b"", 0))), "a REQUEST on stream 1"),
        (mux.frames(1, bytes.fromhex("00000002000000090100") + b"\xff\xff"), "is not protobuf"),
    ],
    ids=["http", "endless message", "answer to nothing", "unknown stream", "wrong way", "no protobuf"],
)
async def test_garbage_ends_the_session_with_the_reason(start, garbage, why):
    _session, task, peer = await start()
    await peer.accept()
    peer.writer.write(garbage)
    error = await end_of(task)
    assert isinstance(error, ProtocolError)
    assert why in str(error)


async def test_flood_of_calls_ends_the_session(start, plugin):
    _session, task, peer = await start(concurrent_calls=3)
    await peer.accept()
    plugin.before_answer = asyncio.Event().wait
    for _ in range(4):
        peer.call("CreateContainer")
    assert "has 3 calls under way" in str(await end_of(task))


async def test_callbacks_are_cancelled_when_the_runtime_goes(start, plugin):
    _session, task, peer = await start()
    await peer.accept()
    cancelled = asyncio.Event()

    async def hang():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        cancelled.set()
        raise asyncio.CancelledError

    plugin.before_answer = hang
    peer.call("CreateContainer")
    await plugin.told("create")
    peer.writer.close()
    assert str(await end_of(task)) == "the runtime closed the connection"
    assert cancelled.is_set()


async def test_runtime_that_never_configures_is_given_up(start):
    _session, task, _peer = await start(registration_timeout=0.05)
    error = await end_of(task)
    assert isinstance(error, DisconnectedError)
    assert str(error) == "the runtime did not configure us within 0.05 s"


async def test_runtime_that_configures_and_never_synchronizes_is_given_up(start):
    """It took too long for the runtime, which goes on without us and leaves us connected."""
    _session, task, peer = await start(synchronization_timeout=0.05)
    _conn, message = await peer.next()
    peer.send(mux.RUNTIME_CONN, ttrpc.response(message.stream, b""))
    await peer.answer_of(peer.call("Configure", pb.ConfigureRequest(runtime_name="fake").SerializeToString()))
    error = await end_of(task)
    assert isinstance(error, DisconnectedError)
    assert str(error).startswith("the runtime configured us and did not synchronize us within 0.05 s")
    assert "plugin_request_timeout" in str(error)


async def test_refused_registration_ends_the_session_with_the_runtimes_words(start):
    _session, task, peer = await start()
    _conn, message = await peer.next()
    peer.send(
        mux.RUNTIME_CONN,
        ttrpc.error_response(message.stream, ttrpc.StatusCode.UNKNOWN, "invalid plugin index"),
    )
    assert (
        "registration refused: RegisterPlugin: the runtime answered with code 2: invalid plugin index"
        in str(await end_of(task))
    )


async def test_runtime_that_reads_nothing_is_given_up(start, plugin):
    _session, task, peer = await start(write_timeout=0.1)
    await peer.accept()
    plugin.answer = CreateContainerResponse(adjust=LinuxResources(unified={"x": "y" * 500_000}))
    for _ in range(20):  # far more than a socket buffers
        peer.call("CreateContainer")
    error = await end_of(task)
    assert str(error) == "the runtime read nothing for 0.1 s"


async def test_socket_that_is_not_there_is_said(plugin, settings, tmp_path):
    gone = replace(settings, socket=tmp_path / "none.sock")
    with pytest.raises(DisconnectedError, match="cannot connect: No such file or directory"):
        await Session(PluginService(plugin, gone), gone).run()


async def test_calls_to_the_runtime_use_odd_increasing_streams_and_match_answers(start):
    session, _task, peer = await start()
    await peer.accept()
    calls = [asyncio.create_task(session.call("UpdateContainers", b"", 10)) for _ in range(2)]
    messages = [(await peer.next())[1] for _ in range(2)]
    assert [message.stream for message in messages] == [3, 5]
    assert ttrpc.read_request(messages[0]).timeout == 10
    peer.send(mux.RUNTIME_CONN, ttrpc.response(5, b"second"))
    peer.send(mux.RUNTIME_CONN, ttrpc.response(3, b"first"))
    assert await asyncio.gather(*calls) == [b"first", b"second"]


async def test_answer_to_a_call_that_was_given_up_is_passed_over(start):
    session, _task, peer = await start()
    await peer.accept()
    with pytest.raises(TimeoutError):
        await session.call("UpdateContainers", b"", 0.02)
    peer.send(mux.RUNTIME_CONN, ttrpc.response((await peer.next())[1].stream, b""))
    await peer.answer_of(peer.call("StopContainer"))


async def test_call_under_way_ends_with_the_session(start):
    session, task, peer = await start()
    await peer.accept()
    call = asyncio.create_task(session.call("UpdateContainers", b"", 10))
    await peer.next()
    peer.writer.close()
    with pytest.raises(DisconnectedError, match="UpdateContainers: the connection ended"):
        await call
    await end_of(task)
    with pytest.raises(NotConnectedError, match="UpdateContainers: the connection to the runtime is closed"):
        await session.call("UpdateContainers", b"", 10)
