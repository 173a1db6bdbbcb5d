"""Asks the kubelet for the devices of pods that are not decided before these are known.

A kubelet gives a pod its devices when it admits it, and makes the pod's cgroup afterwards. So the answer is
complete once the cgroup, the sandbox or a container of the pod is there (`admitted`), and not before. It is
asked for at once then, for all such pods together, and again with growing pauses while the kubelet does not
answer or does not list the pod. After `patience` seconds it is told that nothing could be read, and the
profile says what follows; the kubelet is asked on, for as long as the decision waits.

The kubelet names pods by namespace and name. If it lists two of one name, the former is not forgotten yet.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from podnuma.agent.desired.state import DesiredAllocation, DesiredState
from podnuma.allocator import nodeset
from podnuma.allocator.decision import GrantedDevice
from podnuma.api.device_plugins import ReportedDevice, bounded
from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds
_BACKOFF = Backoff(0.1, 10.0)


class DevicesUnreadable(Exception):  # noqa: N818 - a state of the node, not a fault of this program
    """The kubelet did not say; the text says why."""


class KubeletDevice(Protocol):
    """A device of a container, as the kubelet names it."""

    @property
    def container(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def numa_nodes(self) -> frozenset[int]: ...


class KubeletPod(Protocol):
    """A pod, as the kubelet lists it."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def devices(self) -> Sequence[KubeletDevice]: ...


@dataclass(frozen=True, slots=True)
class ToldDevices:
    """What the kubelet said about a pod; `problem`: why it did not, empty if it did."""

    devices: tuple[ReportedDevice, ...] = ()
    problem: str = ""


class WaitingDevices:
    """Asks for the pods that wait, and hands over what comes of it, once for each pod and answer.

    `ask` returns what the kubelet lists, and raises DevicesUnreadable. `wake` is set when others may wait.
    """

    def __init__(
        self,
        desired: DesiredState,
        ask: Callable[[], Awaitable[Iterable[KubeletPod]]],
        tell: Callable[[DesiredAllocation, ToldDevices], None],
        *,
        wake: asyncio.Event,
        rng: random.Random,
        patience: float = PATIENCE,
    ) -> None:
        self._desired = desired
        self._ask = ask
        self._tell = tell
        self._rng = rng
        self._patience = patience
        self._wake = wake
        self._admitted: set[str] = set()
        self._since: dict[str, float] = {}
        self._told: dict[str, ToldDevices] = {}

    def admitted(self, uid: str) -> None:
        """Take note that the kubelet has admitted a pod."""
        self._admitted.add(uid)
        self._wake.set()

    def saw(self, uids: Collection[str]) -> None:
        """Take note of all pods that have a cgroup now."""
        self._admitted = set(uids)
        self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        failures = 0
        while True:
            waiting = self._waiting()
            if not waiting:
                failures = 0
                await self._wake.wait()
                self._wake.clear()
                continue
            self._wake.clear()
            failures = failures + 1 if await self._look(waiting) else 0
            if failures:
                await self._pause(_BACKOFF.delay(failures, self._rng))

    def _waiting(self) -> list[DesiredAllocation]:
        """Return the allocations that wait for devices that the kubelet has given already and not told."""
        found = [each for each in self._desired.allocations() if each.undecided]
        uids = {each.uid for each in found}
        self._since = {uid: since for uid, since in self._since.items() if uid in uids}
        self._told = {uid: told for uid, told in self._told.items() if uid in uids}
        return [
            each
            for each in found
            if each.uid_on_node in self._admitted
            and ((told := self._told.get(each.uid)) is None or told.problem)
        ]

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until some pod is new."""
        known = {each.uid for each in self._waiting()}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while all(each.uid in known for each in self._waiting()):
                    await self._wake.wait()
                    self._wake.clear()

    async def _look(self, waiting: Sequence[DesiredAllocation]) -> bool:
        """Ask once; return whether something is still missing."""
        try:
            listed, problem = tuple(await self._ask()), ""
        except DevicesUnreadable as error:
            listed, problem = (), str(error)
        now = asyncio.get_running_loop().time()
        missing = False
        for each in waiting:
            named = [pod for pod in listed if (pod.namespace, pod.name) == each.key]
            if len(named) == 1:
                self._say(each, ToldDevices(bounded(map(_reported, named[0].devices))))
                continue
            missing = True
            why = problem or (
                f"the kubelet lists {len(named) or 'no'} pod{'s' if named else ''} {'/'.join(each.key)}"
            )
            if now - self._since.setdefault(each.uid, now) >= self._patience:
                self._say(each, ToldDevices(problem=why))
        return missing

    def _say(self, waiting: DesiredAllocation, told: ToldDevices) -> None:
        if self._told.get(waiting.uid) == told:
            return
        self._told[waiting.uid] = told
        name = "/".join(waiting.key)
        if told.problem:
            logger.warning("pod %s: its devices are not known: %s", name, told.problem)
        else:
            logger.info("pod %s has %d devices of device plugins", name, len(told.devices))
        self._tell(waiting, told)


def _reported(device: KubeletDevice) -> ReportedDevice:
    known = [node for node in device.numa_nodes if 0 <= node <= nodeset.MAX_ID]
    return ReportedDevice(device.container, GrantedDevice(device.resource, device.id, nodeset.of(known)))
