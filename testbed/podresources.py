"""The kubelet's podresources API as a gRPC server for tests: pods and devices are what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from podnuma.agent.podresources.messages import podresources_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def devices(resource: str, ids: list[str], node: int | None = None) -> pb.ContainerDevices:
    """Return devices of one resource that are on one NUMA node; None: their plugin names none."""
    topology = None if node is None else pb.TopologyInfo(nodes=[pb.NUMANode(ID=node)])
    return pb.ContainerDevices(resource_name=resource, device_ids=ids, topology=topology)


def pod(namespace: str, name: str, **containers: list[pb.ContainerDevices]) -> pb.PodResources:
    """Return a pod with its containers' devices."""
    listed = [pb.ContainerResources(name=key, devices=value) for key, value in containers.items()]
    return pb.PodResources(namespace=namespace, name=name, containers=listed)


class FakeKubelet:
    """Serves List on a socket. `refusal`: refuse with this text; `silent`: do not answer."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.pods: list[pb.PodResources] = []
        self.refusal = ""
        self.silent = False
        self.asked = 0

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self._list,
            request_deserializer=pb.ListPodResourcesRequest.FromString,
            response_serializer=pb.ListPodResourcesResponse.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})
        self._server.add_generic_rpc_handlers((handlers,))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _list(self, _: pb.ListPodResourcesRequest, context: Any) -> pb.ListPodResourcesResponse:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, self.refusal)
        return pb.ListPodResourcesResponse(pod_resources=self.pods)


@contextlib.contextmanager
def serving(socket: Path) -> Iterator[FakeKubelet]:
    """Serve beside the test, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    socket.parent.mkdir(parents=True, exist_ok=True)
    kubelet = FakeKubelet(socket)
    asyncio.run_coroutine_threadsafe(kubelet.__aenter__(), loop).result(10)
    try:
        yield kubelet
    finally:
        asyncio.run_coroutine_threadsafe(kubelet.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
