"""Watch the cpusets of a node's containers while something happens to them.

    with sampled(cluster) as samples:
        ...
    samples.violations(owners)                               who ran on CPUs of another pod
    samples.clashes([["id of app"], ["id of sidecar"]])      who ran on CPUs of another group
    samples.settled({"id of app": cpus}, began)              when the kernel had the values that stay

The node runs a small program (`testbed/modules/probe`) that reads all container cgroups every 20 ms and
writes what two sweeps in a row agree on. Compared with the CPUs that containers own, the samples show
whether any other container could ever run there.
"""

from __future__ import annotations

import json
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from testbed.e2e import observe
from testbed.e2e.observe import parse_list, render_list

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from testbed.e2e.cluster import Cluster

PERIOD = "20ms"
_Place = tuple[str, frozenset[int]]  # a container's cgroup and its CPUs
Owners = dict[str, tuple[str, frozenset[int]]]
"""Container id -> UID of its pod, CPUs it has for itself."""
_SAMPLES, _PID = "/run/podnuma-samples", "/run/podnuma-sampler.pid"


@dataclass(slots=True)
class Samples:
    """Moments in order: container cgroup path -> CPUs where its processes may run. Times are seconds."""

    moments: list[tuple[float, dict[str, frozenset[int]]]] = field(default_factory=list)
    sweeps: int = 0
    stable: int = 0
    longest_gap: float = 0.0

    def violations(
        self,
        owners: Owners,
        unconfined: frozenset[int] = frozenset(),
        *,
        pinned: bool = False,
    ) -> list[str]:
        """Return every moment at which a container could run on a CPU that another pod owned.

        owners: container id -> (pod UID, CPUs it has for itself from start to end). A container owns
        its CPUs only while it has processes and, if `pinned`, while it is on them and no others: one that
        started without an agent has not got them yet. Containers of its own pod are that pod's affair.
        unconfined: a set that nobody gave to a container and that does not count.
        """
        return list(
            dict.fromkeys(
                f"{moment:.3f}: {path} on {render_list(others)}, of which {owner_path} owns"
                f" {render_list(cpus & others)}"
                for moment, (owner_path, cpus), (path, others) in self._beside(owners, pinned=pinned)
                if cpus & others and others != unconfined
            )
        )

    def compared(self, owners: Owners, *, pinned: bool = False) -> int:
        """Return how many sets `violations` compares with an owner's, all moments together."""
        return sum(1 for _ in self._beside(owners, pinned=pinned))

    def _beside(self, owners: Owners, *, pinned: bool) -> Iterator[tuple[float, _Place, _Place]]:
        for moment, sets in self.moments:
            present = [
                (path, uid, cpus)
                for path in sets
                for name, (uid, cpus) in owners.items()
                if name in path and not (pinned and sets[path] != cpus)
            ]
            for owner_path, uid, cpus in present:
                for path, others in sets.items():
                    if path != owner_path and not _of_pod(path, uid):
                        yield moment, (owner_path, cpus), (path, others)

    def clashes(self, groups: Iterable[Collection[str]]) -> list[str]:
        """Return every moment at which containers of two groups could run on one CPU.

        groups: container ids; sets may change meanwhile. What is in no group does not count.
        """
        return list(
            dict.fromkeys(
                f"{moment:.3f}: {path} on {render_list(cpus)} and {beside} on {render_list(others)}"
                for moment, (path, cpus), (beside, others) in self._pairs(groups)
                if cpus & others
            )
        )

    def pairs(self, groups: Iterable[Collection[str]]) -> int:
        """Return how many pairs of containers `clashes` compares, all moments together."""
        return sum(1 for _ in self._pairs(groups))

    def _pairs(self, groups: Iterable[Collection[str]]) -> Iterator[tuple[float, _Place, _Place]]:
        groups = list(groups)
        for moment, sets in self.moments:
            present = [
                (number, place)
                for place in sets.items()
                for number, group in enumerate(groups)
                if any(name in place[0] for name in group)
            ]
            for (one, place), (other, beside) in combinations(present, 2):
                if one != other:
                    yield moment, place, beside

    def settled(self, sets: Mapping[str, frozenset[int]], began: float) -> float:
        """Return how long after `began` containers, by id, had the sets that they keep to the end."""
        since: float | None = None
        for moment, seen in self.moments:
            right = all(
                any(name in path and cpus == wanted for path, cpus in seen.items())
                for name, wanted in sets.items()
            )
            since = (since if since is not None else moment) if right else None
        if since is None:
            raise LookupError(f"the last sample has not {dict(sets)}")
        return since - began


def _of_pod(path: str, uid: str) -> bool:
    return uid in path or uid.replace("-", "_") in path


@contextmanager
def sampled(cluster: Cluster, period: str = PERIOD) -> Iterator[Samples]:
    """Sample inside the `with` block; what is yielded is filled at its end."""
    samples = Samples()
    root = observe.kubepods(cluster.shell)
    cluster.shell(
        f"nohup {cluster.probe} sample {root} {period} >{_SAMPLES} 2>&1 </dev/null & echo $! >{_PID}"
    )
    try:
        yield samples
    finally:
        text = cluster.shell(
            f"kill $(cat {_PID}); while kill -0 $(cat {_PID}) 2>/dev/null; do sleep 0.1; done; cat {_SAMPLES}"
        )
        _read(text, samples)


def _read(text: str, samples: Samples) -> None:
    for line in text.splitlines():
        if not line.startswith("{"):
            raise RuntimeError(f"the sampler says: {text[-500:]}")
        entry = json.loads(line)
        if "sets" in entry:
            sets = {path: parse_list(cpus) for path, cpus in entry["sets"].items()}
            samples.moments.append((entry["time"] / 1e9, sets))
        else:
            samples.sweeps, samples.stable = entry["sweeps"], entry["stable"]
            samples.longest_gap = entry["longest"] / 1e9


@dataclass(frozen=True, slots=True)
class NodeClock:
    """How the clock of the node, which samples carry, differs from this host's; seconds.

    uncertain: half of what asking took, which the answer may be wrong by.
    """

    ahead: float
    uncertain: float

    def now(self) -> float:
        """Return the time on the node."""
        return time.time() + self.ahead


def node_clock(cluster: Cluster, tries: int = 5) -> NodeClock:
    """Ask the node for the time; the quickest of some answers counts."""
    found = []
    for _ in range(tries):
        asked = time.time()
        told = float(cluster.shell("date +%s.%N"))
        half = (time.time() - asked) / 2
        found.append(NodeClock(told - asked - half, half))
    return min(found, key=lambda clock: clock.uncertain)


def median(values: list[float]) -> float:
    """Return the median; 0 without values."""
    return statistics.median(values) if values else 0.0


def percentile(values: list[float], part: int) -> float:
    """Return the smallest value that `part` of a hundred do not exceed; 0 without values."""
    return sorted(values)[-(-len(values) * part // 100) - 1] if values else 0.0
