"""One program at a time sets the cgroups of a node: an agent, or a cleanup.

Two agents are there where a pod of the DaemonSet was deleted by force, or one was started by hand. They undo
each other's values, and a runtime starts no container to which two plugins give CPUs. What a cleanup gives
back, an agent that is still there sets again.

It is the kernel that locks the folder of the cgroups: nothing is written, all containers that have the folder
see the same lock, and it ends with the process that has it. Where there is no such lock to be had, nobody
waits.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)


class CgroupsTakenError(Exception):
    """Another program sets the cgroups of this node."""


@contextlib.contextmanager
def the_only_one(cgroup_root: Path) -> Iterator[None]:
    """Have the cgroups below the root alone for the time of the context. Raises CgroupsTakenError."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(cgroup_root, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CgroupsTakenError(
                f"another podnuma agent or cleanup runs on this node: it has the lock on {cgroup_root}"
            ) from None
        except OSError as error:
            logger.debug("no lock on %s, going on without: %s", cgroup_root, error)
        yield
