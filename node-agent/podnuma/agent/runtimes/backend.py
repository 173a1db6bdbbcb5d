"""What touches the node: which runtime, which ways to write, what else has to run for them.

`app` asks for one `NodeBackend` by settings; everything else works with it and knows no runtime by name. The
backend exists before the start hook does, which needs it; so what asks the hook is given it when it begins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from podnuma.agent.apiserver.watch import WatchEvent, WatchSource
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, KubepodsCpuset
from podnuma.agent.model.containers import RuntimeDescription, StartingContainer
from podnuma.agent.reconcile.apply import Mechanism
from podnuma.agent.reconcile.reconciler import ContainerSource
from podnuma.agent.start.hook import StartAnswer


class Hook(Protocol):
    """What a runtime asks about a container; `hook.StartHook` answers."""

    async def start(self, starting: StartingContainer, within: float) -> StartAnswer:
        """Return what a container starts with; waits `within` seconds. Raises StartRefused."""
        ...

    def pod_admitted(self, uid: str) -> None:
        """Take note that the kubelet has admitted a pod."""
        ...

    async def before_start(self, cgroup: ContainerCgroup) -> None:
        """Prove that a container that has been created and has not begun to run has its values."""
        ...

    def fail_closed(self) -> bool:
        """Tell whether a container must rather not start than start unasked, as far as is known now."""
        ...

    async def wait_fail_closed(self, *, closed: bool) -> None:
        """Wait until `fail_closed` is this."""
        ...

    def update_begins(self, cgroup: ContainerCgroup) -> CgroupTarget | None:
        """Return at once what a container keeps when it is updated; None for "nothing to say"."""
        ...

    def update_ended(self, container_id: str) -> None:
        """Take note that a container has been updated."""
        ...


Source: TypeAlias = tuple[WatchSource, Callable[[WatchEvent], None]]
Task: TypeAlias = Callable[[], Awaitable[None]]


async def _never() -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class NodeBackend:
    """One node's runtime, the reader of its cgroups and the ways to write; they belong together.

    mechanisms: in the order in which they are tried.
    describe: for the status; it may change while the agent runs.
    kubepods: what the cgroup of all pods has; None while that is not known.
    sources: what else to watch at the API server, and who takes it.
    tasks: what has to run besides, each for ever.
    until_moved: ends, with NodeNotReady, when this is no backend of the node any more.
    """

    reader: CgroupReader
    runtime: ContainerSource
    mechanisms: Sequence[Mechanism]
    describe: Callable[[], RuntimeDescription]
    kubepods: Callable[[], KubepodsCpuset | None]
    sources: Callable[[Hook], Sequence[Source]] = lambda _: ()
    tasks: Callable[[Hook], Sequence[Task]] = lambda _: ()
    until_moved: Task = _never


class NodeNotReady(OSError):  # noqa: N818 - a state of the node, not a fault of this program
    """The node lacks something that the agent needs, perhaps only for now. The text says what to do."""
