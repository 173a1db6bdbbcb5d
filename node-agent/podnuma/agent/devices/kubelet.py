"""Asks the kubelet of this node, on its socket."""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from podnuma.agent.devices.waiting import DevicesUnreadable, KubeletPod
from podnuma.agent.podresources.errors import PodResourcesError
from podnuma.plumbing.threads import in_thread

SOCKET = Path("pod-resources/kubelet.sock")  # below the kubelet's folder
_DEADLINE = 1.0  # seconds


class _Observe(Protocol):
    def __call__(self, seconds: float, *, answered: bool) -> None: ...


class KubeletDevices:
    """The kubelet's list of pods and their devices; `observe` is told of each question."""

    def __init__(
        self, kubelet_root: Path, observe: _Observe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._socket = kubelet_root / SOCKET
        self._observe = observe
        self._clock = clock

    async def ask(self) -> Sequence[KubeletPod]:
        """Return the kubelet's pods. Raises DevicesUnreadable."""
        try:
            there = self._socket.is_socket()
        except OSError as error:
            raise DevicesUnreadable(
                f"{self._socket} cannot be looked at ({error.strerror}); where SELinux denies it, set"
                " agent.seLinuxType of the chart to spc_t"
            ) from error
        if not there:
            raise DevicesUnreadable(
                f"{self._socket} is not a socket; the kubelet listens there while it runs, and the agent must"
                " see the kubelet's folder (agent.kubeletDirectory of the chart)"
            )
        began = self._clock()
        try:
            # Containers are starting on this node: what answers their runtime must not wait for the import.
            list_devices = await in_thread(_client)
            found = await list_devices(self._socket, _DEADLINE)
        except PodResourcesError as error:
            self._observe(self._clock() - began, answered=False)
            raise DevicesUnreadable(str(error)) from error
        self._observe(self._clock() - began, answered=True)
        return found


def _client() -> Callable[[Path, float], Awaitable[Sequence[KubeletPod]]]:
    # gRPC is a third of the memory of an agent that does not need it.
    from podnuma.agent.podresources.client import list_devices  # noqa: PLC0415

    return list_devices
