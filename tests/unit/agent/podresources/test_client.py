import asyncio

import pytest
from podnuma.agent.podresources.client import (
    ContainerDevice,
    ListedPod,
    list_devices,
)
from podnuma.agent.podresources.errors import PodResourcesError
from podnuma.agent.podresources.messages import podresources_pb2 as pb

from testbed.podresources import FakeKubelet, devices, pod

NIC = "example.com/nic"


@pytest.fixture
async def kubelet(tmp_path):
    async with FakeKubelet(tmp_path / "kubelet.sock") as running:
        yield running


async def test_devices_are_listed_by_container_with_their_numa_nodes(kubelet):
    kubelet.pods = [
        pod(
            "shop",
            "db",
            main=[devices(NIC, ["nic-0", "nic-1"], 1)],
            side=[devices("example.com/fuse", ["f"])],
        ),
        pod("shop", "web"),
    ]
    assert await list_devices(kubelet.socket, 5) == (
        ListedPod(
            "shop",
            "db",
            (
                ContainerDevice("main", NIC, "nic-0", frozenset({1})),
                ContainerDevice("main", NIC, "nic-1", frozenset({1})),
                ContainerDevice("side", "example.com/fuse", "f", frozenset()),
            ),
        ),
        ListedPod("shop", "web", ()),
    )


async def test_a_device_that_is_named_once_for_each_of_its_nodes_is_one_device(kubelet):
    kubelet.pods = [pod("shop", "db", main=[devices(NIC, ["nic-0"], 0), devices(NIC, ["nic-0"], 1)])]
    ((found),) = await list_devices(kubelet.socket, 5)
    assert found.devices == (ContainerDevice("main", NIC, "nic-0", frozenset({0, 1})),)


async def test_what_is_not_read_is_skipped_on_the_wire(kubelet):
    """CPUs, memory and dynamic resources are fields 3, 4 and 5 of a container."""
    unknown = bytes([3 << 3, 7, 5 << 3 | 2, 2, 0x0A, 0])
    message = pb.PodResources(name="db", namespace="shop")
    container = pb.ContainerResources(name="main", devices=[devices(NIC, ["nic-0"], 1)])
    merged = pb.ContainerResources.FromString(container.SerializeToString() + unknown)
    message.containers.append(merged)
    kubelet.pods = [message]
    (found,) = await list_devices(kubelet.socket, 5)
    assert [device.id for device in found.devices] == ["nic-0"]


async def test_a_kubelet_that_refuses_is_an_error_with_its_words(kubelet):
    kubelet.refusal = "rejected by rate limit"
    with pytest.raises(PodResourcesError, match=r"kubelet\.sock: RESOURCE_EXHAUSTED: rejected by rate limit"):
        await list_devices(kubelet.socket, 5)


async def test_a_kubelet_that_is_silent_is_an_error_after_the_deadline(kubelet):
    kubelet.silent = True
    with pytest.raises(PodResourcesError, match="DEADLINE_EXCEEDED"):
        await asyncio.wait_for(list_devices(kubelet.socket, 0.1), 10)


async def test_a_socket_that_nobody_listens_on_is_an_error(tmp_path):
    with pytest.raises(PodResourcesError, match="UNAVAILABLE"):
        await asyncio.wait_for(list_devices(tmp_path / "none.sock", 5), 30)
