"""Numbers that the suite prints at its end: waiting times, memory and CPU time of the agent."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product

_BUCKET = re.compile(r'^podnuma_hook_wait_seconds_bucket\{.*le="([^"]+)".*\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """Resident bytes of the agent, and its share of one CPU over a span of seconds."""

    resident: int
    share: float
    seconds: float

    def __str__(self) -> str:
        memory = self.resident / 2**20
        return f"{memory:.0f} MiB resident, {self.share:.1%} of one CPU over {self.seconds:.0f} s"


@contextmanager
def agent_usage(product: Product) -> Iterator[list[Usage]]:
    """Measure the agent inside the `with` block; the list has one entry at its end."""
    usage: list[Usage] = []
    before, began = _ticks(product), time.monotonic()
    yield usage
    seconds = time.monotonic() - began
    ticks = _ticks(product) - before
    process = product.agent_process()
    kilobytes = product.cluster.shell(
        f"sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/{process}/status"
    )
    usage.append(Usage(int(kilobytes) * 1024, ticks / 100 / seconds, seconds))


def _ticks(product: Product) -> int:
    text = product.cluster.shell(f"cat /proc/{product.agent_process()}/stat")
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def podresources(metrics: str) -> str:
    """Return how often the agent has asked the kubelet for devices, and how long that took."""
    name = "podnuma_podresources_request_duration_seconds"
    count, seconds = (
        sum(map(float, re.findall(rf"^{name}_{part}\{{?.*\}}? ([0-9.e+-]+)$", metrics, re.MULTILINE)))
        for part in ("count", "sum")
    )
    each = seconds / count if count else 0.0
    return f"podresources: asked {count:.0f} times, {each * 1000:.0f} ms on average, emulated"


def hook_wait(metrics: str) -> dict[float, float]:
    """Return the cumulated histogram of waits in the hook: upper bound in seconds -> count."""
    summed: dict[float, float] = {}
    for bound, count in _BUCKET.findall(metrics):
        upper = float(bound.replace("+Inf", "inf"))
        summed[upper] = summed.get(upper, 0) + float(count)
    return dict(sorted(summed.items()))


def quantile(histogram: dict[float, float], part: float) -> float:
    """Return the upper bound of the bucket that holds a quantile; 0 for an empty histogram."""
    total = max(histogram.values(), default=0)
    if not total:
        return 0.0
    return next(bound for bound, count in histogram.items() if count >= part * total)


@dataclass(slots=True)
class Phases:
    """When each PodAllocation was first seen, when it was applied, and when its pod was ready; seconds."""

    seen: dict[str, float] = field(default_factory=dict)
    applied: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)

    def waits(self) -> list[float]:
        """Return the time from the first to the second, shortest first. Most of it the pods take to start."""
        return sorted(self.applied[name] - self.seen[name] for name in self.applied)

    def reports(self) -> list[float]:
        """Return how long after its pod was ready each was applied, shortest first; below 0: before that."""
        return sorted(self.applied[name] - self.ready[name] for name in self.applied.keys() & self.ready)


@contextmanager
def phases(cluster: Cluster) -> Iterator[Phases]:
    """Watch PodAllocations and pods inside the `with` block, with this host's clock."""
    found = Phases()

    def allocation(name: str, phase: str) -> None:
        found.seen.setdefault(name, time.monotonic())
        if phase == "Applied":
            found.applied.setdefault(name, time.monotonic())

    def pod(name: str, ready: str) -> None:
        if ready == "True":
            found.ready.setdefault(name, time.monotonic())

    is_ready = '.status.conditions[?(@.type=="Ready")].status'
    with (
        _watched(cluster, "podallocations", ".status.phase", allocation),
        _watched(cluster, "pods", is_ready, pod),
    ):
        yield found


@contextmanager
def _watched(cluster: Cluster, kind: str, path: str, tell: Callable[[str, str], None]) -> Iterator[None]:
    """Tell names of objects and what is at a path of them, again whenever one changes."""
    argv: Sequence[str] = [
        *(cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={cluster.namespace}"),
        *("get", kind, "--watch", "--no-headers", "-o", f"custom-columns=NAME:.metadata.name,VALUE:{path}"),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watching:

        def follow() -> None:
            for line in watching.stdout or ():
                name, value = line.split()
                tell(name, value)

        reader = threading.Thread(target=follow, daemon=True)
        reader.start()
        try:
            yield
        finally:
            watching.terminate()
            reader.join(10)
