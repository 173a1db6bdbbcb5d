"""What the containers of a node said first: the CPUs and memory nodes that they might use then.

Read from the node's log files, all in one go.
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
class Words:
    """The first words of one start. `time` is the log's, and sorts as text."""

    time: str
    cpus: frozenset[int]
    mems: frozenset[int]


def of_all(cluster: Cluster) -> dict[tuple[str, str], list[Words]]:
    """Return the first words by (pod UID, container), one entry per start, oldest first."""
    text = cluster.shell("cd /var/log/pods && grep -rs _allowed_list . | sort; true")
    found: dict[tuple[str, str, int], dict[str, str]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None:
            uid, container, start, time, what, value = match.groups()
            said = found.setdefault((uid, container, int(start)), {})
            said.setdefault("time", time)
            said.setdefault(what, value)
    words: dict[tuple[str, str], list[Words]] = {}
    for (uid, container, _), said in sorted(found.items()):
        entry = Words(said["time"], parse_list(said.get("Cpus", "")), parse_list(said.get("Mems", "")))
        words.setdefault((uid, container), []).append(entry)
    return words
