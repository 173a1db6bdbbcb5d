"""The command alone, from the wheel: small, without the libraries of operator and agent, and it works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed import machines, release

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "examples" / "profiles" / "databases.yaml"
MEGABYTES = 60
# What operator and agent need, by the names under which they are imported.
HEAVY = ("kopf", "kubernetes", "grpc", "google.protobuf", "dbus_fast", "pykube", "prometheus_client")

QUESTIONS = (
    ("version",),
    ("discover", "--help"),
    ("check", "--help"),
    ("ui", "--help"),
    ("completion", "bash"),
    ("map", "--from", "{saved}"),
    ("profile", "suggest", "--from", "{saved}"),
)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command in an environment of its own, installed from the wheel of a release."""
    folder = tmp_path_factory.mktemp("command")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    (wheel,) = release.ensure().glob("podnuma-*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"])
    to = ["--python", folder / "venv" / "bin" / "python", "install", "--constraint", ROOT / "constraints.txt"]
    run([*pip, *to, wheel])
    return folder / "venv"


def run(argv, status=0, **more) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=240, **more)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.timeout(1800)
def test_the_command_alone_is_small_and_answers(command, tmp_path):
    (packages,) = (command / "lib").glob("python3*")
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    assert size < MEGABYTES * 10**6, f"{size / 10**6:.0f} MB"
    podnuma, saved = str(command / "bin" / "podnuma"), tmp_path / "saved.yaml"
    machines.write_sysfs(machines.load("epyc7401-2s-8numa-16l3"), tmp_path / "sys")
    hardware = run([podnuma, "discover", "--sys-root", tmp_path / "sys"]).stdout
    saved.write_text(f"{hardware}\n---\n{PROFILE.read_text()}")
    for question in QUESTIONS:
        run([podnuma, *(word.format(saved=saved) for word in question)], cwd=ROOT)
    assert "Usage: kubectl podnuma" in run([command / "bin" / "kubectl-podnuma", "--help"]).stdout
    found = "import importlib.util as u; print([n for n in {!r} if u.find_spec(n.partition('.')[0])])"
    assert run([command / "bin" / "python", "-c", found.format(HEAVY)]).stdout == "[]\n"
    for part, extra in ((["operator"], "operator"), (["agent", "run", "--node-name=n"], "agent")):
        told = run([podnuma, *part], status=2).stderr
        assert f"install podnuma[{extra}]" in told
