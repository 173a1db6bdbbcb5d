"""QEMU's monitor (QMP): commands and events as JSON lines on a Unix socket.

Protocol: QEMU documentation, "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class MonitorError(RuntimeError):
    """QEMU refused a command or went away."""


class Monitor:
    """One connection; a `with` block closes it. Every wait ends after `timeout` seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._events: list[dict[str, Any]] = []
        self._read()  # the greeting
        self.command("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def command(self, name: str, **arguments: object) -> object:
        """Run one command and return its result."""
        text = json.dumps({"execute": name, "arguments": arguments})
        self._socket.sendall(text.encode() + b"\n")
        while True:
            message = self._read()
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise MonitorError(f"{name}: {message['error']['desc']}")
            else:
                return message["return"]

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of a name and return its data."""
        while True:
            message = self._events.pop(0) if self._events else self._read()
            if message.get("event") == name:
                found: dict[str, Any] = message.get("data", {})
                return found

    def save(self, target: Path) -> None:
        """Stop the machine and write its memory and devices to a file, from which QEMU can go on."""
        self.command("stop")
        self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self._migrate("migrate", f"exec:cat >'{target}'")

    def load(self, source: Path) -> None:
        """Go on from such a file; QEMU was started with `-incoming defer`."""
        self._migrate("migrate-incoming", f"exec:cat '{source}'")
        # It was stopped when it was saved, and is so still.
        self.command("cont")

    def _migrate(self, command: str, uri: str) -> None:
        self.command("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.command(command, uri=uri)
        while (status := self.event("MIGRATION")["status"]) != "completed":
            if status == "failed":
                raise MonitorError(f"{command} failed: {self.command('query-migrate')}")

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise MonitorError("QEMU closed its monitor")
        message: dict[str, Any] = json.loads(line)
        return message
