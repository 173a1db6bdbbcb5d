"""`make demo` does what it shows, ends with what it started, and can be left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import build
from testbed.processes import hear_ctrl_c
from testbed.waiting import until

pytestmark = pytest.mark.timeout(240)
SCREEN = 50  # lines
DEMO = [sys.executable, "-m", "testbed.demo"]


@pytest.fixture
def demo_environment(tmp_path):
    """The built tools, and otherwise a cache of our own: stopping must not touch a user's kept demo."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(build.cache_folder() / "tools")
    return {**os.environ, "PODNUMA_CACHE": str(cache), "TMPDIR": str(tmp_path)}


def run(argv: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=False)


def children_below(folder: Path) -> list[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:  # ended meanwhile
                continue
            if str(folder) in words:
                found.append(words)
    return found


def shown_by_the_readme() -> str:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    return text.split("<!-- demo: begin -->\n```console\n")[1].split("```\n<!-- demo: end -->")[0]


def told(output: str) -> list[str]:
    """The lines without times, ages, the patch release and where the project is."""
    for changing, instead in (
        (r"^ *\d+\.\d s  ", "at "),
        (r"\b\d+s$", "age"),
        (r"v1\.\d+\.\d+", "version"),
        (r"PATH=\S+:", "PATH=here:"),
    ):
        output = re.sub(changing, instead, output, flags=re.MULTILINE)
    return output.strip().splitlines()


@pytest.mark.usefixtures("built")
def test_demo_shows_its_pods_and_checks_them(demo_environment, tmp_path):
    done = run(DEMO, demo_environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checked: database has 6 CPUs of its own" in done.stdout
    assert "checked: training has 3 CPUs of one NUMA node" in done.stdout
    assert "refused there (TopologyAffinityError)" in done.stdout
    assert "with the gate it waits; on node-3: needs 7 CPUs on one NUMA node; the largest has" in done.stdout
    assert "checked: it was bound once another had ended; of the nine pods with the gate none" in done.stdout
    assert re.search(r"^database +node-1 +pod ", done.stdout, re.MULTILINE)
    assert re.search(r"^ml-training +node-2 +container ", done.stdout, re.MULTILINE)
    assert "<none>" not in done.stdout
    assert re.findall(r"^NUMA node \d", done.stdout, re.MULTILINE) == ["NUMA node 0"]
    assert "make demo KEEP=1" in done.stdout
    assert len(done.stdout.splitlines()) <= SCREEN
    assert told(done.stdout) == told(shown_by_the_readme())
    assert re.search(r"database +database +\S+ +\S+ +max 100000", done.stdout)
    assert children_below(tmp_path) == []
    assert list(tmp_path.glob("podnuma-*")) == []


@pytest.mark.usefixtures("built")
def test_kept_demo_can_be_looked_at_and_stopped(demo_environment, tmp_path):
    done = run([*DEMO, "--keep"], demo_environment)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        enter, *looks, page, stop = (line.strip() for line in done.stdout.rstrip().splitlines()[-5:])
        assert (page, stop) == ("kubectl podnuma ui", "make demo-stop")
        explained, planned = (
            subprocess.run(["bash", "-c", f"{enter}; {look}"], capture_output=True, text=True, check=False)
            for look in looks
        )
        assert explained.stdout.startswith("pod default/database on node-1: Applied")
        assert planned.returncode == 1, planned.stderr
    finally:
        stopped = run([*DEMO, "--stop"], demo_environment)
    assert stopped.stdout == "stopped 1 demo\n"
    assert children_below(tmp_path) == []
    assert list(tmp_path.glob("podnuma-*")) == []


@pytest.mark.usefixtures("built")
def test_interrupted_demo_leaves_nothing(demo_environment, tmp_path):
    with subprocess.Popen(
        DEMO,
        env=demo_environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "control plane ready" in line:
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 130
    until(lambda: not children_below(tmp_path), "every part to be gone", 30)
    assert list(tmp_path.glob("podnuma-*")) == []
