"""The table of `make bench-compare`: which figure each row shows, its unit, and what it is to be.

Rows of one command are measured together. A command that takes minutes, or needs a control plane or the
virtual machine, is `long`: it is measured when one of its rows is named, or with ROWS=all.
"""

from __future__ import annotations

import enum
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Better(enum.Enum):
    """Which way a figure improves."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Command:
    """What is measured together. `rounds`: at most so many, because each takes long."""

    name: str
    needs: str = ""  # beside this process
    long: bool = False
    rounds: int = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One line. Its target is a value, or a ratio to the base; `scale` turns the figure into the unit."""

    name: str
    title: str
    command: Command
    figure: str
    unit: str
    better: Better = Better.LOWER
    scale: float = 1.0
    target: float | None = None
    target_ratio: float | None = None


_OPERATOR = Command("operator_paths")
_POD = Command("operator_pod")
_AGENT = Command("agent_paths")
_HOOK = Command("hook_trips")
_WORDS = Command("command_line")
_ADMISSION = Command("admission")
_KUBELET = Command("beside_kubelet", needs="Go, for the kubelet's own code", rounds=2)
_NEXT = Command(
    "beside_next_kubelet", needs="Go 1.27 and a build of kubelet 1.38's code", long=True, rounds=2
)
_HELD = Command("held", rounds=2)
_CLUSTER = Command("cluster", needs="a control plane", long=True, rounds=2)
_REST = Command("at_rest", needs="a control plane and kwok", long=True, rounds=2)
_CROWD = Command("crowd", needs="the virtual machine", long=True, rounds=1)
_DEMO = Command("demo", needs="the network, Go, a first build of all", long=True, rounds=1)
_TEST = Command("suite", needs="all that make test needs", long=True, rounds=1)
_MORE = Better.HIGHER

ROWS: tuple[Row, ...] = (
    Row("event", "operator: event of a pod read", _OPERATOR, "event", "µs"),
    Row("answer", "operator: admission", _OPERATOR, "answer", "µs"),
    Row("answer-first", "operator: admission, never asked before", _OPERATOR, "answer-first", "µs"),
    Row("render", "operator: PodAllocation rendered", _OPERATOR, "render", "µs"),
    Row("read-back", "operator: the server's answer read", _OPERATOR, "read-back", "µs"),
    Row("parts", "operator: these four together", _OPERATOR, "parts", "µs", target=150),
    Row("pod", "operator: all it does for a pod, node status included", _POD, "pod", "µs"),
    Row("hook", "hook: own code", _AGENT, "hook", "µs", target=20),
    Row("hook-trip", "hook: round trip, median", _HOOK, "trip", "µs", target=200),
    Row("hook-trip-p99", "hook: round trip, p99", _HOOK, "trip-p99", "µs"),
    Row("hook-pass", "hook: round trip while passes run, median", _HOOK, "trip-in-pass", "µs"),
    Row(
        "hook-pass-p99",
        "hook: round trip while passes run, p99",
        _HOOK,
        "trip-in-pass-p99",
        "ms",
        scale=1e-3,
        target=5,
    ),
    Row(
        "pass", "agent: pass over 51 containers, nothing to do", _AGENT, "pass", "ms", scale=1e-3, target=1.5
    ),
    Row("report", "agent: the statuses after it, all as before", _AGENT, "report", "ms", scale=1e-3),
    Row("order", "agent: order of 331 writes", _AGENT, "order", "ms", scale=1e-3, target=2),
    Row("help", "command line: --help", _WORDS, "help", "s", target=0.1),
    Row("map", "command line: map of two nodes", _WORDS, "map", "s", target=0.3),
    Row(
        "admission-128", "admission, 128 CPUs, 2 NUMA nodes", _ADMISSION, "128", "/s", _MORE, target_ratio=2.5
    ),
    Row("admission-256", "admission, 256 CPUs, 8 NUMA nodes", _ADMISSION, "256", "/s", _MORE),
    Row("admission-128-first", "the same, nothing asked before", _ADMISSION, "128-first", "/s", _MORE),
    Row("admission-256-first", "256 CPUs, nothing asked before", _ADMISSION, "256-first", "/s", _MORE),
    Row("kubelet-128", "128 CPUs beside kubelet 1.37", _KUBELET, "128", "x", _MORE, target=25),
    Row("kubelet-256", "256 CPUs beside kubelet 1.37", _KUBELET, "256", "x", _MORE, target=300),
    Row("kubelet-128-1.38", "128 CPUs beside kubelet 1.38", _NEXT, "128", "x", _MORE),
    Row("kubelet-256-1.38", "256 CPUs beside kubelet 1.38", _NEXT, "256", "x", _MORE, target=50),
    Row("held-time", "300,000 pods on 10,000 nodes decided", _HELD, "seconds", "s", target=10),
    Row("held-memory", "300,000 pods on 10,000 nodes held", _HELD, "mebibytes", "MiB", target=250),
    Row("cold-start", "cold start, 1,000 nodes, 30,000 pods", _CLUSTER, "cold-start", "s", target=7),
    Row("cold-memory", "resident after it", _CLUSTER, "cold-memory", "MB", target=150),
    Row("bind-50", "bind to PodAllocation, 50 pods/s, median", _CLUSTER, "bind-50", "ms", target_ratio=2),
    Row(
        "bind-50-p99", "bind to PodAllocation, 50 pods/s, p99", _CLUSTER, "bind-50-p99", "ms", target_ratio=2
    ),
    Row("bind-50-tail", "the same, p99 by median", _CLUSTER, "bind-50-tail", "x", target=8),
    Row("bind-200", "bind to PodAllocation, 200 pods/s, median", _CLUSTER, "bind-200", "ms"),
    Row("bind-200-p99", "bind to PodAllocation, 200 pods/s, p99", _CLUSTER, "bind-200-p99", "ms", target=500),
    Row(
        "bind-200-queue", "the same, last fifth by first fifth", _CLUSTER, "bind-200-growth", "x", target=1.5
    ),
    Row("rest-memory", "agent at rest: resident", _REST, "rest-memory", "MiB", target=38),
    Row("rest-cpu", "agent at rest: of one CPU", _REST, "rest-cpu", "%", target=0.1),
    Row("crowd", "20 pods at once, by the same without podnuma", _CROWD, "crowd", "x", target=1.1),
    Row("demo", "make demo where nothing was ever built", _DEMO, "demo", "s", target=240),
    Row("test", "make test", _TEST, "test", "s", target=240),
)


