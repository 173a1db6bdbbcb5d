"""Where runtimes listen for the kubelet.

Paths are below the root of the host's file system, which a container sees somewhere else. A runtime that was
stopped, or replaced by another one, leaves its socket behind, at which nobody listens any more.
"""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# In the order in which they are tried: a node may carry a second, unused runtime, and those of
# distributions that bring their own are the ones in use there.
KNOWN: Final = (
    "run/k3s/cri-dockerd/cri-dockerd.sock",
    "run/k3s/containerd/containerd.sock",
    "run/k0s/containerd.sock",
    "var/snap/microk8s/common/run/containerd.sock",
    "run/crio/crio.sock",
    "run/cri-dockerd.sock",
    "run/isulad.sock",
    "run/containerd/containerd.sock",
)


def find_sockets(root: Path, known: Iterable[str] = KNOWN) -> tuple[Path, ...]:
    """Return the known sockets below `root` at which somebody listens; if there is none, the others.

    Raises OSError where there is none, and a folder may not be looked into.
    """
    there: list[Path] = []
    denied: OSError | None = None
    for path in known:
        try:
            if (root / path).is_socket():
                there.append(root / path)
        except OSError as error:
            denied = error
    if denied is not None and not there:
        raise denied
    return tuple(filter(_listens, there)) or tuple(there)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(0.1)  # a listener takes everybody at once, unless its queue is full
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
