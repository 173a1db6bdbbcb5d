"""Children end with whoever started them, and say why they ended by themselves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.processes import Process, ProcessFailedError, tail
from testbed.waiting import until

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_process_is_gone_and_collected(tmp_path):
    process = Process("sleeper", SLEEPER, tmp_path / "log")
    assert process.alive
    process.check()
    process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


def test_process_that_ignores_sigterm_is_killed_after_the_timeout(tmp_path):
    process = Process("deaf", [sys.executable, "-c", DEAF], tmp_path / "log")
    until(lambda: "deaf" in process.tail(), "the process to ignore the signal", 10)
    assert process.terminate(timeout=0.2) == -signal.SIGKILL


def test_process_that_ends_by_itself_is_reported_with_the_end_of_its_log(tmp_path):
    process = Process(
        "failing", [sys.executable, "-c", "print('no disk left'); raise SystemExit(3)"], tmp_path / "log"
    )
    assert process.wait(10) == 3
    with pytest.raises(ProcessFailedError, match=r"failing ended with status 3(?s:.*)no disk left"):
        process.check()


def test_child_dies_with_a_parent_that_is_killed(tmp_path):
    parent = f"""
from pathlib import Path
from testbed.processes import Process
child = Process("child", {SLEEPER!r}, Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
child.wait(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert is_running(child)
        process.kill()
    until(lambda: not is_running(child), "the child to be gone", 5)


def test_child_does_not_get_the_signals_of_our_process_group(tmp_path):
    process = Process("sleeper", SLEEPER, tmp_path / "log")
    try:
        group = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[2]
        assert int(group) == process.pid
    finally:
        process.kill()


def test_child_takes_the_signals_that_its_parent_holds_back_while_it_forks(tmp_path):
    process = Process("sleeper", SLEEPER, tmp_path / "log")
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "SigBlk:\t0000000000000000" in status
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    finally:
        process.kill()


def test_tail_shows_the_last_lines_and_cuts_long_ones(tmp_path):
    log = tmp_path / "log"
    assert "(empty)" in tail(log)
    log.write_text("".join(f"line {number}\n" for number in range(100)) + "x" * 1000)
    shown = tail(log, 3).splitlines()
    assert [line.strip() for line in shown[1:]] == ["line 98", "line 99", "x" * 400]
