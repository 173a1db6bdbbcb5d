"""Where runtimes listen for the kubelet.

Paths are below the root of the host's file system, which a container sees somewhere else.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

# In the order in which they are tried: a node may carry a second, unused runtime, and those of
# distributions that bring their own are the ones in use there.
KNOWN: Final = (
    "run/k3s/containerd/containerd.sock",
    "run/k0s/containerd.sock",
    "var/snap/microk8s/common/run/containerd.sock",
    "run/crio/crio.sock",
    "run/cri-dockerd.sock",
    "run/containerd/containerd.sock",
)


def find_socket(root: Path, known: Iterable[str] = KNOWN) -> Path | None:
    """Return the first known socket below `root`, None if there is none."""
    for path in known:
        socket = root / path
        if socket.is_socket():
            return socket
    return None
