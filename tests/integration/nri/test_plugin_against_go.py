"""The plugin against the real implementation of the runtime side, in both wire forms of events."""

import asyncio
from typing import Any
from unittest.mock import ANY

import pytest
from podnuma.agent.nri.errors import DisconnectedError, NotConnectedError, UnsafeUpdatesError
from podnuma.agent.nri.link import LinkState
from podnuma.agent.nri.plugin import Refused
from podnuma.agent.nri.service import PluginService
from podnuma.agent.nri.values import (
    ContainerUpdate,
    CreateContainerResponse,
    FailurePolicy,
    LinuxResources,
    NriContainerState,
    NriEvent,
)

pytestmark = pytest.mark.timeout(900)  # the first run builds the runtime

POD = {
    "id": "sandbox-1",
    "name": "db-0",
    "uid": "0a1b",
    "namespace": "shop",
    "labels": {"app": "db"},
    "annotations": {"podnuma.dev/resources": "{}"},
    "linux": {"cgroupParent": "/kubepods.slice/kubepods-pod0a1b.slice"},
}
CONTAINER = {
    "id": "c1",
    "podSandboxId": "sandbox-1",
    "name": "database",
    "state": "CONTAINER_CREATED",
    "createdAt": "1700000000000000000",
    "linux": {
        "cgroupsPath": "kubepods-pod0a1b.slice:cri-containerd:c1",
        "resources": {
            "cpu": {"shares": {"value": "2048"}, "quota": {"value": "200000"}, "period": {"value": "100000"}}
        },
    },
}
PINNED = LinuxResources(cpus="2-3", mems="0", cpu_quota=-1)


async def told(plugin) -> Any:
    return await asyncio.wait_for(plugin.calls.get(), 10)


async def noticed(runtime) -> Any:
    return await asyncio.wait_for(runtime.notices.get(), 10)


async def test_runtime_tells_who_it_is_and_how_long_it_waits(runtime, plugin, synchronized, nri_version):
    await runtime.start(request_timeout=1.5)
    await synchronized()
    assert (plugin.runtime.name, plugin.runtime.version) == ("podnuma-test", "v1.0.0")
    assert plugin.runtime.request_timeout == 1.5
    assert plugin.runtime.nri_version == {"0.12": (0, 12, 3), "0.8": None}[nri_version]


async def test_synchronize_tells_all_pods_and_containers_and_carries_updates_back(
    runtime, plugin, synchronized
):
    plugin.updates = (ContainerUpdate("c1", PINNED),)
    await runtime.start(pods=[POD], containers=[CONTAINER])
    pods, containers = await synchronized()
    assert [(pod.uid, pod.namespace, pod.name, pod.cgroup_parent) for pod in pods] == [
        ("0a1b", "shop", "db-0", "/kubepods.slice/kubepods-pod0a1b.slice")
    ]
    assert [(container.name, container.pod_uid, container.state) for container in containers] == [
        ("database", "0a1b", NriContainerState.CREATED)
    ]
    cpu = {"cpus": "2-3", "mems": "0", "quota": {"value": "-1"}}
    assert (await noticed(runtime))["update"] == [{"containerId": "c1", "linux": {"resources": {"cpu": cpu}}}]


async def test_node_with_thousands_of_big_containers_arrives_whole(runtime, synchronized):
    # 6 MiB: more than one ttrpc message, so the runtime splits it.
    pods = [{**POD, "id": f"p{number}", "uid": f"uid-{number}"} for number in range(300)]
    padding = {"padding": "x" * 2000}
    containers = [
        {**CONTAINER, "id": f"c{number}", "podSandboxId": f"p{number // 10}", "annotations": padding}
        for number in range(3000)
    ]
    await runtime.start(pods=pods, containers=containers)
    pods_seen, containers_seen = await synchronized()
    assert [pod.uid for pod in pods_seen] == [f"uid-{number}" for number in range(300)]
    assert [(container.id, container.pod_uid) for container in containers_seen] == [
        (f"c{number}", f"uid-{number // 10}") for number in range(3000)
    ]


async def test_answer_far_longer_than_a_frame_arrives_whole(runtime, plugin, synchronized):
    await runtime.start()
    await synchronized()
    updates = tuple(ContainerUpdate(f"container-{number:064}", PINNED) for number in range(1000))
    plugin.answer = CreateContainerResponse(adjust=PINNED, updates=updates)
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    # The adaptation keeps updates in a map, so their order is its own.
    assert {update["containerId"] for update in reply["update"]} == {
        update.container_id for update in updates
    }
    assert reply["adjust"]["linux"]["resources"]["cpu"]["cpus"] == "2-3"