class UnknownRowError(ValueError):
    """A row was asked for that the table has not."""


def chosen(names: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these names in the table's order; without names the quick ones."""
    if not names:
        return tuple(row for row in ROWS if not row.command.long)
    if "all" in names:
        return ROWS
    unknown = sorted(set(names) - {row.name for row in ROWS})
    if unknown:
        known = " ".join(row.name for row in ROWS)
        raise UnknownRowError(f"no row is called {', '.join(unknown)}; rows are: all {known}")
    return tuple(row for row in ROWS if row.name in names)


def commands(rows: Iterable[Row]) -> tuple[Command, ...]:
    """Return what has to be measured for these rows."""
    return tuple(dict.fromkeys(row.command for row in rows))


@dataclass(slots=True)
class Side:
    """What one build gave: values by (command, figure), and why a command gave none."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    drivers: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def take(self, command: Command, found: Mapping[str, float], driver: str) -> None:
        """Keep the figures of one round."""
        self.drivers[command.name] = driver
        for figure, value in found.items():
            self.values.setdefault((command.name, figure), []).append(value)

    def of(self, row: Row) -> tuple[float, ...]:
        """Return the values of a row in its unit, one per round."""
        return tuple(value * row.scale for value in self.values.get((row.command.name, row.figure), ()))

    def reason(self, row: Row) -> str:
        """Say why there is no value; empty if there is one."""
        if self.of(row):
            return ""
        return self.reasons.get(row.command.name, f"{row.command.name} gives no {row.figure}")


@dataclass(frozen=True, slots=True)
class Line:
    """A row with what was measured; `ratio` says how many times better it is now than at the base."""

    row: Row
    base: tuple[float, ...]
    now: tuple[float, ...]
    base_reason: str
    now_reason: str

    @property
    def ratio(self) -> float | None:
        """The ratio of the medians; above 1 is better whichever way the figure improves."""
        if not self.base or not self.now:
            return None
        base, now = statistics.median(self.base), statistics.median(self.now)
        over, under = (now, base) if self.row.better is Better.HIGHER else (base, now)
        return over / under if under else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing to judge by."""
        if not self.now:
            return None
        if self.row.target_ratio is not None:
            return None if self.ratio is None else self.ratio >= self.row.target_ratio
        if self.row.target is None:
            return None
        now = statistics.median(self.now)
        return now >= self.row.target if self.row.better is Better.HIGHER else now <= self.row.target


def lines(rows: Iterable[Row], base: Side, now: Side) -> list[Line]:
    """Put both builds beside each other."""
    return [Line(row, base.of(row), now.of(row), base.reason(row), now.reason(row)) for row in rows]
