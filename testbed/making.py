"""Things that take long are made once, by one process, while others wait and all say what for.

What is made appears by rename, so that it is there whole or not at all: a process that waits looks for it
again and again, and goes on when it is there, whatever else the one that makes it has still to do.
"""

from __future__ import annotations

import fcntl
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOOK_SECONDS = 0.5


def make_once(
    what: str, there: Callable[[], bool], make: Callable[[], object], lock: Path, out: TextIO
) -> None:
    """Call `make` unless `there()` already, in one process at a time for each lock file.

    While another process holds the lock, `out` is told what is waited for and how long already.
    """
    if there():
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        waiting = None
        while not _taken(file):
            waiting = waiting or Progress(f"waiting for {what}: another process holds {lock.name}", out)
            waiting.show()
            time.sleep(_LOOK_SECONDS)
            if there():
                break
        if waiting is not None:
            waiting.done()
        if not there():
            make()


def _taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Progress:
    """What is being made and for how long: one line rewritten on a terminal, few plain ones elsewhere."""

    QUIET_SECONDS = 30

    def __init__(self, what: str, out: TextIO) -> None:
        self._what = what
        self._out = out
        self._start = time.monotonic()
        self._live = out.isatty()
        self._next_line = 0.0

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._start)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def show(self) -> None:
        """Show the time so far, at a bounded rate."""
        if self._live:
            print(f"\r{self._what}  {self._elapsed()} ", end="", file=self._out, flush=True)
        elif time.monotonic() - self._start >= self._next_line:
            print(f"{self._what}  {self._elapsed()}", file=self._out, flush=True)
            self._next_line += self.QUIET_SECONDS

    def break_off(self) -> None:
        """End the line, so that further output starts a new one."""
        if self._live:
            print(file=self._out, flush=True)

    def done(self) -> None:
        """Show the total time."""
        start = "\r" if self._live else ""
        print(f"{start}{self._what}  done in {self._elapsed()} ", file=self._out, flush=True)
