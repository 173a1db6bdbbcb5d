import asyncio

import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.agent.runtimes.backend import NodeNotReady
from podnuma.agent.runtimes.pod_tree import until_moved
from podnuma.allocator.request import Qos

SYSTEMD, CGROUPFS = CgroupLayout(CgroupDriver.SYSTEMD), CgroupLayout(CgroupDriver.CGROUPFS)


def populate(root, layout, inhabited):
    folder = root / layout.pod(PodCgroup("db", Qos.GUARANTEED))
    folder.mkdir(parents=True, exist_ok=True)
    for where in (folder, root / layout.kubepods):
        (where / "cgroup.events").write_text(f"populated {int(inhabited)}\n")


async def test_pods_that_are_in_another_tree_now_are_noticed(tmp_path, reached):
    populate(tmp_path, CGROUPFS, inhabited=True)
    waiting = asyncio.create_task(until_moved(CgroupReader(tmp_path, CGROUPFS), every=0.0))
    populate(tmp_path, SYSTEMD, inhabited=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    populate(tmp_path, SYSTEMD, inhabited=True)
    populate(tmp_path, CGROUPFS, inhabited=False)
    await reached(waiting.done)
    with pytest.raises(NodeNotReady, match=r"has its pods in kubepods.slice now, no longer in kubepods \("):
        await waiting


async def test_a_tree_that_is_gone_for_a_moment_is_waited_for(tmp_path):
    """A kubelet that is just being started has no tree at all."""
    waiting = asyncio.create_task(until_moved(CgroupReader(tmp_path, CGROUPFS), every=0.0))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.1)
