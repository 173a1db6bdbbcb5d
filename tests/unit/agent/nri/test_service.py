import asyncio
from pathlib import Path

import pytest
from podnuma.agent.nri import mux, service, ttrpc
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.errors import CallError
from podnuma.agent.nri.messages import decode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.plugin import Refused
from podnuma.agent.nri.service import PLUGIN_SERVICE, PluginService
from podnuma.agent.nri.values import (
    ContainerUpdate,
    CreateContainerResponse,
    LinuxResources,
    NriContainer,
    NriContainerState,
    NriEvent,
)

RECORDED = Path(__file__).parent / "recorded"
PINNED = LinuxResources(cpus="2-3", mems="0", cpu_quota=-1)


@pytest.fixture
def serve(plugin):
    config = PluginConfig(name="podnuma", index="10", events=frozenset({NriEvent.CREATE_CONTAINER}))
    return PluginService(plugin, config)


def recorded(name):
    """Calls of a runtime, from its recorded frames: one per line, in hex."""
    demux, reader = mux.Demux(), ttrpc.MessageReader()
    for line in (RECORDED / name).read_text().split():
        for chunk in demux.feed(bytes.fromhex(line)):
            if chunk.conn == mux.PLUGIN_CONN:
                yield from map(ttrpc.read_request, reader.feed(chunk.data))


def payload(response):
    (message,) = ttrpc.MessageReader().feed(response)
    return ttrpc.read_response(message, "test")


def call(method, message=None, timeout=0.0):
    return ttrpc.Request(
        1, PLUGIN_SERVICE, method, b"" if message is None else message.SerializeToString(), timeout
    )


def told(plugin):
    calls = []
    while not plugin.calls.empty():
        calls.append(plugin.calls.get_nowait())
    return calls


async def test_life_of_a_pod_as_containerd_tells_it(serve, plugin):
    for request in recorded("containerd-2.4.2.hex"):
        payload(await serve.respond(request))
    calls = told(plugin)
    assert [call[0] for call in calls] == [
        "configured",
        "synchronize",
        NriEvent.RUN_POD_SANDBOX,
        "create",
        NriEvent.POST_CREATE_CONTAINER,
        NriEvent.START_CONTAINER,
        NriEvent.POST_START_CONTAINER,
        "update",
        NriEvent.POST_UPDATE_CONTAINER,
        "stop",
        NriEvent.REMOVE_CONTAINER,
        NriEvent.STOP_POD_SANDBOX,
        NriEvent.REMOVE_POD_SANDBOX,
    ]
    runtime = calls[0][1]
    assert (runtime.name, runtime.nri_version, runtime.request_timeout) == ("containerd", (0, 12, 3), 2.0)

    pods, containers = calls[1][1:]
    assert [(pod.namespace, pod.name) for pod in pods] == [("shop", "web-0")]
    assert [(each.name, each.state, each.pod_uid) for each in containers] == [
        ("nginx", NriContainerState.RUNNING, pods[0].uid)
    ]

    _, pod, container = calls[3]
    assert (pod.name, container.name, container.pod_uid) == ("db-0", "database", pod.uid)
    assert container.cgroups_path == f"{pod.cgroup_parent}:cri-containerd:{container.id}"
    assert container.resources == LinuxResources(
        cpu_shares=2048, cpu_quota=200000, cpu_period=100000, memory_limit=2**30
    )
    assert calls[7][3].cpu_quota == 400000
    assert calls[9][2].state is NriContainerState.STOPPED


async def test_events_of_an_old_runtime_are_told_the_same_way(serve, plugin):
    for request in recorded("nri-0.8.hex"):
        payload(await serve.respond(request))
    calls = told(plugin)
    assert calls[0][1].nri_version is None
    assert [(call[0], call[1].uid, call[2] and call[2].name) for call in calls[2:]] == [
        (NriEvent.RUN_POD_SANDBOX, "0a1b", None),
        (NriEvent.POST_CREATE_CONTAINER, "0a1b", "database"),
        (NriEvent.START_CONTAINER, "0a1b", "database"),
        (NriEvent.POST_START_CONTAINER, "0a1b", "database"),
        (NriEvent.POST_UPDATE_CONTAINER, "0a1b", "database"),
        (NriEvent.REMOVE_CONTAINER, "0a1b", "database"),
        (NriEvent.STOP_POD_SANDBOX, "0a1b", None),
        (NriEvent.REMOVE_POD_SANDBOX, "0a1b", None),
    ]


async def test_subscription_is_answered_to_configure(serve):
    response = payload(await serve.respond(call("Configure", pb.ConfigureRequest(runtime_name="x"))))
    assert pb.ConfigureResponse.FromString(response).events == 0b1000


@pytest.mark.parametrize(("version", "asked"), [("", 4), ("v0.12.3", 4 | 1 << 13 - 1)])
async def test_a_runtime_is_asked_only_for_the_events_it_knows(plugin, version, asked):
    events = frozenset({NriEvent.REMOVE_POD_SANDBOX, NriEvent.POST_UPDATE_POD_SANDBOX})
    serve = PluginService(plugin, PluginConfig(name="podnuma", index="10", events=events))
    request = pb.ConfigureRequest(runtime_name="containerd", runtime_version="v2", nri_version=version)
    answer = payload(await serve.respond(call("Configure", request)))
    assert pb.ConfigureResponse.FromString(answer).events == asked


