"""What a user of this package implements.

Callbacks run in the event loop of the session, several at a time. Containers wait while they
run, so none may block the loop. A callback that takes longer than the session's own deadline is
cancelled; the runtime's deadline, which would drop the plugin, is never reached.

What an exception or a passed deadline means is decided per callback:

    create_container, update_container   the operation fails; the kubelet shows the text and retries
    synchronize, stop_container          answered without updates, logged
    event, disconnected                  logged
    configured                           the session ends
"""

from collections.abc import Sequence
from typing import Protocol

from podnuma.agent.nri.values import (
    ContainerUpdate,
    CreateContainerResponse,
    FailurePolicy,
    LinuxResources,
    NriContainer,
    NriEvent,
    PodSandbox,
    RuntimeInfo,
)


class Refused(Exception):  # noqa: N818  a decision, not a fault
    """Raised by create_container or update_container to refuse it: the text reaches the kubelet."""


class Plugin(Protocol):
    """Callbacks in the order in which a session makes them."""

    async def configured(self, runtime: RuntimeInfo) -> None:
        """Take note of the runtime that accepted us. Nothing else is called before this returns."""

    def failure_policy(self) -> FailurePolicy:
        """Return what the runtime is to do with requests that get no answer; asked at each registration."""
        ...

    async def synchronize(
        self, pods: Sequence[PodSandbox], containers: Sequence[NriContainer]
    ) -> Sequence[ContainerUpdate]:
        """See everything the runtime has; hooks follow only after the answer, costly moves too."""

    async def create_container(self, pod: PodSandbox, container: NriContainer) -> CreateContainerResponse:
        """Decide on a container about to be created; updates of the answer are applied before it exists."""

    async def update_container(
        self, pod: PodSandbox, container: NriContainer, wanted: LinuxResources
    ) -> Sequence[ContainerUpdate]:
        """Decide on a change that is being made; an update with its own id overrides `wanted`."""

    async def stop_container(self, pod: PodSandbox, container: NriContainer) -> Sequence[ContainerUpdate]:
        """Take note of a container that stops or has exited. The pod may be known by id only."""

    async def event(self, event: NriEvent, pod: PodSandbox, container: NriContainer | None) -> None:
        """Take note of any other subscribed event; `container` is None for events of pods."""

    async def disconnected(self, reason: str) -> None:
        """Take note that a session that had been configured is over; the link tries for a new one."""
