"""Child processes that cannot outlive the one that started them.

Each child leads a process group of its own, so Ctrl-C in a terminal reaches only this process, which
stops its children in order; and the kernel kills each child (PR_SET_PDEATHSIG) when the thread that
started it ends, so that even a SIGKILL of the parent leaves nothing behind. Therefore start
children from the main thread, or from one that lives as long as they do.

Output goes to a file; `tail` reads its end for error texts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True)


class ProcessFailedError(RuntimeError):
    """A child process ended by itself; the text holds the end of its log."""


@contextlib.contextmanager
def _no_interruption() -> Iterator[set[signal.Signals]]:
    """Defer Ctrl-C: an exception in the callbacks that Python runs around a fork would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent(mask: set[signal.Signals]) -> Callable[[], None]:
    """Return what a child runs before exec so that it is killed when its parent is gone."""
    parent = os.getpid()

    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before prctl took effect
            os._exit(1)

    return before_exec


def hear_ctrl_c() -> None:
    """Run before exec in a child that is to be interrupted: below a job started with `&` SIGINT is dead."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """One running child and its log file."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        with log.open("ab") as sink, _no_interruption() as mask:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                process_group=0,
                preexec_fn=_die_with_parent(mask),  # noqa: PLW1509 - two system calls, nothing that can lock
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative signal number, or None while it runs."""
        return self._popen.poll()

    def check(self) -> None:
        """Raise ProcessFailedError when the process is gone."""
        if not self.alive:
            raise ProcessFailedError(f"{self.name} ended with status {self.returncode}\n{self.tail()}")

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; a group that is gone is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL the group and collect the child."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def terminate(self, timeout: float = 10) -> int:
        """SIGTERM, then SIGKILL after `timeout` seconds; returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def wait(self, timeout: float) -> int:
        """Wait for the process to end by itself; subprocess.TimeoutExpired when it does not."""
        return self._popen.wait(timeout)

    def tail(self, lines: int = 25) -> str:
        """Return the last lines of the log under a heading with its path."""
        return tail(self.log, lines)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log file, each cut at 400 characters, under a heading."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    shown = "\n".join(f"    {line[:400]}" for line in text[-lines:]) or "    (empty)"
    return f"  last lines of {log}:\n{shown}"