async def test_parts_of_a_synchronize_are_told_once_and_joined(serve, plugin):
    plugin.updates = (ContainerUpdate("c1", PINNED),)
    parts = [
        pb.SynchronizeRequest(containers=[pb.Container(id="c1", pod_sandbox_id="p1")], more=True),
        pb.SynchronizeRequest(pods=[pb.PodSandbox(id="p1", uid="uid-1")], more=True),
        pb.SynchronizeRequest(containers=[pb.Container(id="c2", pod_sandbox_id="p1")]),
    ]
    answers = [
        pb.SynchronizeResponse.FromString(payload(await serve.respond(call("Synchronize", part))))
        for part in parts
    ]
    assert [(answer.more, len(answer.update)) for answer in answers] == [(True, 0), (True, 0), (False, 1)]
    assert not serve.configured.is_set()
    assert serve.synchronized.is_set()
    ((_, pods, containers),) = told(plugin)
    assert [pod.id for pod in pods] == ["p1"]
    assert containers == [NriContainer("c1", "p1", "uid-1", ""), NriContainer("c2", "p1", "uid-1", "")]


async def test_synchronize_that_never_ends_is_refused(serve, monkeypatch):
    monkeypatch.setattr(service, "SYNCHRONIZED_OBJECTS_MAX", 3)
    part = pb.SynchronizeRequest(pods=[pb.PodSandbox(id="p")] * 2, more=True)
    payload(await serve.respond(call("Synchronize", part)))
    payload(await serve.respond(call("Synchronize", part)))
    with pytest.raises(CallError, match="more than 3 pods and containers"):
        payload(await serve.respond(call("Synchronize", part)))


async def test_created_container_gets_what_the_plugin_answers(serve, plugin):
    plugin.answer = CreateContainerResponse(
        adjust=PINNED, updates=(ContainerUpdate("c0", LinuxResources(cpus="1")),)
    )
    response = payload(await serve.respond(call("CreateContainer", pb.CreateContainerRequest())))
    message = pb.CreateContainerResponse.FromString(response)
    assert decode.linux_resources(message.adjust.linux.resources) == PINNED
    assert [decode.container_update(each) for each in message.update] == [
        ContainerUpdate("c0", LinuxResources(cpus="1"))
    ]


@pytest.mark.parametrize("method", ["CreateContainer", "UpdateContainer"])
async def test_refusal_is_an_error_with_the_words_of_the_plugin(serve, plugin, method):
    async def refuse():
        raise Refused("shop/db-0 has no decision yet")

    plugin.before_answer = refuse
    with pytest.raises(CallError, match="shop/db-0 has no decision yet") as caught:
        payload(await serve.respond(call(method)))
    assert caught.value.code == ttrpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("method", ["CreateContainer", "UpdateContainer", "Configure"])
async def test_fault_fails_what_can_be_tried_again(serve, plugin, method):
    async def fail():
        raise KeyError("secret detail")

    plugin.before_answer = fail
    with pytest.raises(CallError, match=f"podnuma failed in {method}: KeyError$"):
        payload(await serve.respond(call(method)))


@pytest.mark.parametrize("method", ["Synchronize", "StopContainer", "RunPodSandbox", "StartContainer"])
async def test_fault_elsewhere_is_answered_with_no_change(serve, plugin, method):
    async def fail():
        raise KeyError("a bug")

    plugin.before_answer = fail
    assert payload(await serve.respond(call(method))) == b""


async def test_callback_is_ended_at_a_share_of_what_the_runtime_will_wait(serve, plugin):
    ended = asyncio.Event()

    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    plugin.before_answer = hang
    with pytest.raises(CallError, match=r"podnuma did not answer CreateContainer within 0\.03 s"):
        payload(await serve.respond(call("CreateContainer", timeout=0.04)))
    assert ended.is_set()


async def test_deadline_of_the_runtime_holds_when_a_call_names_none(serve, plugin):
    configure = pb.ConfigureRequest(request_timeout=40)
    payload(await serve.respond(call("Configure", configure)))
    plugin.before_answer = asyncio.Event().wait
    async with asyncio.timeout(1):
        assert payload(await serve.respond(call("StopContainer"))) == b""


async def test_timeout_of_the_plugins_own_is_a_fault_and_no_lateness(serve, plugin):
    async def fail():
        raise TimeoutError

    plugin.before_answer = fail
    with pytest.raises(CallError, match="failed in CreateContainer: TimeoutError"):
        payload(await serve.respond(call("CreateContainer")))


@pytest.mark.parametrize(
    ("name", "method"), [(PLUGIN_SERVICE, "ValidateContainerAdjustment"), ("other.Service", "Configure")]
)
async def test_unknown_call_is_unimplemented(serve, name, method):
    with pytest.raises(CallError, match=f"no method {name}/{method}") as caught:
        payload(await serve.respond(ttrpc.Request(1, name, method, b"", 0)))
    assert caught.value.code == ttrpc.StatusCode.UNIMPLEMENTED


async def test_payload_that_is_not_protobuf_is_an_invalid_argument(serve, plugin):
    with pytest.raises(CallError, match="the request is not protobuf") as caught:
        payload(await serve.respond(ttrpc.Request(1, PLUGIN_SERVICE, "CreateContainer", b"\xff\xff", 0)))
    assert caught.value.code == ttrpc.StatusCode.INVALID_ARGUMENT
    assert told(plugin) == []


async def test_event_of_a_later_version_is_passed_over(serve, plugin):
    assert payload(await serve.respond(call("StateChange", pb.StateChangeEvent(event=99)))) == b""
    assert told(plugin) == []


async def test_shutdown_is_acknowledged(serve):
    assert payload(await serve.respond(call("Shutdown"))) == b""
