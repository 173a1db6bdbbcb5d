"""The calls a runtime makes: decode, ask the plugin within the deadline, encode.

No socket here: a decoded ttrpc request goes in, the bytes of its response come out. Every
request is answered, whatever the plugin does, and well before the runtime's own timeout: that
one drops the plugin and lets the container start unpinned.

Events come in two forms, one StateChange call with a number (every runtime before NRI 0.12)
and a call per event; plugins see no difference.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from podnuma.agent.nri import ttrpc
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.messages import decode, encode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.plugin import Plugin, Refused
from podnuma.agent.nri.values import (
    DEFAULT_REQUEST_TIMEOUT,
    FailurePolicy,
    NriContainer,
    NriEvent,
    PodSandbox,
    RuntimeInfo,
)

_log = logging.getLogger(__name__)

PLUGIN_SERVICE: Final = "nri.pkg.api.v1alpha1.Plugin"

# A node has hundreds of containers. The bound is what a hostile peer may make us keep.
SYNCHRONIZED_OBJECTS_MAX: Final = 100_000

_POD_NOTICES: Final[Mapping[str, NriEvent]] = {
    "RunPodSandbox": NriEvent.RUN_POD_SANDBOX,
    "UpdatePodSandbox": NriEvent.UPDATE_POD_SANDBOX,
    "PostUpdatePodSandbox": NriEvent.POST_UPDATE_POD_SANDBOX,
    "StopPodSandbox": NriEvent.STOP_POD_SANDBOX,
    "RemovePodSandbox": NriEvent.REMOVE_POD_SANDBOX,
}
_CONTAINER_NOTICES: Final[Mapping[str, NriEvent]] = {
    "PostCreateContainer": NriEvent.POST_CREATE_CONTAINER,
    "StartContainer": NriEvent.START_CONTAINER,
    "PostStartContainer": NriEvent.POST_START_CONTAINER,
    "PostUpdateContainer": NriEvent.POST_UPDATE_CONTAINER,
    "RemoveContainer": NriEvent.REMOVE_CONTAINER,
}

# An error in any other call would only break what the runtime is doing; nothing retries it.
_MAY_FAIL: Final = frozenset({"Configure", "CreateContainer", "UpdateContainer"})


class PluginService:
    """The plugin's side of one session. It alone knows how far the handshake has got."""

    def __init__(self, plugin: Plugin, config: PluginConfig) -> None:
        self.configured = asyncio.Event()
        self.synchronized = asyncio.Event()
        self.runtime: RuntimeInfo | None = None
        self.failure_policy = FailurePolicy.IGNORE
        self.calls = 0
        self._plugin = plugin
        self._config = config
        self._pods: list[PodSandbox] = []
        self._containers: list[NriContainer] = []
        self._handlers: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            "Configure": self._configure,
            "Synchronize": self._synchronize,
            "CreateContainer": self._create_container,
            "UpdateContainer": self._update_container,
            "StopContainer": self._stop_container,
            "StateChange": self._state_change,
            "Shutdown": self._shutdown,
            **{method: self._pod_notice(event) for method, event in _POD_NOTICES.items()},
            **{method: self._container_notice(event) for method, event in _CONTAINER_NOTICES.items()},
        }

    async def respond(self, call: ttrpc.Request) -> bytes:
        """Encode the answer to `call`. Raises nothing but cancellation."""
        self.calls += 1
        handler = self._handlers.get(call.method) if call.service == PLUGIN_SERVICE else None
        if handler is None:
            return ttrpc.error_response(
                call.stream,
                ttrpc.StatusCode.UNIMPLEMENTED,
                f"no method {call.service[:100]}/{call.method[:100]}",
            )
        return await self._run(call, handler)

    async def _run(self, call: ttrpc.Request, handler: Callable[[bytes], Awaitable[bytes]]) -> bytes:
        within = self._deadline(call)
        deadline = asyncio.timeout(within)
        try:
            async with deadline:
                return ttrpc.response(call.stream, await handler(call.payload))
        except Refused as refusal:
            return ttrpc.error_response(call.stream, ttrpc.StatusCode.UNKNOWN, str(refusal))
        except DecodeError as error:
            _log.warning("NRI %s: the request is not protobuf: %s", call.method, error)
            text = f"{call.method}: the request is not protobuf"
            return ttrpc.error_response(call.stream, ttrpc.StatusCode.INVALID_ARGUMENT, text)
        except Exception as error:  # noqa: BLE001  whatever the plugin raises, the runtime gets an answer
            if deadline.expired():
                _log.warning("NRI %s: not answered within %.2f s", call.method, within)
                text = f"{self._config.name} did not answer {call.method} within {within:.2f} s"
                return self._without_answer(call, text)
            _log.exception("NRI %s: the plugin failed", call.method)
            text = f"{self._config.name} failed in {call.method}: {type(error).__name__}"
            return self._without_answer(call, text)

    def _without_answer(self, call: ttrpc.Request, text: str) -> bytes:
        if call.method in _MAY_FAIL:
            return ttrpc.error_response(call.stream, ttrpc.StatusCode.UNKNOWN, text)
        return ttrpc.response(call.stream, b"")  # the empty message of every response type: no updates

    def _deadline(self, call: ttrpc.Request) -> float:
        # The request says what is left of the time for all parts of a Synchronize.
        timeouts = [DEFAULT_REQUEST_TIMEOUT if self.runtime is None else self.runtime.request_timeout]
        if call.timeout > 0:
            timeouts.append(call.timeout)
        return min(timeouts) * self._config.answer_share

    async def _configure(self, payload: bytes) -> bytes:
        self.runtime = decode.runtime_info(pb.ConfigureRequest.FromString(payload))
        await self._plugin.configured(self.runtime)
        self.failure_policy = self._plugin.failure_policy()
        self.configured.set()
        return pb.ConfigureResponse(
            events=encode.event_mask(self._config.events & self.runtime.events),
            failure_policy=encode.failure_policy(self.failure_policy),
        ).SerializeToString()

    async def _synchronize(self, payload: bytes) -> bytes:
        request = pb.SynchronizeRequest.FromString(payload)
        if len(self._pods) + len(self._containers) > SYNCHRONIZED_OBJECTS_MAX:
            raise Refused(f"more than {SYNCHRONIZED_OBJECTS_MAX} pods and containers")
        self._pods += [decode.pod_sandbox(pod) for pod in request.pods]
        # Parts may bring a container before its pod, so uids are filled in at the end.
        self._containers += [decode.nri_container(container) for container in request.containers]
        if request.more:
            return pb.SynchronizeResponse(more=True).SerializeToString()
        pods, self._pods = self._pods, []
        containers, self._containers = self._containers, []
        self.synchronized.set()
        updates = await self._plugin.synchronize(pods, decode.with_pod_uids(containers, pods))
        return pb.SynchronizeResponse(update=encode.encode_updates(updates)).SerializeToString()

    async def _create_container(self, payload: bytes) -> bytes:
        request = pb.CreateContainerRequest.FromString(payload)
        answer = await self._plugin.create_container(*_pair(request.pod, request.container))
        return encode.encode_response(answer).SerializeToString()

    async def _update_container(self, payload: bytes) -> bytes:
        request = pb.UpdateContainerRequest.FromString(payload)
        wanted = decode.linux_resources(request.linux_resources)
        updates = await self._plugin.update_container(*_pair(request.pod, request.container), wanted)
        return pb.UpdateContainerResponse(update=encode.encode_updates(updates)).SerializeToString()

    async def _stop_container(self, payload: bytes) -> bytes:
        request = pb.StopContainerRequest.FromString(payload)
        updates = await self._plugin.stop_container(*_pair(request.pod, request.container))
        return pb.StopContainerResponse(update=encode.encode_updates(updates)).SerializeToString()

    async def _state_change(self, payload: bytes) -> bytes:
        request = pb.StateChangeEvent.FromString(payload)
        if request.event not in set(NriEvent):
            return b""  # a later version's event, to which this plugin did not subscribe
        pod, container = _pair(request.pod, request.container)
        has_container = request.HasField("container")
        await self._plugin.event(NriEvent(request.event), pod, container if has_container else None)
        return b""

    def _pod_notice(self, event: NriEvent) -> Callable[[bytes], Awaitable[bytes]]:
        async def notice(payload: bytes) -> bytes:
            await self._plugin.event(event, decode.pod_sandbox(pb.PodNotice.FromString(payload).pod), None)
            return b""

        return notice

    def _container_notice(self, event: NriEvent) -> Callable[[bytes], Awaitable[bytes]]:
        async def notice(payload: bytes) -> bytes:
            request = pb.ContainerNotice.FromString(payload)
            await self._plugin.event(event, *_pair(request.pod, request.container))
            return b""

        return notice

    async def _shutdown(self, payload: bytes) -> bytes:
        del payload  # empty; the runtime closes the connection next, which ends the session
        return b""


def _pair(pod: pb.PodSandbox, container: pb.Container) -> tuple[PodSandbox, NriContainer]:
    return decode.pod_sandbox(pod), decode.nri_container(container, pod.uid)
