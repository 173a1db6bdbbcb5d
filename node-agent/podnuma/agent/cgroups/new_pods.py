"""Tells when a kubelet makes the cgroup of a pod.

Of all that happens to a pod on its node this is the first that can be seen: a runtime tells NRI of a sandbox
when that runs. A Guaranteed pod lies directly below kubepods, which has all CPUs, and so has the pod until a
pass confines it. With inotify that is milliseconds after the folder is made, while the runtime sets up the
network of the sandbox.

What is told is only that there may be a new pod; a queue of the kernel that overflows tells it too. A
kernel (6.18) does not say that a cgroup which is watched has gone, so folders are looked up again now and
then. Where it gives no watch (`fs.inotify.max_user_instances`, `fs.inotify.max_user_watches`), passes are run
as they are without it: when the runtime tells of the sandbox.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from asyncinotify import Inotify, Mask
from podnuma.agent.cgroups.layout import CgroupLayout
from podnuma.allocator.request import Qos

logger = logging.getLogger(__name__)

_AGAIN = 15.0  # seconds between looks at the folders
_TOLD = Mask.CREATE | Mask.Q_OVERFLOW


async def watch_new_pods(
    root: Path, layout: CgroupLayout, appeared: Callable[[], None], again: float = _AGAIN
) -> None:
    """Call `appeared` whenever a folder is made where the pods of this layout are, until cancelled."""
    folders = [root / layout.qos(qos) for qos in Qos]
    trouble = None
    while True:
        try:
            with _told(appeared) as inotify:
                watched: set[int] = set()
                while True:
                    # The folder that is watched already has the number that it had.
                    now = {inotify.add_watch(each, Mask.CREATE | Mask.ONLYDIR).wd for each in folders}
                    if now - watched:
                        appeared()  # what was made before the watch
                    if trouble is not None:
                        logger.info("new pods are noticed again when the kubelet makes their cgroups")
                    watched, trouble = now, None
                    await asyncio.sleep(again)
        except OSError as error:
            if trouble is None:
                logger.warning("%s", _consequence(error))
            trouble = error
        await asyncio.sleep(again)


@contextlib.contextmanager
def _told(appeared: Callable[[], None]) -> Iterator[Inotify]:
    """Tell of new folders. Nothing waits for events, so none is lost when a wait is cancelled."""
    loop = asyncio.get_running_loop()
    with Inotify(sync_timeout=0) as inotify:

        def read() -> None:
            while (event := inotify.sync_get()) is not None:
                if event.mask & _TOLD:
                    appeared()

        loop.add_reader(inotify.fd, read)
        try:
            yield inotify
        finally:
            loop.remove_reader(inotify.fd)


def _consequence(error: OSError) -> str:
    return (
        f"the cgroups of new pods cannot be watched ({os.strerror(error.errno or 0)}; see the kernel's"
        " fs.inotify.max_user_instances and max_user_watches): the sandbox of a new Guaranteed pod may run on"
        " any CPU until the runtime tells of it"
    )
