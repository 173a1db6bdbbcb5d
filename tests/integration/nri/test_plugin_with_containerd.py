"""The plugin in a real containerd: what comes out at the far end, where runc would write cgroups."""

import asyncio
import tempfile
from pathlib import Path

import pytest
import pytest_asyncio
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.errors import CallError
from podnuma.agent.nri.link import Link
from podnuma.agent.nri.plugin import Refused
from podnuma.agent.nri.values import (
    ContainerUpdate,
    CreateContainerResponse,
    LinuxResources,
    NriContainerState,
    NriEvent,
)

from testbed.containerd.daemon import Containerd
from testbed.containerd.live import LivePod
from testbed.containerd.pods import Pods

pytestmark = pytest.mark.timeout(900)  # the first run builds containerd

PINNED = LinuxResources(cpus="2-3", mems="0", cpu_quota=-1)
LIMITED = {2: 200000, 1: 100000, 3: 2048, 4: 2**30}  # LinuxContainerResources: quota, period, shares, memory


@pytest.fixture(scope="module")
def containerd():
    with tempfile.TemporaryDirectory() as folder, Containerd(Path(folder)) as runtime:
        yield runtime


@pytest_asyncio.fixture(autouse=True)
async def link(containerd, plugin):
    """A link that is synchronized."""
    settings = PluginConfig(
        name="podnuma", index="10", events=frozenset(NriEvent), socket=containerd.nri_socket
    )
    link = Link(settings, delay=lambda _attempt: 0.02)
    running = asyncio.create_task(link.run(plugin))
    await plugin.told("synchronize")
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture
async def shop(containerd):
    """A pod that runs; the plugin is already there."""
    return await LivePod.run(containerd.socket)


async def test_first_thing_set_for_a_container_is_what_the_plugin_answered(containerd, shop, plugin):
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    container = await shop.running("database", LIMITED)
    created = containerd.settings(container)[0]
    assert created["call"] == "create"
    cpu = {"shares": 2048, "quota": -1, "period": 100000, "cpus": "2-3", "mems": "0"}
    assert created["resources"]["cpu"] == cpu
    assert created["resources"]["memory"]["limit"] == 2**30


async def test_plugin_is_told_pod_uid_cgroup_path_and_what_the_kubelet_asked_for(shop, plugin):
    container = await shop.create("database", LIMITED)
    pod, seen = await plugin.told("create")
    assert (pod.uid, pod.namespace, pod.name) == (shop.pod.uid, "shop", "db-0")
    assert (pod.cgroup_parent, pod.annotations["team"]) == (shop.pod.cgroup_parent, "data")
    assert (seen.id, seen.name, seen.pod_uid) == (container, "database", shop.pod.uid)
    assert seen.cgroups_path == f"{shop.pod.cgroup_parent}:cri-containerd:{container}"
    limited = LinuxResources(cpu_shares=2048, cpu_quota=200000, cpu_period=100000, memory_limit=2**30)
    assert seen.resources == limited


async def test_updates_of_others_are_applied_before_the_container_exists(containerd, shop, plugin):
    sidecar = await shop.running("sidecar")
    plugin.answer = CreateContainerResponse(
        adjust=PINNED, updates=(ContainerUpdate(sidecar, LinuxResources(cpus="1")),)
    )
    database = await shop.running("database")
    steps = [
        (line["id"], line["call"]) for line in containerd.settings() if line["id"] in (sidecar, database)
    ]
    assert steps == [(sidecar, "create"), (sidecar, "update"), (database, "create")]
    assert containerd.settings(sidecar)[1]["resources"]["cpu"]["cpus"] == "1"


async def test_refused_container_is_not_created_and_the_kubelet_reads_why(shop, plugin):
    async def refuse():
        raise Refused("podnuma: shop/db-0 has no decision yet")

    plugin.before_answer = refuse
    with pytest.raises(Exception, match="podnuma: shop/db-0 has no decision yet"):
        await shop.create("database")


async def test_resize_by_the_kubelet_does_not_unpin(containerd, shop, plugin):
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    container = await shop.running("database", LIMITED)
    plugin.updates = (ContainerUpdate(container, PINNED),)
    await shop.call(Pods.update, container, {2: 400000, 1: 100000, 6: "0-15"})
    _pod, _container, wanted = await plugin.told("update")
    assert (wanted.cpu_quota, wanted.cpus) == (400000, "0-15")
    cpu = containerd.settings(container)[-1]["resources"]["cpu"]
    assert (cpu["quota"], cpu["cpus"], cpu["mems"]) == (-1, "2-3", "0")


async def test_unsolicited_update_reaches_a_running_container(containerd, shop, link):
    container = await shop.running("database")
    assert (
        await link.update_containers([ContainerUpdate(container, LinuxResources(cpus="4-5", mems="1"))]) == ()
    )
    cpu = containerd.settings(container)[-1]["resources"]["cpu"]
    assert (cpu["cpus"], cpu["mems"]) == ("4-5", "1")


async def test_unsolicited_update_that_the_kernel_refuses_is_an_error(shop, link):
    container = await shop.running("database", annotations={"testbed/refuse-update": ""})
    with pytest.raises(CallError, match="NRI update of some containers failed"):
        await link.update_containers([ContainerUpdate(container, PINNED)])


async def test_unsolicited_update_of_a_container_that_is_gone_counts_as_done(link):
    assert await link.update_containers([ContainerUpdate("f" * 64, PINNED)]) == ()


async def test_container_that_dies_by_itself_is_told_as_stopped(containerd, shop, plugin):
    container = await shop.running("database")
    await asyncio.to_thread(containerd.end, container)
    pod, seen = await plugin.told("stop")
    assert (pod.uid, seen.id, seen.state) == (shop.pod.uid, container, NriContainerState.STOPPED)
    assert seen.exit_code == 137


async def test_life_of_a_container_is_told_in_order(shop, plugin):
    container = await shop.running("database")
    await shop.call(Pods.stop, container)
    await shop.call(Pods.remove, container)
    await plugin.told("create")
    steps = [NriEvent.POST_CREATE_CONTAINER, NriEvent.START_CONTAINER, NriEvent.POST_START_CONTAINER, "stop"]
    for step in [*steps, NriEvent.REMOVE_CONTAINER]:
        name, _pod, seen = await asyncio.wait_for(plugin.calls.get(), 30)
        assert (name, seen.id) == (step, container)


async def test_restarted_containerd_finds_its_plugin_again_and_tells_what_runs(containerd, shop, plugin):
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    container = await shop.running("database", LIMITED)
    await asyncio.to_thread(containerd.restart)
    assert await plugin.told("disconnected") == ("the runtime closed the connection",)
    _pods, containers = await plugin.told("synchronize")
    seen = next(each for each in containers if each.id == container)
    assert (seen.state, seen.pod_uid) == (NriContainerState.RUNNING, shop.pod.uid)
    assert seen.resources.cpus == "2-3"  # the runtime remembers what the plugin set
    assert seen.pid > 0
    assert 0 < seen.created_at <= seen.started_at
    another = await shop.running("another")
    assert containerd.settings(another)[0]["resources"]["cpu"]["cpus"] == "2-3"
