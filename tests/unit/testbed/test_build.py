"""Tools are built once per content, by one process, or it is said what is missing."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread

import pytest

from testbed import build
from testbed.waiting import until

FAKE_GO = """#!/bin/sh
case "$*" in
  *GOVERSION*) echo go{version} ;;
  *list*) echo {module} ;;
  *build*)
    echo "$*" >> {calls}
    {before}
    while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
    echo built > "$out" ;;
esac
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PODNUMA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fake_go(tmp_path, monkeypatch):
    def install(version="1.26.1", before=":"):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        calls = tmp_path / "calls"
        calls.touch()
        module = tmp_path / "module"
        for stage in build.KWOK_STAGES:
            (module / stage).parent.mkdir(parents=True, exist_ok=True)
            (module / stage).write_text(f"name: {stage}\n")
        script = folder / "go"
        script.write_text(FAKE_GO.format(version=version, calls=calls, before=before, module=module))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return calls

    return install


def test_missing_go_is_one_sentence_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"^Go 1\.26 or newer is needed .*install it.*\.$"):
        build.ensure(["etcd"])


@pytest.mark.parametrize("version", ["1.25.9", "1.9", "0.99"])
def test_old_go_is_one_sentence_with_the_version_found(fake_go, version):
    fake_go(version)
    with pytest.raises(
        build.BuildError, match=rf"^Go 1\.26 or newer .* is go{re.escape(version)}: install a newer"
    ):
        build.ensure(["etcd"])


@pytest.mark.parametrize("version", ["1.26", "1.26.8", "1.27rc1", "2.0"])
def test_new_enough_go_is_taken(fake_go, version):
    fake_go(version)
    assert build.find_go().endswith("/go")


def test_what_was_built_is_not_built_again(fake_go):
    calls = fake_go()
    out = io.StringIO()
    first = build.ensure(["etcd", "kubectl"], out)
    assert first["etcd"].read_text() == "built\n"
    assert "building etcd (1 of 2)" in out.getvalue()
    assert "building kubectl (2 of 2)  done in 0:0" in out.getvalue()
    silent = io.StringIO()
    assert build.ensure(["etcd", "kubectl"], silent) == first
    assert silent.getvalue() == ""
    assert len(calls.read_text().splitlines()) == 2


def test_failed_build_shows_the_compiler_and_leaves_nothing(fake_go):
    fake_go(before="echo cannot find module; exit 1")
    with pytest.raises(build.BuildError, match=r"(?s)build.*failed.*cannot find module"):
        build.ensure(["etcd"], io.StringIO())
    assert not build.tool_path("etcd").exists()
    assert list(build.tool_folder("etcd").iterdir()) == []


def test_two_processes_build_once(fake_go):
    calls = fake_go(before="sleep 0.5")
    argv = [sys.executable, "-m", "testbed.build", "etcd"]
    pair = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate(timeout=30) for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert {stdout for stdout, _ in answers} == {f"etcd\t{build.tool_path('etcd')}\n"}
    assert len(calls.read_text().splitlines()) == 1


@contextmanager
def held_by_another_process(lock):
    """A process that has taken the lock of a module, and has to build for long."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)"
    argv = [sys.executable, "-c", f"{hold}; print(flush=True); sys.stdin.read()", str(lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield
        assert process.poll() is None, "it was waited for until its end"
        process.stdin.close()


def test_who_waits_goes_on_when_the_program_is_there_though_the_other_builds_more(fake_go):
    calls = fake_go()
    out = io.StringIO()
    target = build.tool_path("kubectl")
    with held_by_another_process(build.cache_folder() / "build-kubernetes.lock"):
        waiting = Thread(target=build.ensure, args=(["kubectl"], out))
        waiting.start()
        until(
            lambda: "waiting for kubectl (1 of 1): another process holds " in out.getvalue(), "it to wait", 9
        )
        target.parent.mkdir(parents=True)
        target.write_text("built by the other\n")
        waiting.join(9)
        assert not waiting.is_alive()
    assert calls.read_text() == ""


def test_a_program_of_another_module_is_not_waited_for(fake_go):
    fake_go()
    out = io.StringIO()
    with held_by_another_process(build.cache_folder() / "build-kubernetes.lock"):
        assert build.ensure(["helm"], out)["helm"].exists()
    assert "waiting" not in out.getvalue()


def test_kwok_comes_with_the_stages_of_its_module(fake_go):
    fake_go()
    build.ensure(["kwok"], io.StringIO())
    stages = build.kwok_stages_path().read_text()
    assert [part.strip() for part in stages.split("---")] == [f"name: {stage}" for stage in build.KWOK_STAGES]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_with_the_time_so_far(fake_go):
    fake_go(before="sleep 1.1")
    out = Terminal()
    build.ensure(["etcd"], out)
    line = "\rbuilding etcd (1 of 1)  0:0"
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().startswith(line + "0 " + line)
    assert re.search(r"done in 0:0\d \n$", out.getvalue())


def test_a_failure_on_a_terminal_starts_a_new_line(fake_go):
    fake_go(before="exit 1")
    out = Terminal()
    with pytest.raises(build.BuildError):
        build.ensure(["etcd"], out)
    assert out.getvalue().endswith("\n")


def test_versions_are_those_of_the_modules_and_reach_the_linker():
    assert build.version_of("kubernetes", "k8s.io/kubernetes") == "v1.36.3"
    assert build.version_of("etcd", "go.etcd.io/etcd/server/v3") == "v3.6.16"
    assert build.version_of("kwok", "sigs.k8s.io/kwok") == "v0.8.0"
    assert "version.gitVersion=v1.36.3" in build.build_flags("kubernetes")[-1]
    # kubeadm refuses a control plane of another version than its own.
    assert build.build_flags("kubeadm") == build.build_flags("kubernetes")


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("PODNUMA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_folder() == tmp_path / "xdg" / "podnuma"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build.cache_folder() == tmp_path / ".cache" / "podnuma"
    monkeypatch.setenv("PODNUMA_CACHE", os.fspath(tmp_path / "own"))
    assert build.cache_folder() == tmp_path / "own"
