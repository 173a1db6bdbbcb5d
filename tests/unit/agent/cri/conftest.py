import asyncio
import inspect
import tempfile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest_asyncio
from podnuma.agent.cri.client import CriClient
from podnuma.agent.cri.messages import cri_pb2 as pb

REQUESTS = {
    "Version": pb.VersionRequest,
    "ListContainers": pb.ListContainersRequest,
    "ContainerStatus": pb.ContainerStatusRequest,
    "UpdateContainerResources": pb.UpdateContainerResourcesRequest,
    "GetContainerEvents": pb.GetEventsRequest,
}


class FakeRuntime:
    """Serves CRI with what a test puts in `answers`: a message, a status code, a function of the request."""

    def __init__(self, socket):
        self.socket = socket
        self.events: asyncio.Queue[pb.ContainerEventResponse | grpc.StatusCode | None] = asyncio.Queue()
        self.answers: dict[str, Any] = {
            "Version": pb.VersionResponse(
                runtime_name="containerd", runtime_version="v2.4.2", runtime_api_version="v1"
            )
        }
        self.requests = []

    async def start(self):
        self._server = grpc.aio.server()
        handlers = {name: self._handler(name, request) for name, request in REQUESTS.items()}
        generic = grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()

    async def stop(self):
        await self._server.stop(0)

    def _handler(self, name, request):
        make = (
            grpc.unary_stream_rpc_method_handler
            if name == "GetContainerEvents"
            else grpc.unary_unary_rpc_method_handler
        )
        behaviour = self._stream if name == "GetContainerEvents" else self._answer(name)
        return make(
            behaviour,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _answer(self, name):
        async def answer(request, context):
            self.requests.append(request)
            found = self.answers.get(name, grpc.StatusCode.UNIMPLEMENTED)
            if inspect.isfunction(found):
                found = found(request)
            if inspect.isawaitable(found):
                found = await found
            if isinstance(found, grpc.StatusCode):
                await context.abort(found, f"no {name} here")
            return found

        return answer

    async def _stream(self, _request, context):
        while (event := await self.events.get()) is not None:  # None ends the stream
            if isinstance(event, grpc.StatusCode):
                await context.abort(event, "the stream broke")
            yield event


@pytest_asyncio.fixture
async def fake_runtime():
    with tempfile.TemporaryDirectory() as folder:
        runtime = FakeRuntime(Path(folder, "cri.sock"))
        await runtime.start()
        yield runtime
        await runtime.stop()


@pytest_asyncio.fixture
async def client(fake_runtime):
    async with CriClient(fake_runtime.socket, deadline=5) as client:
        yield client