async def test_created_container_gets_cpus_memory_nodes_and_quota(runtime, plugin, synchronized, nri_version):
    await runtime.start()
    await synchronized()
    plugin.answer = CreateContainerResponse(
        adjust=LinuxResources(
            cpus="2-3", mems="0", cpu_quota=300000, cpu_period=100000, cpu_shares=3072, memory_limit=2**30,
            unified={"cpu.max.burst": "1000"},
        ),
        updates=(ContainerUpdate("c0", LinuxResources(cpus="1")),),
    )  # fmt: skip
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    adjusted = reply["adjust"]["linux"]["resources"]
    assert adjusted["cpu"] == {
        "shares": {"value": "3072"}, "quota": {"value": "300000"}, "period": {"value": "100000"},
        "cpus": "2-3", "mems": "0",
    }  # fmt: skip
    assert adjusted["memory"]["limit"] == {"value": str(2**30)}
    assert adjusted["unified"] == {"cpu.max.burst": "1000"}
    assert [
        (update["containerId"], update["linux"]["resources"]["cpu"]["cpus"]) for update in reply["update"]
    ] == [("c0", "1")]
    _, pod, container = await told(plugin)
    assert pod.annotations == {"podnuma.dev/resources": "{}"}
    assert container.resources == LinuxResources(cpu_shares=2048, cpu_quota=200000, cpu_period=100000)
    assert container.cgroups_path == "kubepods-pod0a1b.slice:cri-containerd:c1"
    # NRI 0.8 does not tell times.
    assert container.created_at == {"0.12": 1_700_000_000_000_000_000, "0.8": 0}[nri_version]


async def test_container_that_plugin_has_no_opinion_on_stays_as_it_is(runtime, synchronized):
    await runtime.start()
    await synchronized()
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    assert "cpus" not in reply["adjust"]["linux"]["resources"]["cpu"]
    assert reply["update"] == []


async def test_refusal_reaches_the_caller_as_text_and_the_session_goes_on(runtime, plugin, synchronized):
    await runtime.start()
    await synchronized()

    async def refuse():
        raise Refused("podnuma: shop/db-0 has no decision yet")

    plugin.before_answer = refuse
    with pytest.raises(RuntimeError, match="podnuma: shop/db-0 has no decision yet"):
        await runtime.do("create", pod=POD, container=CONTAINER)
    plugin.before_answer = None
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    assert reply["adjust"]["linux"]["resources"]["cpu"]["cpus"] == "2-3"


async def test_slow_plugin_fails_one_creation_and_stays_connected(runtime, plugin, link, synchronized):
    await runtime.start(request_timeout=5.0)
    await synchronized()
    plugin.before_answer = asyncio.Event().wait
    with pytest.raises(RuntimeError, match=r"podnuma did not answer CreateContainer within 0\.50 s"):
        await runtime.do("create", pod=POD, container=CONTAINER)
    plugin.before_answer = None
    await runtime.do("create", pod=POD, container=CONTAINER)
    assert link.state is LinkState.SYNCHRONIZED


async def never_answered(*_):
    await asyncio.Event().wait()


@pytest.fixture
def hung(monkeypatch):
    """Take the answers of the agent away, as if its process were stopped, and give them back."""

    def hang(value):
        if value:
            monkeypatch.setattr(PluginService, "respond", never_answered)
        else:
            monkeypatch.undo()

    return hang


@pytest.mark.parametrize("nri_version", ["0.12.5"], indirect=True)
async def test_unanswered_start_is_refused_until_the_agent_answers_again(
    runtime, plugin, link, synchronized, hung
):
    plugin.policy = FailurePolicy.FAIL
    await runtime.start(request_timeout=0.4)
    await synchronized()
    assert link.failure_policy is FailurePolicy.FAIL
    hung(True)
    # The second one is what `fail_request` alone would let through.
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"failed to handle CreateContainer request.*deadline exceeded"
        ):
            await runtime.do("create", pod=POD, container=CONTAINER)
    hung(False)
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    assert reply["adjust"]["linux"]["resources"]["cpu"]["cpus"] == "2-3"
    assert link.state is LinkState.SYNCHRONIZED


@pytest.mark.parametrize(
    ("nri_version", "policy"),
    [("0.12.5", FailurePolicy.IGNORE), ("0.12", FailurePolicy.FAIL), ("0.8", FailurePolicy.FAIL)],
    indirect=["nri_version"],
)
async def test_unanswered_start_passes_where_the_policy_is_ignore_or_unknown_to_the_runtime(
    runtime, plugin, link, synchronized, hung, policy
):
    plugin.policy = policy
    await runtime.start(request_timeout=0.4)
    await synchronized()
    assert link.failure_policy is FailurePolicy.IGNORE
    hung(True)
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    assert "cpus" not in reply["adjust"]["linux"]["resources"]["cpu"]


