"""Notices that the kubelet has moved to another cgroup tree.

A kubelet of v1.31 and newer takes its cgroup driver from the runtime: a runtime that is configured anew
moves the pods, without a change of the kubelet's configuration. The former tree stays until the last of its
pods has ended. Where pods are is found out when a backend is made; so it is made anew.
"""

import asyncio

from podnuma.agent.cgroups.layout import detect
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.runtimes.backend import NodeNotReady
from podnuma.plumbing.threads import in_thread

_EVERY = 30.0  # seconds


async def until_moved(reader: CgroupReader, every: float = _EVERY) -> None:
    """Wait until pods are in another tree than the reader's, twice in a row. Raises NodeNotReady then."""
    before = layout = reader.layout
    while True:
        await asyncio.sleep(every)
        try:
            now = await in_thread(detect, reader.root) or layout
        except OSError:  # for want of descriptors, say
            now = layout
        if now != layout and now == before:
            raise NodeNotReady(
                f"the kubelet has its pods in {now.kubepods} now, no longer in {layout.kubepods} (another"
                " cgroup driver or cgroupRoot)"
            )
        before = now
