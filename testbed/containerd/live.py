"""A running pod, for asyncio tests: the kubelet's calls run in threads beside the event loop."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from testbed.containerd.pods import Pod, Pods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from testbed.containerd.pods import Fields


class LivePod:
    """A pod in its sandbox; it ends with the daemon. Make it by `run`."""

    _numbers = itertools.count(1)

    def __init__(self, pod: Pod, sandbox: str, socket: Path) -> None:
        self.pod = pod
        self.sandbox = sandbox
        self._socket = socket

    @classmethod
    async def run(cls, socket: Path, name: str = "db-0") -> LivePod:
        """Run a pod with a uid of its own in the namespace `shop`."""
        uid = f"uid-{next(cls._numbers)}"
        parent = f"kubepods-pod{uid.replace('-', '_')}.slice"
        live = cls(Pod(uid, "shop", name, parent, annotations={"team": "data"}), "", socket)
        live.sandbox = await live.call(Pods.run, live.pod)
        return live

    async def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Make any call of `Pods`."""

        def in_thread() -> Any:
            with Pods(self._socket) as pods:
                return method(pods, *arguments)

        return await asyncio.to_thread(in_thread)

    async def create(
        self, name: str, resources: Fields | None = None, annotations: Mapping[str, str] | None = None
    ) -> str:
        """Create a container and return its id."""
        container: str = await self.call(Pods.create, self.sandbox, self.pod, name, resources, annotations)
        return container

    async def start(self, container: str) -> None:
        """Start a container."""
        await self.call(Pods.start, container)

    async def running(
        self, name: str, resources: Fields | None = None, annotations: Mapping[str, str] | None = None
    ) -> str:
        """Create and start a container and return its id."""
        container = await self.create(name, resources, annotations)
        await self.start(container)
        return container
