"""The CRI client with a real containerd."""

import asyncio
import tempfile
from pathlib import Path

import pytest
import pytest_asyncio
from podnuma.agent.cri.client import CriClient
from podnuma.agent.cri.errors import CriError, UnreachableError
from podnuma.agent.cri.values import (
    ContainerEvent,
    CriContainerState,
    EventKind,
    LinuxContainerResources,
    UpdateOutcome,
)
from podnuma.agent.cri.watch import ContainersListed, ListPace, RuntimeLost, watch

from testbed.containerd.daemon import Containerd
from testbed.containerd.live import LivePod
from testbed.containerd.pods import Pods

pytestmark = pytest.mark.timeout(900)  # the first run builds containerd


@pytest.fixture(scope="module")
def containerd():
    with tempfile.TemporaryDirectory() as folder, Containerd(Path(folder)) as runtime:
        yield runtime


@pytest_asyncio.fixture
async def client(containerd):
    async with CriClient(containerd.socket, deadline=20) as client:
        yield client


@pytest_asyncio.fixture
async def shop(containerd):
    """A pod that runs."""
    return await LivePod.run(containerd.socket)


async def test_runtime_tells_its_name(client):
    version = await client.version()
    assert (version.runtime_name, version.runtime_version, version.api_version) == (
        "containerd",
        "v2.4.2",
        "v1",
    )


async def test_containers_are_listed_with_their_names(client, shop):
    container = await shop.create("database")
    (seen,) = [each for each in await client.containers() if each.id == container]
    assert (seen.pod_uid, seen.pod_namespace, seen.pod_name) == (shop.pod.uid, "shop", "db-0")
    assert (seen.name, seen.pod_sandbox_id, seen.state) == (
        "database",
        shop.sandbox,
        CriContainerState.CREATED,
    )


async def test_container_is_shown_with_its_process_and_cgroup(client, shop):
    container = await shop.running("database", {2: 200000, 1: 100000, 3: 2048, 4: 2**30, 6: "0-1"})
    seen = await client.container(container)
    assert seen.state is CriContainerState.RUNNING
    assert seen.cgroups_path == f"{shop.pod.cgroup_parent}:cri-containerd:{container}"
    assert seen.pid > 0
    assert 0 < seen.created_at < seen.started_at
    limited = LinuxContainerResources(
        cpus="0-1", cpu_quota=200000, cpu_period=100000, cpu_shares=2048, memory_limit=2**30
    )
    assert seen.resources == limited


async def test_update_changes_what_it_names_and_leaves_the_rest(containerd, client, shop):
    container = await shop.running("database", {2: 200000, 1: 100000, 3: 2048})
    assert (
        await client.update(container, LinuxContainerResources(cpus="2-3", mems="0", cpu_quota=-1))
        is UpdateOutcome.UPDATED
    )
    cpu = {"shares": 2048, "quota": -1, "period": 100000, "cpus": "2-3", "mems": "0"}
    assert containerd.settings(container)[-1]["resources"]["cpu"] == cpu
    assert (await client.container(container)).resources.cpus == "2-3"


async def test_update_of_a_created_container_holds_from_its_start(containerd, client, shop):
    container = await shop.create("database")
    assert await client.update(container, LinuxContainerResources(cpus="2-3")) is UpdateOutcome.UPDATED
    await shop.start(container)
    (created,) = containerd.settings(container)
    assert created["resources"]["cpu"]["cpus"] == "2-3"


async def test_container_that_is_gone_is_no_error(client, shop):
    container = await shop.running("database")
    await shop.call(Pods.stop, container)
    await shop.call(Pods.remove, container)
    assert await client.container(container) is None
    assert await client.update(container, LinuxContainerResources(cpus="2-3")) is UpdateOutcome.GONE


async def test_update_that_the_kernel_refuses_is_an_error_with_its_text(client, shop):
    container = await shop.running("database", annotations={"testbed/refuse-update": ""})
    with pytest.raises(CriError, match="Device or resource busy") as caught:
        await client.update(container, LinuxContainerResources(cpus="2-3"))
    assert (caught.value.method, caught.value.code) == ("UpdateContainerResources", "UNKNOWN")


async def test_socket_without_a_runtime_is_unreachable(tmp_path):
    async with CriClient(tmp_path / "none.sock") as client:
        with pytest.raises(UnreachableError, match="CRI Version: UNAVAILABLE"):
            await client.version()


async def next_of(seen, kind):
    """Skip to what a test waits for: other containers have events too."""
    while not isinstance(found := await anext(seen), kind):
        pass
    return found


async def test_watch_tells_events_at_once_and_lists_after_a_restart(containerd, client, shop):
    seen = watch(client, ListPace(slow=600, fast=0.2))
    async with asyncio.timeout(60):
        await next_of(seen, ContainersListed)
        container = await shop.running("database")
        for kind in (EventKind.CREATED, EventKind.STARTED):
            event = await next_of(seen, ContainerEvent)
            while event.container_id != container:
                event = await next_of(seen, ContainerEvent)
            assert (event.kind, event.pod_uid) == (kind, shop.pod.uid)

        restarted = asyncio.create_task(asyncio.to_thread(containerd.restart))
        await next_of(seen, RuntimeLost)
        listed = await next_of(seen, ContainersListed)
        await restarted
        assert container in {each.id for each in listed.containers}
    await seen.aclose()
