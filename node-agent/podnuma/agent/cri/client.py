"""One call to the runtime each, with a deadline, typed values in and out.

The channel connects when first used and reconnects by itself, at most a second after the
runtime is back. gRPC's errors are translated here and nowhere else (`_calling`).
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from podnuma.agent.cri.errors import CriError, LateError, UnreachableError
from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.messages import decode, encode
from podnuma.agent.cri.values import (
    ContainerEvent,
    CriContainer,
    CriContainerState,
    CriContainerStatus,
    LinuxContainerResources,
    RuntimeVersion,
    UpdateOutcome,
)

Response_co = TypeVar("Response_co", bound=Message, covariant=True)

_SERVICE: Final = "/runtime.v1.RuntimeService"
_TEXT_MAX: Final = 1024  # of an error text from the runtime

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 << 20),  # the kubelet's; a list of a big node passes 4 MiB
    ("grpc.default_authority", "localhost"),  # a socket path is none, and strict servers say so
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # In spite of its name the time that one attempt may take; a busy node needs more than a moment.
    ("grpc.min_reconnect_backoff_ms", 10_000),
)


class _Type(Protocol[Response_co]):
    """A generated message class, as far as it is used here."""

    def FromString(self, data: bytes, /) -> Response_co: ...  # noqa: N802  protobuf's name


class CriClient:
    """A connection to one runtime; use it as an async context manager. `deadline` is seconds per call."""

    def __init__(self, socket: Path, *, deadline: float = 2.0) -> None:
        self.socket = socket
        self._deadline = deadline
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection and cancel every call in progress."""
        await self._channel.close()

    async def version(self) -> RuntimeVersion:
        """Return name and version of the runtime."""
        return decode.runtime_version(await self._ask("Version", pb.VersionRequest(), pb.VersionResponse))

    async def containers(self) -> tuple[CriContainer, ...]:
        """List all containers, exited ones too."""
        answer = await self._ask("ListContainers", pb.ListContainersRequest(), pb.ListContainersResponse)
        return tuple(decode.cri_container(item) for item in answer.containers)

    async def container(self, container_id: str) -> CriContainerStatus | None:
        """Show one container in detail; None if it is gone."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=True)
        try:
            answer = await self._ask("ContainerStatus", request, pb.ContainerStatusResponse)
        except CriError as error:
            if error.code == grpc.StatusCode.NOT_FOUND.name:
                return None
            raise
        return decode.container_status(answer)

    async def update(self, container_id: str, resources: LinuxContainerResources) -> UpdateOutcome:
        """Change resources of a container that is created or runs; GONE if it is neither any more.

        The runtime keeps the values over its own restart. Only the kernel shows whether they took effect.
        """
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id, linux=encode.encode_container_resources(resources)
        )
        try:
            await self._ask("UpdateContainerResources", request, pb.UpdateContainerResourcesResponse)
        except (UnreachableError, LateError):
            raise
        except CriError:
            # CRI-O reports an ended container with code UNKNOWN, so its state decides.
            found = await self.container(container_id)
            if found is None or found.state is CriContainerState.EXITED:
                return UpdateOutcome.GONE
            raise
        return UpdateOutcome.UPDATED

    async def events(self) -> AsyncGenerator[ContainerEvent]:
        """Yield what happens to containers from now on, until the runtime ends the stream.

        CRI-O ends it at once unless it is configured for events; containerd before 2.0 gives
        each event to only one of its listeners, of which the kubelet can be another.
        """
        with _calling("GetContainerEvents"):
            stream = self._method("unary_stream", "GetContainerEvents", pb.ContainerEventResponse)
            async for message in stream(pb.GetEventsRequest()):
                event = decode.container_event(message)
                if event is not None:
                    yield event

    async def _ask(self, method: str, request: Message, response: _Type[Response_co]) -> Response_co:
        with _calling(method):
            answer: Response_co = await self._method("unary_unary", method, response)(
                request, timeout=self._deadline
            )
            return answer

    def _method(self, form: str, method: str, response: _Type[Any]) -> Any:
        return getattr(self._channel, form)(
            f"{_SERVICE}/{method}",
            request_serializer=methodcaller("SerializeToString"),
            response_deserializer=response.FromString,
        )


@contextmanager
def _calling(method: str) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError as error:
        # A channel that is closed cancels its calls, but not the tasks that made them.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        code = grpc.StatusCode.CANCELLED.name
        raise UnreachableError(method, code, "the connection was closed during the call") from error
    except grpc.aio.AioRpcError as error:
        code, text = error.code(), str(error.details())[:_TEXT_MAX]
        kinds: dict[grpc.StatusCode, type[CriError]] = {
            grpc.StatusCode.UNAVAILABLE: UnreachableError,
            grpc.StatusCode.DEADLINE_EXCEEDED: LateError,
        }
        raise kinds.get(code, CriError)(method, code.name, text) from error
