"""With the kernel's inotify, on folders of the file system."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from podnuma.agent.cgroups import new_pods
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.new_pods import watch_new_pods
from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.allocator.request import Qos

LAYOUTS = [CgroupLayout(CgroupDriver.SYSTEMD), CgroupLayout(CgroupDriver.CGROUPFS, "kubelet")]


@contextlib.asynccontextmanager
async def watching(root: Path, layout: CgroupLayout) -> AsyncIterator[asyncio.Event]:
    appeared = asyncio.Event()
    task = asyncio.create_task(watch_new_pods(root, layout, appeared.set, again=0.01))
    try:
        yield appeared
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def told(appeared: asyncio.Event) -> None:
    await asyncio.wait_for(appeared.wait(), 5)
    appeared.clear()


def make(root: Path, layout: CgroupLayout) -> None:
    for qos in Qos:
        (root / layout.qos(qos)).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("qos", list(Qos))
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
async def test_the_cgroup_of_a_new_pod_is_told_whatever_its_class(tmp_path, layout, qos):
    make(tmp_path, layout)
    async with watching(tmp_path, layout) as appeared:
        await told(appeared)
        (tmp_path / layout.pod(PodCgroup("db", qos))).mkdir()
        await told(appeared)


async def test_values_that_are_written_and_pods_that_end_are_not_told(tmp_path):
    layout = LAYOUTS[0]
    make(tmp_path, layout)
    pod = tmp_path / layout.pod(PodCgroup("db", Qos.GUARANTEED))
    pod.mkdir()
    async with watching(tmp_path, layout) as appeared:
        await told(appeared)
        (pod / "cpuset.cpus").write_text("0-3")
        (pod / "cpuset.cpus").unlink()
        pod.rmdir()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(appeared.wait(), 0.1)


async def test_folders_that_are_away_for_a_while_are_watched_when_they_are_back(tmp_path, caplog, reached):
    caplog.set_level(logging.INFO)
    layout = LAYOUTS[1]
    make(tmp_path, layout)
    async with watching(tmp_path, layout) as appeared:
        await told(appeared)
        shutil.rmtree(tmp_path / layout.kubepods)
        await reached(lambda: "cannot be watched (No such file or directory" in caplog.text)
        appeared.clear()
        make(tmp_path, layout)
        await told(appeared)
        (tmp_path / layout.pod(PodCgroup("db", Qos.GUARANTEED))).mkdir()
        await told(appeared)
    assert caplog.text.count("cannot be watched") == 1
    assert "are noticed again when the kubelet makes their cgroups" in caplog.text


async def test_folders_that_were_replaced_are_watched_whether_or_not_the_kernel_tells(tmp_path):
    """It tells nobody that a cgroup which is watched has gone; nor that a folder was moved away, as here."""
    layout = LAYOUTS[0]
    make(tmp_path, layout)
    async with watching(tmp_path, layout) as appeared:
        await told(appeared)
        (tmp_path / layout.kubepods).rename(tmp_path / "former")
        make(tmp_path, layout)
        await told(appeared)
        (tmp_path / layout.pod(PodCgroup("db", Qos.GUARANTEED))).mkdir()
        await told(appeared)


async def test_a_kernel_without_watches_left_is_told_once_and_asked_again(
    tmp_path, monkeypatch, caplog, reached
):
    """kind and CI machines run out of instances first (128 per user by default)."""
    asked = 0

    def none_left(**_: object) -> None:
        nonlocal asked
        asked += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    make(tmp_path, LAYOUTS[0])
    with monkeypatch.context() as patched:
        patched.setattr(new_pods, "Inotify", none_left)
        async with watching(tmp_path, LAYOUTS[0]) as appeared:
            await reached(lambda: asked >= 3)
    assert not appeared.is_set()
    assert caplog.text.count("max_user_instances") == 1