@pytest.mark.parametrize("nri_version", ["0.12.5"], indirect=True)
async def test_another_policy_is_registered_at_once(runtime, plugin, link, synchronized):
    await runtime.start()
    await synchronized()
    link.register_with(FailurePolicy.IGNORE)
    plugin.policy = FailurePolicy.FAIL
    link.register_with(FailurePolicy.FAIL)
    assert await plugin.told("disconnected") == ("registering anew, with failure policy Fail",)
    await synchronized()
    assert link.failure_policy is FailurePolicy.FAIL


async def test_runtime_without_failure_policies_is_not_asked_to_register_again(
    runtime, plugin, link, synchronized
):
    await runtime.start()
    await synchronized()
    plugin.policy = FailurePolicy.FAIL
    link.register_with(FailurePolicy.FAIL)
    await runtime.do("create", pod=POD, container=CONTAINER)
    assert link.state is LinkState.SYNCHRONIZED
    assert await told(plugin) == ("create", ANY, ANY)


async def test_slow_or_failing_plugin_never_stops_a_container_from_stopping(runtime, plugin, synchronized):
    await runtime.start(request_timeout=5.0)
    await synchronized()
    plugin.before_answer = asyncio.Event().wait
    assert (await runtime.do("stop_container", pod=POD, container=CONTAINER))["update"] == []

    async def fail():
        raise KeyError("a bug")

    plugin.before_answer = fail
    assert (await runtime.do("stop_container", pod=POD, container=CONTAINER))["update"] == []
    await runtime.do("event", event="StartContainer", pod=POD, container=CONTAINER)


async def test_own_values_override_what_the_kubelet_asks_for(runtime, plugin, synchronized):
    await runtime.start()
    await synchronized()
    plugin.updates = (ContainerUpdate("c1", PINNED), ContainerUpdate("c0", LinuxResources(cpus="0")))
    wanted = {"cpu": {"quota": {"value": "400000"}, "shares": {"value": "4096"}}}
    reply = await runtime.do("update", pod=POD, container=CONTAINER, resources=wanted)
    assert (await told(plugin))[3] == LinuxResources(cpu_quota=400000, cpu_shares=4096)
    changed = {update["containerId"]: update["linux"]["resources"]["cpu"] for update in reply["update"]}
    assert changed["c0"] == {"cpus": "0"}
    assert changed["c1"] == {
        "shares": {"value": "4096"},
        "quota": {"value": "-1"},
        "cpus": "2-3",
        "mems": "0",
    }


async def test_stopped_container_lets_others_grow(runtime, plugin, synchronized):
    await runtime.start()
    await synchronized()
    plugin.updates = (ContainerUpdate("c0", LinuxResources(cpus="0-3")),)
    reply = await runtime.do("stop_container", pod=POD, container=CONTAINER)
    assert [update["containerId"] for update in reply["update"]] == ["c0"]


@pytest.mark.parametrize("event", [NriEvent.UPDATE_POD_SANDBOX, NriEvent.POST_UPDATE_POD_SANDBOX])
@pytest.mark.parametrize("nri_version", ["0.12"], indirect=True)
async def test_a_resize_of_a_pod_is_told_by_runtimes_that_know_it(runtime, plugin, synchronized, event):
    await runtime.start()
    await synchronized()
    method = "".join(word.capitalize() for word in event.name.split("_"))
    await runtime.do("event", event=method, pod=POD, container=CONTAINER)
    name, pod, container = await told(plugin)
    assert (name, pod.uid, container) == (event, "0a1b", None)


@pytest.mark.parametrize(
    "event",
    [
        NriEvent.RUN_POD_SANDBOX,
        NriEvent.STOP_POD_SANDBOX,
        NriEvent.REMOVE_POD_SANDBOX,
        NriEvent.POST_CREATE_CONTAINER,
        NriEvent.START_CONTAINER,
        NriEvent.POST_START_CONTAINER,
        NriEvent.POST_UPDATE_CONTAINER,
        NriEvent.REMOVE_CONTAINER,
    ],
)
async def test_event_is_the_same_in_both_wire_forms(runtime, plugin, synchronized, event):
    await runtime.start()
    await synchronized()
    method = "".join(word.capitalize() for word in event.name.split("_"))
    await runtime.do("event", event=method, pod=POD, container=CONTAINER)
    name, pod, container = await told(plugin)
    assert (name, pod.uid) == (event, "0a1b")
    assert (None if container is None else container.id) == (None if "POD" in event.name else "c1")


