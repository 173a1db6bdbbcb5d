"""What the containers of a node printed first: the CPUs and memory nodes that they could use then.

Read from the node's log files, all at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.e2e.observe import parse_list

if TYPE_CHECKING:
    from testbed.e2e.cluster import Cluster

# /var/log/pods/<namespace>_<pod>_<uid>/<container>/<start>.log, lines "<time> stdout F <text>".
_LINE = re.compile(r"^\S+_([^/_]+)/([^/]+)/(\d+)\.log:(\S+) \S+ \S+ (Cpus|Mems)_allowed_list:\s*(\S*)$")


@dataclass(frozen=True, slots=True)
class FirstOutput:
    """The first output of one start. `time` is that of the log line, and sorts as text."""

    time: str
    cpus: frozenset[int]
    mems: frozenset[int]


def read_all(cluster: Cluster) -> dict[tuple[str, str], list[FirstOutput]]:
    """Return the first output by (pod UID, container), one entry per start, oldest first."""
    text = cluster.shell("cd /var/log/pods && grep -rs _allowed_list . | sort; true")
    found: dict[tuple[str, str, int], dict[str, str]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None:
            uid, container, start, time, what, value = match.groups()
            said = found.setdefault((uid, container, int(start)), {})
            said.setdefault("time", time)
            said.setdefault(what, value)
    outputs: dict[tuple[str, str], list[FirstOutput]] = {}
    for (uid, container, _), said in sorted(found.items()):
        entry = FirstOutput(said["time"], parse_list(said.get("Cpus", "")), parse_list(said.get("Mems", "")))
        outputs.setdefault((uid, container), []).append(entry)
    return outputs
