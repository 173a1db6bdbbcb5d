"""A podnuma process as the test bed runs it: `podnuma operator` or `podnuma agent run`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

from testbed.ports import free_port
from testbed.processes import Process
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

START_SECONDS = 180  # of a busy machine


def podnuma_script() -> str:
    """Return the path of the installed `podnuma`."""
    return str(Path(sys.executable).with_name("podnuma"))


class Program:
    """One podnuma process: it can be killed and started again, and says when it is ready.

    `through` is what runs it instead of the installed script, for example under a profiler.
    """

    def __init__(self, name: str, arguments: Iterable[str], log: Path, through: Iterable[str] = ()) -> None:
        self.name = name
        self.port = free_port()
        self.log = log
        self._argv = [
            *(tuple(through) or (podnuma_script(),)),
            *arguments,
            f"--metrics-port={self.port}",
            "--metrics-host=127.0.0.1",
        ]
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running process; RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def start(self) -> Self:
        self._process = Process(self.name, self._argv, self.log)
        return self

    def kill(self) -> None:
        """SIGKILL, as when a machine runs out of memory."""
        self.process.kill()

    def terminate(self) -> int:
        """SIGTERM, as when a rollout replaces the pod; returns the exit status."""
        return self.process.terminate()

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self._process.kill()

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until the readiness probe says yes; ProcessFailedError if the process ends instead."""

        def ready() -> bool:
            self.process.check()
            try:
                return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).ok
            except requests.RequestException:
                return False

        try:
            until(ready, f"{self.name} to be ready", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.process.tail()}") from error

    def metrics(self) -> str:
        """Return the text that Prometheus would scrape."""
        return requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text

    def not_ready(self) -> str:
        """Return why its readiness probe says no; empty if it says yes."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        return "" if answer.ok else answer.text

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.signal(signal.SIGCONT)
