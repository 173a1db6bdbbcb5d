"""Tells when a kubelet makes the cgroup of a pod.

Of all that happens to a pod on its node this is the first that can be seen: a runtime tells NRI of a sandbox
when that runs. A Guaranteed pod lies directly below kubepods, which has all CPUs, and so has the pod until a
pass confines it. With inotify that is milliseconds after the folder is made, while the runtime sets up the
network of the sandbox.

What is told is only that there may be a new pod: a queue of the kernel that overflows, or folders that were
away for a while, tell it too. Where the kernel gives no watch (`fs.inotify.max_user_instances`,
`fs.inotify.max_user_watches`), passes are run as they are without it: when the runtime tells of the sandbox.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from asyncinotify import Inotify, Mask
from podnuma.agent.cgroups.layout import CgroupLayout
from podnuma.allocator.request import Qos

logger = logging.getLogger(__name__)

_AGAIN = 15.0  # seconds until folders that cannot be watched are tried again
_MADE = Mask.CREATE | Mask.ONLYDIR


async def watch_new_pods(
    root: Path, layout: CgroupLayout, appeared: Callable[[], None], again: float = _AGAIN
) -> None:
    """Call `appeared` whenever a folder is made where the pods of this layout are, until cancelled."""
    trouble = None
    while True:
        try:
            with Inotify() as inotify:
                for qos in Qos:
                    inotify.add_watch(root / layout.qos(qos), _MADE)
                if trouble is not None:
                    logger.info("new pods are noticed when the kubelet makes their cgroups again")
                trouble = None
                appeared()  # what was made before the watch
                await _follow(inotify, appeared)
        except OSError as error:
            if trouble is None:
                logger.warning("%s", _consequence(error))
            trouble = error
        await asyncio.sleep(again)


async def _follow(inotify: Inotify, appeared: Callable[[], None]) -> None:
    """Tell of new folders until one that is watched is gone."""
    async for event in inotify:
        if Mask.IGNORED in event.mask:
            return
        appeared()


def _consequence(error: OSError) -> str:
    return (
        f"the cgroups of new pods cannot be watched ({os.strerror(error.errno or 0)}; see the kernel's"
        " fs.inotify.max_user_instances and max_user_watches): the sandbox of a new Guaranteed pod may run on"
        " any CPU until the runtime tells of it"
    )
