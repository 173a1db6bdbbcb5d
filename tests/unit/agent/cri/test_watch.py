import asyncio
from contextlib import aclosing

import grpc
import pytest
import pytest_asyncio
from podnuma.agent.cri import watch as watches
from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.values import ContainerEvent, EventKind, RuntimeVersion
from podnuma.agent.cri.watch import ContainersListed, ListPace, RuntimeLost, watch

QUICK = ListPace(slow=600, fast=0.01)
EVENT = pb.ContainerEventResponse(container_id="c9", container_event_type=1)


@pytest.fixture(autouse=True)
def events(fake_runtime):
    fake_runtime.answers["ListContainers"] = pb.ListContainersResponse(containers=[pb.Container(id="c1")])
    return fake_runtime.events


@pytest_asyncio.fixture
async def seen(client):
    async with aclosing(watch(client, QUICK)) as seen:
        yield seen


def ids(listed):
    assert isinstance(listed, ContainersListed), listed
    return [container.id for container in listed.containers]


async def test_second_list_covers_the_start_of_the_stream(seen):
    assert ids(await anext(seen)) == ["c1"]
    assert ids(await anext(seen)) == ["c1"]


async def test_event_comes_between_slow_lists(seen, events):
    await anext(seen)
    await anext(seen)
    events.put_nowait(EVENT)
    assert await anext(seen) == ContainerEvent(EventKind.STARTED, "c9", "", 0)


async def test_lists_come_at_a_slow_pace_beside_the_stream(client):
    async with aclosing(watch(client, ListPace(slow=0.02, fast=0.01))) as seen:
        assert [ids(await anext(seen)) for _ in range(6)] == [["c1"]] * 6


async def test_runtime_that_streams_nothing_is_polled(seen, events, fake_runtime):
    events.put_nowait(None)  # CRI-O without events ends the stream at once
    for _ in range(10):
        assert ids(await anext(seen)) == ["c1"]
    assert sum(isinstance(request, pb.VersionRequest) for request in fake_runtime.requests) == 1


async def test_runtime_that_refuses_a_stream_is_polled(seen, events, fake_runtime):
    events.put_nowait(grpc.StatusCode.UNIMPLEMENTED)  # cri-dockerd
    for _ in range(10):
        assert ids(await anext(seen)) == ["c1"]
    assert sum(isinstance(request, pb.VersionRequest) for request in fake_runtime.requests) == 1


async def test_stream_that_ends_after_events_is_opened_again(seen, events, fake_runtime):
    await anext(seen)
    events.put_nowait(EVENT)
    events.put_nowait(None)
    while not isinstance(await anext(seen), ContainerEvent):
        pass
    await anext(seen)
    events.put_nowait(EVENT)
    while not isinstance(await anext(seen), ContainerEvent):
        pass
    assert sum(isinstance(request, pb.VersionRequest) for request in fake_runtime.requests) == 2


async def test_outage_is_told_once_and_ends_with_a_list(seen, client, fake_runtime, monkeypatch):
    attempts: asyncio.Queue[None] = asyncio.Queue()
    ask = client.version

    async def version():
        attempts.put_nowait(None)
        return await ask()

    monkeypatch.setattr(client, "version", version)
    await anext(seen)
    await fake_runtime.stop()
    while not isinstance(lost := await anext(seen), RuntimeLost):
        pass
    assert "UNAVAILABLE" in lost.reason or "CANCELLED" in lost.reason
    waiting = asyncio.ensure_future(anext(seen))
    for _ in range(5):
        await attempts.get()
    assert not waiting.done()
    await fake_runtime.start()
    assert ids(await waiting) == ["c1"]


async def test_list_that_fails_is_an_outage(seen, fake_runtime):
    await anext(seen)
    fake_runtime.answers["ListContainers"] = grpc.StatusCode.INTERNAL
    assert await anext(seen) == RuntimeLost("CRI ListContainers: INTERNAL: no ListContainers here")


@pytest.mark.parametrize(
    ("name", "version", "streams"),
    [
        ("containerd", "v1.7.28", False),
        ("containerd", "1.6.0", False),
        ("containerd", "v2.0.0", True),
        ("containerd", "v2.4.2", True),
        ("containerd", "v10.0.0", True),
        ("cri-o", "1.33.0", True),
    ],
)
def test_only_old_containerd_takes_events_away_from_the_kubelet(name, version, streams):
    assert watches.streams_to_all(RuntimeVersion(name, version, "v1")) is streams


async def test_old_containerd_is_polled(client, fake_runtime):
    fake_runtime.answers["Version"] = pb.VersionResponse(runtime_name="containerd", runtime_version="v1.7.1")
    async with aclosing(watch(client, QUICK)) as seen:
        for _ in range(5):
            assert ids(await anext(seen)) == ["c1"]
    assert not any(isinstance(request, pb.GetEventsRequest) for request in fake_runtime.requests)
