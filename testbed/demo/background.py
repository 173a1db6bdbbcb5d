"""A demo that keeps running after its command has returned.

A background process in a session of its own plays the demo, reports how that went, and then waits for
SIGTERM; every part of the demo is its child and ends with it. A PID file in the cache folder names it,
so that it can be stopped from anywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import build
from testbed.waiting import until

if TYPE_CHECKING:
    from testbed.demo.story import Demo

STOP_SECONDS = 60


def start() -> int:
    """Start the background process, wait until its demo has been played, return the demo's exit status."""
    read_end, write_end = os.pipe()
    argv = [sys.executable, "-m", "testbed.demo", "--report-to", str(write_end)]
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[write_end]
    ) as keeper:
        os.close(write_end)
        try:
            with os.fdopen(read_end, "rb") as reports:
                told = reports.read()
        except BaseException:
            keeper.send_signal(signal.SIGTERM)
            raise
        if not told:
            return keeper.wait()
        # It keeps running: do not wait for it when the block ends.
        keeper.returncode = int(told)
    return int(told)


def keep(demo: Demo, report_to: int) -> None:
    """In the background process: report that the demo was played, detach and wait to be stopped."""
    record = _folder() / str(os.getpid())
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    try:
        sys.stdout.flush()
        with Path(os.devnull).open("r+") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.write(report_to, b"0")
        os.close(report_to)
        while True:
            demo.check_alive()
            time.sleep(1)
    finally:
        record.unlink(missing_ok=True)


def stop() -> int:
    """Stop every background demo of this user and return how many there were."""
    stopped = 0
    for record in sorted(_folder().glob("*")):
        pid = int(record.name)
        if _is_running(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until(lambda: not _is_running(pid), f"the demo of process {pid} to end", STOP_SECONDS)  # noqa: B023
            stopped += 1
        record.unlink(missing_ok=True)
    return stopped


def _folder() -> Path:
    return build.cache_folder() / "demos"


def _is_running(pid: int) -> bool:
    """Return whether a process is a background demo: the PID may have been reused."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return b"testbed.demo" in words and state != "Z"
