"""Which of several runtimes on a node is the one that the kubelet uses.

A node may run one for other purposes, or still run the one that it had before (openkruise/kruise#809), and
systemd listens for one that nobody uses (cri-docker.socket). Each of them answers, and lists no container. So
the one that lists the most containers of this node's pods is it: its predecessor may have left some running.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from podnuma.agent.cri.errors import CriError


async def choose_socket(sockets: Sequence[Path], in_pods: Callable[[], AbstractSet[str]]) -> Path | None:
    """Return the socket of the runtime that lists the most of the containers `in_pods`, which are ids.

    Where there is no choice nobody is asked; while no pod has a container the first will do. None: there are
    several, and none lists such a container.
    """
    if len(sockets) < 2 or not (ids := in_pods()):  # noqa: PLR2004 - a choice
        return next(iter(sockets), None)
    theirs = [len(ids & await _listed(socket)) for socket in sockets]
    most = max(theirs)
    return sockets[theirs.index(most)] if most else None


async def _listed(socket: Path) -> set[str]:
    """Return the ids that a runtime lists; none if it does not answer, or knows no CRI."""
    from podnuma.agent.cri.client import CriClient  # noqa: PLC0415 - loads gRPC

    try:
        async with CriClient(socket) as client:
            return {container.id for container in await client.containers()}
    except CriError:
        return set()
