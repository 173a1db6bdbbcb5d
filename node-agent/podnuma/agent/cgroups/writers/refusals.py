"""How a write can fail, by any mechanism. Any other exception is a bug."""

import errno
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class CgroupGone(LookupError):  # noqa: N818 - the normal end of every container is no error
    """The cgroup or container does not exist any more: it just ended."""


class WriteRefused(OSError):  # noqa: N818 - named for what the reader of a condition sees
    """The kernel, systemd or the runtime refused to write `value` at `where`; `why` is its reason.

    `under_way`: done when the write is over that nobody waits for any more, and that is carried out all the
    same; None if it is not.
    """

    def __init__(
        self, where: str, value: str, why: str, under_way: "asyncio.Future[Any] | None" = None
    ) -> None:
        super().__init__(f"{where} <- {value}: {why}"[:1000])
        self.why = why
        self.under_way = under_way


class NotAnswered(WriteRefused):
    """Nobody said in time whether the value was written."""


class Postponed(WriteRefused):
    """Nobody was asked to write: something else goes first."""


_MEANING = {
    errno.EBUSY: "the kernel is busy with a cgroup below it",
    errno.ENOSPC: "processes would be left without CPUs or memory nodes",
    errno.EINVAL: "the kernel knows no such CPU, node or amount",
    errno.ERANGE: "the kernel was built for no such number",
    errno.EACCES: (
        "the agent may not write there; see the host paths of its manifest, and whether SELinux or AppArmor"
        " denies it"
    ),
    errno.EROFS: "mounted read-only; see the host paths of the agent's manifest",
    errno.EPERM: "the agent may not write there; see the capabilities of its manifest",
}

_OF_FILE = {
    ("cpuset.cpus", errno.EBUSY): (
        "a cgroup right below has CPUs that these leave out, which kernels before 5.17 do not let be, or its"
        " threads with deadlines (SCHED_DEADLINE) need more"
    ),
    ("cpuset.cpus", errno.EINVAL): (
        "the kernel knows no such CPU, or a cgroup beside it has some for itself (cpuset.cpus.partition,"
        " cpuset.cpus.exclusive)"
    ),
    ("cpu.max", errno.EINVAL): (
        "the kernel knows no such amount, or cpu.max.burst beside it is more (somebody has set it)"
    ),
    ("cgroup.subtree_control", errno.ENOENT): (
        "this cgroup has no such controller to hand down: its cgroup.controllers lacks it, because the one"
        " above or the kernel's command line (cgroup_disable=) keeps it back"
    ),
    ("cgroup.subtree_control", errno.EBUSY): (
        "this cgroup has processes of its own, so it can hand no controller down; move them to one below it"
    ),
    ("cgroup.subtree_control", errno.EINVAL): (
        "the kernel hands this controller down to no cgroup here; the cpu controller not while a real-time"
        " thread is anywhere but in the root cgroup"
    ),
}


def from_errno(where: str, value: str, error: OSError) -> WriteRefused:
    """Translate what the kernel said."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    meaning = _OF_FILE.get((where.rpartition("/")[2], number)) or _MEANING.get(number, os.strerror(number))
    return WriteRefused(where, value, f"{name}, {meaning}")
