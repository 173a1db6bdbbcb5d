import asyncio
import contextlib
import random
from dataclasses import dataclass

import pytest
from podnuma.agent.devices.waiting import DevicesUnreadable, ToldDevices, WaitingDevices
from podnuma.allocator import nodeset
from podnuma.allocator.decision import GrantedDevice
from podnuma.api.device_plugins import MAX_REPORTED, ReportedDevice
from podnuma.api.pod_allocation import DEVICES_PENDING, Decision

WAITS = Decision(admitted=False, reason=DEVICES_PENDING, message="waits for the devices of example.com/nic")
NIC = "example.com/nic"


@dataclass(frozen=True)
class Device:
    container: str
    resource: str
    id: str
    numa_nodes: frozenset[int]


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    devices: tuple[Device, ...] = ()


class Node:
    """Pods that wait on a bench, and a kubelet that answers with what a test puts into `listed`."""

    def __init__(self, bench, words, patience):
        self.bench = bench
        self.words = words
        self.listed = []
        self.error = ""
        self.asked = 0
        self.told = []
        wake = asyncio.Event()
        bench.desired._changed = wake.set
        self.devices = WaitingDevices(
            bench.desired, self.ask, self.tell, wake=wake, rng=random.Random(1), patience=patience
        )

    async def ask(self):
        self.asked += 1
        if self.error:
            raise DevicesUnreadable(self.error)
        return self.listed

    def tell(self, waiting, told):
        self.told.append((waiting.name, told))

    def waits(self, name):
        self.bench.grant(self.words.pod(name), said=WAITS)

    def decided(self, name):
        self.bench.grant(self.words.pod(name), generation=2)


@pytest.fixture
async def node(bench, words):
    async with running(Node(bench, words, 5.0)) as found:
        yield found


@contextlib.asynccontextmanager
async def running(node):
    task = asyncio.create_task(node.devices.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def nic(name, *nodes, container="main"):
    return Device(container, NIC, name, frozenset(nodes))


def reported(name, *nodes):
    return ReportedDevice("main", GrantedDevice(NIC, name, nodeset.of(nodes)))


async def test_the_devices_of_a_pod_that_waits_are_told_once(node, reached):
    node.listed = [Pod("default", "db", (nic("nic-0", 1), nic("nic-1"))), Pod("default", "other")]
    node.waits("db")
    node.devices.admitted("db")
    await reached(lambda: node.told)
    node.devices.saw({"db"})
    await asyncio.sleep(0)
    assert node.told == [("db", ToldDevices((reported("nic-0", 1), reported("nic-1"))))]
    assert node.asked == 1


async def test_the_kubelet_is_not_asked_before_it_has_admitted_the_pod(node, reached):
    node.waits("db")
    node.waits("other")
    node.listed = [Pod("default", "db"), Pod("default", "other", (nic("nic-0", 1),))]
    node.devices.saw({"other"})
    await reached(lambda: node.told)
    assert [name for name, _ in node.told] == ["other"]


async def test_a_decision_that_comes_after_the_cgroup_is_asked_for_as_well(node, reached):
    node.devices.saw({"db"})
    node.listed = [Pod("default", "db")]
    node.waits("db")
    await reached(lambda: node.told)
    assert node.told == [("db", ToldDevices())]


async def test_pods_that_do_not_wait_cost_no_question(node):
    node.decided("db")
    for _ in range(10):
        node.devices.saw({"db"})
        await asyncio.sleep(0)
    assert node.asked == 0


async def test_a_kubelet_that_does_not_answer_at_first_is_asked_again(node, reached):
    node.error = "no socket"
    node.waits("db")
    node.devices.admitted("db")
    await reached(lambda: node.asked > 1)
    node.error, node.listed = "", [Pod("default", "db", (nic("nic-0", 1),))]
    await reached(lambda: node.told)
    assert node.told == [("db", ToldDevices((reported("nic-0", 1),)))]


async def test_a_kubelet_that_does_not_answer_for_long_is_told_once_and_asked_on(bench, words, reached):
    async with running(Node(bench, words, 0.0)) as node:
        node.error = "no socket"
        node.waits("db")
        node.devices.admitted("db")
        await reached(lambda: node.asked > 2)
        assert node.told == [("db", ToldDevices(problem="no socket"))]
        node.error, node.listed = "", [Pod("default", "db", (nic("nic-0", 1),))]
        await reached(lambda: len(node.told) > 1)
        assert node.told[1:] == [("db", ToldDevices((reported("nic-0", 1),)))]


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([], "the kubelet lists no pod default/db"),
        ([Pod("default", "db"), Pod("default", "db")], "the kubelet lists 2 pods default/db"),
        ([Pod("shop", "db")], "the kubelet lists no pod default/db"),
    ],
)
async def test_a_pod_that_is_not_listed_once_is_not_known(bench, words, reached, listed, why):
    async with running(Node(bench, words, 0.0)) as node:
        node.listed = listed
        node.waits("db")
        node.devices.admitted("db")
        await reached(lambda: node.told)
        assert node.told == [("db", ToldDevices(problem=why))]


async def test_nobody_asks_on_for_a_pod_that_was_decided_meanwhile(bench, words, reached):
    async with running(Node(bench, words, 0.0)) as node:
        node.error = "no socket"
        node.waits("db")
        node.devices.admitted("db")
        await reached(lambda: node.told)
        node.decided("db")
        await reached(lambda: not node.devices._waiting())
        asked = node.asked
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert node.asked <= asked + 1


async def test_another_pod_does_not_wait_for_the_back_off_of_the_first(bench, words, reached):
    async with running(Node(bench, words, 5.0)) as node:
        node.waits("db")
        node.devices.saw({"db", "web"})
        await reached(lambda: node.asked > 2)
        node.listed = [Pod("default", "web")]
        node.waits("web")
        await reached(lambda: node.told)
        assert node.told == [("web", ToldDevices())]


async def test_numa_nodes_that_no_machine_has_are_left_out(node, reached):
    node.listed = [Pod("default", "db", (nic("nic-0", -1), nic("nic-1", 2**40, 3)))]
    node.waits("db")
    node.devices.admitted("db")
    await reached(lambda: node.told)
    assert node.told[0][1].devices == (reported("nic-0"), reported("nic-1", 3))


async def test_thousands_of_devices_are_bounded(node, reached):
    node.listed = [Pod("default", "db", tuple(nic(f"unit-{number}", 0) for number in range(5000)))]
    node.waits("db")
    node.devices.admitted("db")
    await reached(lambda: node.told)
    assert len(node.told[0][1].devices) == MAX_REPORTED
