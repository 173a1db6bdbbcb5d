"""Watch cpu.max of containers while they start, and read for how long the kernel held them back."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.e2e import observe
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.e2e.cluster import Cluster

_SEEN, _PID = "/run/podnuma-quotas", "/run/podnuma-quotas.pid"


@dataclass(frozen=True, slots=True)
class QuotaSeen:
    """One moment: cpu.max and the name of the first process, the runtime's until it is the container's."""

    cpu_max: str
    runs: str


@dataclass(frozen=True, slots=True)
class Throttling:
    """cpu.stat: in how many periods a cgroup was held back, and for how many microseconds in all."""

    periods: int
    microseconds: int


@contextmanager
def watched(cluster: Cluster) -> Iterator[dict[str, list[QuotaSeen]]]:
    """Watch Guaranteed pods that come inside the `with` block; what is yielded is filled at its end."""
    seen: dict[str, list[QuotaSeen]] = {}
    root = observe.kubepods(cluster.shell)
    cluster.shell(
        f"rm -f {_SEEN}; nohup {cluster.probe} quotas {root} >{_SEEN} 2>&1 </dev/null & echo $! >{_PID}"
    )
    until(lambda: cluster.shell(f"cat {_SEEN} 2>/dev/null || true"), "the probe to watch quotas", 60, 0.5)
    try:
        yield seen
    finally:
        _, *lines = cluster.shell(f"kill $(cat {_PID}); cat {_SEEN}").splitlines()
        for line in lines:
            entry = json.loads(line)
            path = entry["path"].removeprefix("/sys/fs/cgroup/")
            seen.setdefault(path, []).append(QuotaSeen(entry["cpuMax"], entry["runs"]))


def throttling(cluster: Cluster, path: str) -> Throttling:
    """Read how a cgroup was held back since it was made."""
    text = cluster.shell(f"cat /sys/fs/cgroup/{path}/cpu.stat")
    stat = dict(line.split() for line in text.splitlines())
    return Throttling(int(stat["nr_throttled"]), int(stat["throttled_usec"]))
