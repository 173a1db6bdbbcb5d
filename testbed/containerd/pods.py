"""Pods and containers over CRI, as the kubelet asks for them.

Requests are written field by field (`encode`), so that the testbed needs no generated code and
cannot share a mistake with the product's own client. Field numbers: k8s.io/cri-api,
pkg/apis/runtime/v1/api.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc

from testbed.containerd.daemon import PAUSE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    # Any: recursive types buy nothing here. int, str, bytes, nested fields, or a list of one of them.
    Fields = Mapping[int, Any]

_VARINT, _BYTES = 0, 2
_NODE, _CONTAINER_NAMESPACE = 2, 1  # NamespaceMode: of the host, of each container
SECONDS = 30


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod to run. `cgroup_parent` is what the kubelet made for it."""

    uid: str
    namespace: str
    name: str
    cgroup_parent: str
    annotations: Mapping[str, str] = field(default_factory=dict)


class Pods:
    """Runs pods on a containerd; every method returns when the runtime has done it."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def run(self, pod: Pod) -> str:
        """Run the sandbox of a pod and return its id."""
        return _only_string(self._call("RunPodSandbox", {1: _pod_config(pod)}))

    def create(
        self,
        sandbox: str,
        pod: Pod,
        name: str,
        resources: Fields | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Create a container and return its id; `resources` is a LinuxContainerResources by field number."""
        labels = {
            "io.kubernetes.pod.uid": pod.uid,
            "io.kubernetes.pod.namespace": pod.namespace,
            "io.kubernetes.pod.name": pod.name,
            "io.kubernetes.container.name": name,
        }
        config: Fields = {
            1: {1: name},
            2: {1: PAUSE},
            3: ["/pause"],
            9: _map(labels),
            10: _map(annotations or {}),
            15: {1: resources or {}},
        }
        return _only_string(self._call("CreateContainer", {1: sandbox, 2: config, 3: _pod_config(pod)}))

    def start(self, container: str) -> None:
        """Start a container."""
        self._call("StartContainer", {1: container})

    def update(self, container: str, resources: Fields) -> None:
        """Change resources as the kubelet does at an in-place resize."""
        self._call("UpdateContainerResources", {1: container, 2: resources})

    def stop(self, container: str) -> None:
        """Stop a container at once."""
        self._call("StopContainer", {1: container, 2: 0})

    def remove(self, container: str) -> None:
        """Remove a container."""
        self._call("RemoveContainer", {1: container})

    def _call(self, method: str, request: Fields) -> bytes:
        call = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
        answer: bytes = call(encode(request), timeout=SECONDS, wait_for_ready=True)
        return answer


def encode(fields: Fields) -> bytes:
    """Protobuf wire form of a message given as number -> value; a list is a repeated field."""
    parts = []
    for number, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                parts += [_varint(number << 3 | _VARINT), _varint(item & (1 << 64) - 1)]
                continue
            payload = (
                item.encode() if isinstance(item, str) else item if isinstance(item, bytes) else encode(item)
            )
            parts += [_varint(number << 3 | _BYTES), _varint(len(payload)), payload]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _only_string(message: bytes) -> str:
    # Both answers that are read hold one short string in field 1.
    return message[2 : 2 + message[1]].decode()


def _map(values: Mapping[str, str]) -> list[Fields]:
    return [{1: key, 2: value} for key, value in values.items()]


def _pod_config(pod: Pod) -> Fields:
    namespaces: Fields = {1: _NODE, 2: _CONTAINER_NAMESPACE, 3: _NODE}
    return {
        1: {1: pod.name, 2: pod.uid, 3: pod.namespace},
        7: _map(pod.annotations),
        8: {1: pod.cgroup_parent, 2: {1: namespaces}},
    }
