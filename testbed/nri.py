"""An NRI plugin that records its calls and returns what a test sets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from podnuma.agent.nri.values import CreateContainerResponse, FailurePolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from podnuma.agent.nri.values import (
        ContainerUpdate,
        LinuxResources,
        NriContainer,
        NriEvent,
        PodSandbox,
        RuntimeInfo,
    )


class Recorder:
    """Set `answer`, `updates` and `before_answer`; read `calls`: (name, *arguments) each."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.runtime: RuntimeInfo | None = None
        self.answer = CreateContainerResponse()
        self.updates: Sequence[ContainerUpdate] = ()
        self.policy = FailurePolicy.IGNORE
        self.before_answer: Callable[[], Awaitable[object]] | None = None

    async def configured(self, runtime: RuntimeInfo) -> None:
        self.runtime = runtime
        await self._told("configured", runtime)

    def failure_policy(self) -> FailurePolicy:
        return self.policy

    async def synchronize(
        self, pods: Sequence[PodSandbox], containers: Sequence[NriContainer]
    ) -> Sequence[ContainerUpdate]:
        await self._told("synchronize", pods, containers)
        return self.updates

    async def create_container(self, pod: PodSandbox, container: NriContainer) -> CreateContainerResponse:
        await self._told("create", pod, container)
        return self.answer

    async def update_container(
        self, pod: PodSandbox, container: NriContainer, wanted: LinuxResources
    ) -> Sequence[ContainerUpdate]:
        await self._told("update", pod, container, wanted)
        return self.updates

    async def stop_container(self, pod: PodSandbox, container: NriContainer) -> Sequence[ContainerUpdate]:
        await self._told("stop", pod, container)
        return self.updates

    async def event(self, event: NriEvent, pod: PodSandbox, container: NriContainer | None) -> None:
        await self._told(event, pod, container)

    async def disconnected(self, reason: str) -> None:
        await self._told("disconnected", reason)

    async def told(self, name: object, within: float = 30) -> tuple[Any, ...]:
        """Skip to the next call of `name` and return its arguments."""
        async with asyncio.timeout(within):
            while True:
                call = await self.calls.get()
                if call[0] == name:
                    return call[1:]

    async def _told(self, *call: Any) -> None:
        self.calls.put_nowait(call)
        if self.before_answer is not None:
            await self.before_answer()