async def test_hooks_of_many_containers_at_once_are_all_answered(runtime, plugin, synchronized):
    await runtime.start()
    await synchronized()
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    creations = [
        runtime.do("create", pod=POD, container={**CONTAINER, "id": f"c{number}"}) for number in range(50)
    ]
    replies = await asyncio.gather(*creations)
    assert [reply["adjust"]["linux"]["resources"]["cpu"]["cpus"] for reply in replies] == ["2-3"] * 50


async def test_link_waits_for_a_runtime_that_is_not_there(runtime, link, synchronized):
    await asyncio.sleep(0)
    assert link.state is LinkState.DOWN
    with pytest.raises(NotConnectedError, match="no synchronized session"):
        await link.update_containers([ContainerUpdate("c1", PINNED)])
    await runtime.start()
    await synchronized()


async def test_link_comes_back_after_the_runtime_restarts(runtime, plugin, synchronized):
    await runtime.start(pods=[POD], containers=[CONTAINER])
    await synchronized()
    await runtime.kill()
    assert await plugin.told("disconnected") == ("the runtime closed the connection",)
    await runtime.start(pods=[POD], containers=[])
    assert [len(seen) for seen in await synchronized()] == [1, 0]
    plugin.answer = CreateContainerResponse(adjust=PINNED)
    reply = await runtime.do("create", pod=POD, container=CONTAINER)
    assert reply["adjust"]["linux"]["resources"]["cpu"]["cpus"] == "2-3"


class TestUnsolicitedUpdates:
    """Changes outside of any hook."""

    @pytest.fixture
    def nri_version(self):
        return "0.12"

    async def test_runtime_applies_them_and_names_those_that_failed(self, runtime, link, synchronized):
        await runtime.start(failing=["c2"])
        await synchronized()
        await noticed(runtime)  # of the synchronize
        failed = await link.update_containers(
            [ContainerUpdate("c1", PINNED), ContainerUpdate("c2", LinuxResources(cpus="0-1"))]
        )
        assert failed == (ContainerUpdate("c2", LinuxResources(cpus="0-1")),)
        assert [update["containerId"] for update in (await noticed(runtime))["update"]] == ["c1", "c2"]

    async def test_they_pass_while_hooks_come_and_go(self, runtime, link, synchronized):
        await runtime.start()
        await synchronized()
        hooks = [runtime.do("create", pod=POD, container=CONTAINER) for _ in range(20)]
        updates = [link.update_containers([ContainerUpdate(f"u{number}", PINNED)]) for number in range(20)]
        results = await asyncio.wait_for(asyncio.gather(*hooks, *updates), 10)
        assert results[20:] == [()] * 20

    async def test_they_are_refused_inside_a_callback(self, runtime, plugin, link, synchronized):
        await runtime.start()
        await synchronized()
        errors = []

        async def update():
            try:
                await link.update_containers([ContainerUpdate("c1", PINNED)])
            except RuntimeError as error:
                errors.append(str(error))

        plugin.before_answer = update
        await runtime.do("create", pod=POD, container=CONTAINER)
        assert errors == [
            "update_containers inside a callback would deadlock the runtime; answer with the updates"
        ]

    async def test_update_under_way_ends_with_the_session(self, runtime, plugin, link, synchronized):
        await runtime.start()
        await synchronized()
        hook_is_running = asyncio.Event()

        async def hold():
            hook_is_running.set()
            await asyncio.Event().wait()

        plugin.before_answer = hold
        hook = asyncio.create_task(runtime.do("create", pod=POD, container=CONTAINER))
        await hook_is_running.wait()
        update = asyncio.create_task(
            link.update_containers([ContainerUpdate("c1", PINNED)])
        )  # waits for the lock
        await asyncio.sleep(0)
        await runtime.kill()
        with pytest.raises(DisconnectedError, match="ended before the runtime answered"):
            await update
        hook.cancel()


class TestOldRuntime:
    """What only a runtime before NRI 0.11 shows."""

    @pytest.fixture
    def nri_version(self):
        return "0.8"

    async def test_unsolicited_updates_are_not_tried_where_they_can_deadlock(
        self, runtime, link, synchronized
    ):
        await runtime.start()
        await synchronized()
        with pytest.raises(UnsafeUpdatesError, match=r"older than 0\.12\.1"):
            await link.update_containers([ContainerUpdate("c1", PINNED)])
