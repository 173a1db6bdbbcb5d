"""Where a podnuma process spends its CPU time: `make bench-scale SCALE=--profile`.

`python -m benchmarks.profiled FILE operator ...` is `podnuma operator ...` with every thread under
cProfile, by the thread's own CPU time, so that waiting counts for nothing. At each SIGUSR1 the profile
so far goes to FILE.1, FILE.2 and so on, and a new one begins. `shares` sums one up by part of the
program. Profiling makes code of many small functions look more expensive than it is: the shares say
where to look, not how long something takes.
"""

from __future__ import annotations

import cProfile
import itertools
import pickle
import pstats
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first one that is in a file's path decides; a function of no part counts for its caller.
PARTS = (
    ("/podnuma/allocator/", "allocator: the decision itself"),
    ("/podnuma/api/", "reading and rendering objects"),
    ("/podnuma/operator/cache/decode.py", "reading and rendering objects"),
    ("/podnuma/operator/", "operator: keeping records, the loop"),
    ("/podnuma/plumbing/", "requests: HTTP, TLS"),
    ("/kopf/", "Kopf: watches and its queues"),
    ("/json/", "JSON"),
    ("/aiohttp/", "requests: HTTP, TLS"),
    ("/kubernetes/", "requests: HTTP, TLS"),
    ("/ssl.py", "requests: HTTP, TLS"),
    ("/asyncio/", "event loop"),
    ("/selectors.py", "event loop"),
    ("/logging/", "log"),
    ("/prometheus_client/", "metrics"),
)
OTHER = "other"

Function = tuple[str, int, str]
Stats = dict[Function, tuple[int, int, float, float, dict[Function, tuple[int, int, float, float]]]]


class Recorder:
    """One profile per thread, and the files they go to."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._numbers = itertools.count(1)
        self._profiles: list[cProfile.Profile] = []

    def record(self) -> None:
        """Profile the thread that calls this."""
        profile = cProfile.Profile(time.thread_time)
        self._profiles.append(profile)
        profile.enable()

    def record_threads(self) -> None:
        """Profile threads that are started from now on."""
        original = threading.Thread.run

        def recorded(thread: threading.Thread) -> None:
            self.record()
            original(thread)

        threading.Thread.run = recorded  # type: ignore[method-assign,assignment]

    def write(self, *_: object) -> None:
        """Write what was recorded since the last time."""
        every: list[Any] = []
        for profile in self._profiles:
            unfinished: Any = profile
            unfinished.snapshot_stats()  # `create_stats` would end the recording
            every.append(unfinished.stats)
            profile.clear()
        path = Path(f"{self._target}.{next(self._numbers)}")
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(pickle.dumps(every))
        hidden.replace(path)


def shares(path: Path) -> Mapping[str, float]:
    """Return seconds of CPU time by part of the program."""
    found: dict[str, float] = defaultdict(float)
    for stats in pickle.loads(path.read_bytes()):  # noqa: S301 - this program wrote it
        known: dict[Function, Mapping[str, float]] = {}
        for function, (_, _, own, _, _) in stats.items():
            for part, share in _mix(stats, function, known).items():
                found[part] += own * share
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def _mix(stats: Stats, function: Function, known: dict[Function, Mapping[str, float]]) -> Mapping[str, float]:
    """Return the parts that a function counts for, in shares: without a part, those of its callers."""
    if function in known:
        return known[function]
    known[function] = {OTHER: 1.0}  # a cycle of calls
    part = next((part for sign, part in PARTS if sign in function[0]), None)
    callers = stats[function][4] if function in stats else {}
    total = sum(caller[2] for caller in callers.values())
    if part is not None:
        known[function] = {part: 1.0}
    elif total:
        mixed: dict[str, float] = defaultdict(float)
        for caller, (_, _, within, _) in callers.items():
            for name, share in _mix(stats, caller, known).items():
                mixed[name] += share * within / total
        known[function] = mixed
    return known[function]


def most_expensive(path: Path, count: int) -> list[tuple[str, float]]:
    """Return the functions with most time of their own, in seconds."""
    found: dict[str, float] = defaultdict(float)
    for stats in pickle.loads(path.read_bytes()):  # noqa: S301 - this program wrote it
        for function, (_, _, own, _, _) in stats.items():
            found[str(pstats.func_std_string(function))] += own  # type: ignore[attr-defined]
    return sorted(found.items(), key=lambda entry: -entry[1])[:count]


def main() -> None:
    """Run podnuma with the rest of the command line."""
    target, *words = sys.argv[1:]
    recorder = Recorder(target)
    signal.signal(signal.SIGUSR1, recorder.write)
    recorder.record_threads()
    recorder.record()
    sys.argv[1:] = words
    run()


if __name__ == "__main__":
    main()
