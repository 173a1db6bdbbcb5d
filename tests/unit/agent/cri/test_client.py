import asyncio

import grpc
import pytest
from podnuma.agent.cri.client import CriClient
from podnuma.agent.cri.errors import CriError, LateError, UnreachableError
from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.values import (
    ContainerEvent,
    EventKind,
    LinuxContainerResources,
    RuntimeVersion,
    UpdateOutcome,
)

PINNED = LinuxContainerResources(cpus="2-3", mems="0", cpu_quota=-1)


async def test_version_names_the_runtime(client):
    assert await client.version() == RuntimeVersion("containerd", "v2.4.2", "v1")


async def test_lists_are_read_item_by_item(client, fake_runtime):
    fake_runtime.answers["ListContainers"] = pb.ListContainersResponse(
        containers=[pb.Container(id="c1"), pb.Container(id="c2")]
    )
    assert [container.id for container in await client.containers()] == ["c1", "c2"]


async def test_list_of_a_big_node_passes_the_four_mebibytes_of_grpc(client, fake_runtime):
    padding = {"padding": "x" * 10_000}
    containers = [pb.Container(id=f"c{number}", annotations=padding) for number in range(600)]
    fake_runtime.answers["ListContainers"] = pb.ListContainersResponse(containers=containers)
    assert len(await client.containers()) == 600


async def test_container_is_asked_for_in_detail(client, fake_runtime):
    fake_runtime.answers["ContainerStatus"] = pb.ContainerStatusResponse(
        status=pb.ContainerStatus(id="c1", state=1), info={"info": '{"pid": 42}'}
    )
    assert (await client.container("c1")).pid == 42
    assert fake_runtime.requests == [pb.ContainerStatusRequest(container_id="c1", verbose=True)]


async def test_container_that_is_not_there_is_none(client, fake_runtime):
    fake_runtime.answers["ContainerStatus"] = grpc.StatusCode.NOT_FOUND
    assert await client.container("c1") is None


async def test_update_sends_what_is_to_change_and_nothing_else(client, fake_runtime):
    fake_runtime.answers["UpdateContainerResources"] = pb.UpdateContainerResourcesResponse()
    assert await client.update("c1", PINNED) is UpdateOutcome.UPDATED
    (request,) = fake_runtime.requests
    expected = pb.LinuxContainerResources(cpuset_cpus="2-3", cpuset_mems="0", cpu_quota=-1)
    assert request == pb.UpdateContainerResourcesRequest(container_id="c1", linux=expected)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN])
@pytest.mark.parametrize(
    "status",
    [grpc.StatusCode.NOT_FOUND, pb.ContainerStatusResponse(status=pb.ContainerStatus(id="c1", state=2))],
    ids=["gone", "exited"],
)
async def test_container_that_ended_meanwhile_is_gone_whatever_the_code(client, fake_runtime, code, status):
    fake_runtime.answers["UpdateContainerResources"] = code
    fake_runtime.answers["ContainerStatus"] = status
    assert await client.update("c1", PINNED) is UpdateOutcome.GONE


async def test_refused_update_of_a_running_container_is_an_error(client, fake_runtime):
    fake_runtime.answers["UpdateContainerResources"] = grpc.StatusCode.UNKNOWN
    running = pb.ContainerStatusResponse(status=pb.ContainerStatus(id="c1", state=1))
    fake_runtime.answers["ContainerStatus"] = running
    with pytest.raises(CriError, match="CRI UpdateContainerResources: UNKNOWN"):
        await client.update("c1", PINNED)


async def test_deadline_that_passes_is_late(fake_runtime):
    fake_runtime.answers["ListContainers"] = lambda _request: asyncio.Event().wait()
    async with CriClient(fake_runtime.socket, deadline=0.05) as client:
        with pytest.raises(LateError, match="CRI ListContainers: DEADLINE_EXCEEDED"):
            await client.containers()


async def test_a_connection_that_is_closed_during_a_call_is_no_cancellation(fake_runtime):
    asked = asyncio.Event()

    async def never(_request):
        asked.set()
        await asyncio.Event().wait()

    fake_runtime.answers["ListContainers"] = never
    client = CriClient(fake_runtime.socket)
    call = asyncio.create_task(client.containers())
    await asked.wait()
    await client.close()
    with pytest.raises(UnreachableError, match="the connection was closed during the call"):
        await call


async def test_a_caller_that_is_cancelled_is_cancelled(client, fake_runtime):
    fake_runtime.answers["ListContainers"] = lambda _request: asyncio.Event().wait()
    call = asyncio.create_task(client.containers())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_late_update_is_not_asked_after(fake_runtime):
    fake_runtime.answers["UpdateContainerResources"] = lambda _request: asyncio.Event().wait()
    async with CriClient(fake_runtime.socket, deadline=1) as client:
        with pytest.raises(LateError):
            await client.update("c1", PINNED)
    assert len(fake_runtime.requests) == 1


async def test_client_is_back_soon_after_the_runtime(client, fake_runtime):
    await client.version()
    await fake_runtime.stop()
    with pytest.raises(UnreachableError):
        await client.version()
    await fake_runtime.start()
    async with asyncio.timeout(10):
        while True:
            try:
                assert (await client.version()).runtime_name == "containerd"
                break
            except UnreachableError:
                await asyncio.sleep(0.05)


async def test_events_come_as_they_happen_until_the_stream_ends(client, fake_runtime):
    events = fake_runtime.events
    uid = pb.PodSandboxStatus(metadata=pb.PodSandboxMetadata(uid="uid-1"))
    for kind in (0, 1, 77, 2, 3):  # 77: of a later version
        events.put_nowait(
            pb.ContainerEventResponse(
                container_id="c1", container_event_type=kind, created_at=5, pod_sandbox_status=uid
            )
        )
    events.put_nowait(None)
    assert [event async for event in client.events()] == [
        ContainerEvent(kind, "c1", "uid-1", 5)
        for kind in (EventKind.CREATED, EventKind.STARTED, EventKind.STOPPED, EventKind.DELETED)
    ]


async def test_stream_that_breaks_is_an_error(client, fake_runtime):
    events = fake_runtime.events
    events.put_nowait(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(UnreachableError, match="the stream broke"):
        await anext(client.events())
