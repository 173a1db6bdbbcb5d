"""TCP ports on 127.0.0.1 that stay reserved until they are released.

A port is bound here with SO_REUSEPORT and never listened on: the kernel gives it to no other process,
a server of the same user that sets SO_REUSEPORT too may listen on it, and while that server is
down a client is refused, not answered by some other server.
"""

from __future__ import annotations

import socket


class ReservedPort:
    """One reserved port; `number` is valid until `release`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Release the port."""
        self._socket.close()


def free_port() -> int:
    """Return a port that is free now, for a program that can't share a reserved one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number
