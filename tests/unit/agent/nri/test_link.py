import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio
from podnuma.agent.nri import link as links
from podnuma.agent.nri import mux, ttrpc
from podnuma.agent.nri.errors import NotConnectedError, ProtocolError
from podnuma.agent.nri.link import Link, LinkState
from podnuma.agent.nri.messages import encode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.session import Session
from podnuma.agent.nri.values import ContainerUpdate, LinuxResources

PINNED = ContainerUpdate("c1", LinuxResources(cpus="2-3"))


@pytest_asyncio.fixture
async def attempts():
    return asyncio.Queue()


@pytest_asyncio.fixture
async def link(plugin, settings, attempts):
    def delay(attempt):
        attempts.put_nowait(attempt)
        return 0.001

    link = Link(settings, delay=delay)
    running = asyncio.create_task(link.run(plugin))
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.05), (2, 0.1), (4, 0.4), (7, 2.0), (1000, 2.0)])
def test_delay_doubles_up_to_two_seconds_and_varies_by_half(attempt, longest):
    delays = [links.jittered(attempt) for _ in range(200)]
    assert longest / 2 <= min(delays) < max(delays) <= longest


def test_first_attempt_to_come_back_waits_for_nothing():
    assert links.jittered(0) == 0


async def test_state_follows_the_handshake(link, fake_runtime):
    peer = await fake_runtime.connection()
    assert (link.state, link.runtime) == (LinkState.DOWN, None)
    await peer.next()
    await peer.answer_of(peer.call("Configure", pb.ConfigureRequest(runtime_name="fake").SerializeToString()))
    assert (link.state, link.runtime.name) == (LinkState.CONNECTED, "fake")
    await peer.answer_of(peer.call("Synchronize"))
    assert (link.state, link.runtime.name) == (LinkState.SYNCHRONIZED, "fake")


async def test_a_runtime_that_is_slow_to_register_gets_more_time_each_time(
    plugin, settings, fake_runtime, monkeypatch
):
    """It takes plugins one after the other; who gives up before his turn each time is never registered."""
    waited = []

    class Slow(Session):
        def __init__(self, service, config, patience=1):
            super().__init__(service, config, patience)
            waited.append(patience)

    monkeypatch.setattr(links, "Session", Slow)
    hasty = replace(settings, registration_timeout=0.1, synchronization_timeout=0.1)
    link = Link(hasty, delay=lambda _: 0.001)
    running = asyncio.create_task(link.run(plugin))
    for number in range(4):
        peer = await fake_runtime.connection()
        _conn, message = await peer.next()
        if number == 3:  # configured, and then left alone
            peer.send(mux.RUNTIME_CONN, ttrpc.response(message.stream, b""))
            configure = pb.ConfigureRequest(runtime_name="fake").SerializeToString()
            await peer.answer_of(peer.call("Configure", configure))
        with pytest.raises(EOFError):
            await peer.next()
    peer = await fake_runtime.connection()
    assert waited == [1, 2, 4, 8, 8]
    assert "did not synchronize us within 0.8 s" in link.reason
    await peer.accept()
    peer.writer.close()
    await fake_runtime.connection()
    assert waited[-1] == 1
    assert link.heard == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_session_that_worked_is_followed_by_one_at_once(link, fake_runtime, plugin, attempts):
    for _ in range(3):
        peer = await fake_runtime.connection()
        await peer.accept()
        peer.writer.close()
        assert await plugin.told("disconnected") == ("the runtime closed the connection",)
        assert await attempts.get() == 0
    assert link.reason == "the runtime closed the connection"


async def test_attempts_that_lead_nowhere_count_up_and_the_plugin_hears_nothing(
    link, fake_runtime, plugin, attempts
):
    for expected in (1, 2, 3):
        peer = await fake_runtime.connection()
        peer.writer.close()
        assert await attempts.get() == expected
    assert plugin.calls.empty()
    assert link.state is LinkState.DOWN


async def test_garbage_is_the_reason_and_the_link_comes_back(link, fake_runtime, plugin):
    peer = await fake_runtime.connection()
    await peer.accept()
    peer.writer.write(b"GET / HTTP/1.1\r\n")
    (reason,) = await plugin.told("disconnected")
    assert "a frame on connection" in reason
    await (await fake_runtime.connection()).accept()
    assert link.state is LinkState.SYNCHRONIZED


async def test_plugin_that_fails_on_the_way_out_is_connected_again(link, fake_runtime, plugin):
    async def fail():
        raise KeyError("a bug")

    peer = await fake_runtime.connection()
    await peer.accept()
    plugin.before_answer = fail
    peer.writer.close()
    await plugin.told("disconnected")
    plugin.before_answer = None
    await (await fake_runtime.connection()).accept()
    assert link.state is LinkState.SYNCHRONIZED


async def test_same_reason_is_logged_once(link, fake_runtime, attempts, caplog):
    for _ in range(5):
        (await fake_runtime.connection()).writer.close()
        await attempts.get()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert link.reason in caplog.text


async def test_updates_are_sent_and_failed_ones_come_back(link, fake_runtime):
    peer = await fake_runtime.connection()
    await peer.accept()
    update = asyncio.create_task(link.update_containers([PINNED]))
    _conn, message = await peer.next()
    request = ttrpc.read_request(message)
    assert request.method == "UpdateContainers"
    sent = pb.UpdateContainersRequest.FromString(request.payload)
    assert list(sent.update) == [encode.encode_update(PINNED)]
    failed = pb.UpdateContainersResponse(failed=sent.update).SerializeToString()
    peer.send(mux.RUNTIME_CONN, ttrpc.response(message.stream, failed))
    assert await update == (PINNED,)


async def test_answer_to_updates_that_is_not_protobuf_is_an_error(link, fake_runtime):
    peer = await fake_runtime.connection()
    await peer.accept()
    update = asyncio.create_task(link.update_containers([PINNED]))
    _conn, message = await peer.next()
    peer.send(mux.RUNTIME_CONN, ttrpc.response(message.stream, b"\xff\xff"))
    with pytest.raises(ProtocolError, match="the response is not protobuf"):
        await update


async def test_updates_before_the_synchronize_are_not_sent(link, fake_runtime):
    peer = await fake_runtime.connection()
    await peer.next()
    await peer.answer_of(peer.call("Configure"))
    with pytest.raises(NotConnectedError, match="no synchronized session"):
        await link.update_containers([PINNED])


@pytest.mark.parametrize("turns", range(12))
async def test_a_link_that_is_to_end_as_the_runtime_goes_away_ends(settings, fake_runtime, plugin, turns):
    """A node that is shut down stops both at once; asyncio.TaskGroup before Python 3.13 tells of one only."""
    running = asyncio.create_task(Link(settings, delay=lambda _: 3600.0).run(plugin))
    peer = await fake_runtime.connection()
    await peer.accept()
    peer.writer.close()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    _, pending = await asyncio.wait({running}, timeout=5)
    running.cancel()
    assert not pending
