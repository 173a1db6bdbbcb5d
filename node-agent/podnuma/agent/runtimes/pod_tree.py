"""Where the kubelet of this node has its pods: found when a backend is made, and looked at again.

A kubelet of v1.31 and newer takes its cgroup driver from the runtime: a runtime that is configured anew
moves the pods, without a change of the kubelet's configuration. The former tree stays until the last of its
pods has ended. Where pods are is found out when a backend is made; so it is made anew.
"""

import asyncio
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.layout import CgroupLayout, detect
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.runtimes.backend import NodeNotReady
from podnuma.plumbing.threads import in_thread

_EVERY = 30.0  # seconds


def find_layout(root: Path) -> CgroupLayout:
    """Return where the kubelet has its pods. Raises NodeNotReady with what is missing."""
    try:
        return _found_layout(root)
    except NodeNotReady:
        raise
    except OSError as error:
        raise NodeNotReady(f"{root} cannot be read: {error}") from error


def _found_layout(root: Path) -> CgroupLayout:
    if not (root / files.CONTROLLERS).is_file():
        raise NodeNotReady(
            f"{root} is not a cgroup v2 mount; podnuma needs cgroup v2 (boot with"
            " systemd.unified_cgroup_hierarchy=1) mounted there"
        )
    controllers = files.content(f"{root}/{files.CONTROLLERS}") or ""
    if "cpuset" not in controllers.split():
        raise NodeNotReady(
            f"{root}/{files.CONTROLLERS} lacks cpuset ({controllers or 'it is empty'}), so no container can"
            " be pinned, and runtimes start none that should be; the kernel's command line switches it off"
            " (cgroup_disable=), a hierarchy of v1 has it (a mount with the option cpuset, by cset), or the"
            " container that this node is was not given it (Delegate=cpuset)"
        )
    layout = detect(root)
    if layout is None:
        raise NodeNotReady(
            f"{root} has no kubepods yet; the kubelet makes it when it starts, unless its configuration says"
            " cgroupsPerQOS: false, with which no pod has a cgroup of its own and none can be pinned"
        )
    return layout


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
