"""One question to the kubelet: which pods has it, and which devices did it give them.

Asked seldom, so nothing stays connected: a kubelet that restarts makes its socket anew. The kubelet answers
a hundred questions a second at the most and refuses the others.
"""

from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from podnuma.agent.podresources.errors import PodResourcesError
from podnuma.agent.podresources.messages import podresources_pb2 as pb

_LIST: Final = "/v1.PodResourcesLister/List"
_LONGEST_TEXT: Final = 300  # of an error from the kubelet
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 << 20),  # the kubelet's own clients take as much
    ("grpc.default_authority", "localhost"),  # a socket path is none, and strict servers say so
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class ContainerDevice:
    """A device of a container, and the NUMA nodes that its plugin names; none if it names none."""

    container: str
    resource: str
    id: str
    numa_nodes: frozenset[int]


@dataclass(frozen=True, slots=True)
class ListedPod:
    """The devices of one pod. Two pods may have one name: of a pod that has ended, and of its successor."""

    namespace: str
    name: str
    devices: tuple[ContainerDevice, ...]


async def list_devices(socket: Path, deadline: float) -> tuple[ListedPod, ...]:
    """Return all pods of the kubelet; waits `deadline` seconds at the longest. Raises PodResourcesError."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        ask = channel.unary_unary(
            _LIST,
            request_serializer=methodcaller("SerializeToString"),
            response_deserializer=pb.ListPodResourcesResponse.FromString,
        )
        try:
            answer = await ask(pb.ListPodResourcesRequest(), timeout=deadline)
        except grpc.aio.AioRpcError as error:
            text = str(error.details())[:_LONGEST_TEXT]
            raise PodResourcesError(f"{socket}: {error.code().name}: {text}") from error
    return tuple(_pod(pod) for pod in answer.pod_resources)


def _pod(pod: pb.PodResources) -> ListedPod:
    """Return what the kubelet says of a pod, one entry per device: it may name one with each of its nodes."""
    nodes: dict[tuple[str, str, str], set[int]] = {}
    for container in pod.containers:
        for devices in container.devices:
            for id_ in devices.device_ids:
                found = nodes.setdefault((container.name, devices.resource_name, id_), set())
                found.update(node.ID for node in devices.topology.nodes)
    return ListedPod(
        pod.namespace,
        pod.name,
        tuple(ContainerDevice(*key, frozenset(found)) for key, found in nodes.items()),
    )
