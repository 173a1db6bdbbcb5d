"""Every figure of `make bench-compare`, measured in the process of one build.

`python -m benchmarks.figures COMMAND FILE` does one command and writes figure -> value to FILE as JSON.
A command measures what belongs together: figures of one command come from the same process. What is measured
is the podnuma that this process imports; `benchmarks.compare` starts one for each of the two builds.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ADMISSION_SECONDS = 2.0  # per side, machine and policy
REST_SECONDS = 60.0
RATES = (50, 200)
ARRIVAL_SECONDS = 20
PODS = 200

# The labels of benchmarks.paths, by what they begin with.
FIRST = {"answer-first": "first admission"}
OPERATOR_PATHS = {
    "event": "event of a pod that may hold something",
    "answer": "admission",
    "render": "PodAllocation from the grant",
    "read-back": "PodAllocation read back",
}
AGENT_PATHS = {
    "hook": "start of a container",
    "pass": "a pass over 51 containers",
    "report": "statuses of 17 pods",
    "order": "order of the writes",
}


def operator_paths() -> Mapping[str, float]:
    """From an event to the object that is written, part by part, in microseconds."""
    from benchmarks import paths  # noqa: PLC0415 - a build may lack what another command needs

    costs = dict(paths.operator())
    found = _named(costs, OPERATOR_PATHS)
    whole = {"parts": sum(found.values())} if len(found) == len(OPERATOR_PATHS) else {}
    return {**found, **whole, **_named(costs, FIRST)}


def agent_paths() -> Mapping[str, float]:
    """Return hook, pass, the report after it and order of writes, in microseconds."""
    from benchmarks import paths  # noqa: PLC0415

    return _named(dict(paths.agent()), AGENT_PATHS)


def _named(costs: Mapping[str, float], labels: Mapping[str, str]) -> dict[str, float]:
    """Return what there is of these: a build's own benchmarks may lack a path that today's have."""
    return {
        name: cost for name, label in labels.items() for path, cost in costs.items() if path.startswith(label)
    }


def operator_pod() -> Mapping[str, float]:
    """All that the controller does for a pod, in microseconds."""
    from benchmarks import one_pod  # noqa: PLC0415

    return {"pod": one_pod.own_micros(PODS)}


def hook_trips() -> Mapping[str, float]:
    """Between the runtime's process and the agent's, in microseconds."""
    from benchmarks import hook  # noqa: PLC0415

    resting, meanwhile = hook.round_trips(hook.CALLS)
    return {
        "trip": 1e6 * statistics.median(resting),
        "trip-p99": 1e6 * hook.p99(resting),
        "trip-in-pass": 1e6 * statistics.median(meanwhile),
        "trip-in-pass-p99": 1e6 * hook.p99(meanwhile),
    }


def command_line() -> Mapping[str, float]:
    """Seconds of processor time."""
    from benchmarks import commands  # noqa: PLC0415

    return commands.measured()


def admission() -> Mapping[str, float]:
    """Admissions per second, by machine: the slower of two policies."""
    from benchmarks import admissions, shapes  # noqa: PLC0415

    found: dict[str, float] = {}
    for scenario in shapes.scenarios():
        machine = scenario["name"].split()[0]
        for name, first in ((machine, False), (f"{machine}-first", True)):
            ours = admissions.podnuma(scenario, ADMISSION_SECONDS, first=first)
            found[name] = min(found.get(name, ours.per_second), ours.per_second)
    return found


def beside_kubelet() -> Mapping[str, float]:
    """Return how many times the rate of kubelet 1.37 without checkpoints: the smaller of two policies."""
    return _beside("1.37")


def beside_next_kubelet() -> Mapping[str, float]:
    """Return the same of kubelet 1.38, whose managers merge faster."""
    return _beside("1.38")


def _beside(release: str) -> Mapping[str, float]:
    from benchmarks import admissions, shapes  # noqa: PLC0415
    from tests.conformance.kubelet import Release  # noqa: PLC0415

    found: dict[str, float] = {}
    for scenario in shapes.scenarios():
        machine = scenario["name"].split()[0]
        theirs = admissions.of_kubelet(scenario, ADMISSION_SECONDS, Release(release)).without_checkpoint
        times = admissions.podnuma(scenario, ADMISSION_SECONDS).per_second / theirs
        found[machine] = min(found.get(machine, times), times)
    return found


def held() -> Mapping[str, float]:
    """Seconds and MiB of 10,000 nodes with 300,000 pods."""
    from benchmarks import memory  # noqa: PLC0415

    result = memory.fill(memory.NODES)
    return {"seconds": result.seconds, "mebibytes": result.mebibytes}


def cluster() -> Mapping[str, float]:
    """1,000 nodes and 30,000 pods on a real API server; seconds and megabytes."""
    from rich.console import Console  # noqa: PLC0415

    from benchmarks import scale  # noqa: PLC0415

    size = scale.Size(nodes=1000, pods=30_000, managed=3000, rates=RATES, seconds=ARRIVAL_SECONDS)
    figures = scale.measured(size, Console(stderr=True))
    found = {"cold-start": figures.cold_start, "cold-memory": figures.resident_at_start / 1e6}
    for rate, seen in figures.arrivals.items():
        found |= {
            f"bind-{rate}": 1000 * seen.median,
            f"bind-{rate}-p99": 1000 * seen.p99,
            f"bind-{rate}-tail": seen.p99 / seen.median,
            f"bind-{rate}-growth": seen.growth,
        }
    return found


def at_rest() -> Mapping[str, float]:
    """MiB and percent of one CPU of an agent with 51 containers."""
    from benchmarks import agent  # noqa: PLC0415

    resident, percent = agent.at_rest(REST_SECONDS)
    return {"rest-memory": resident, "rest-cpu": percent}


def crowd() -> Mapping[str, float]:
    """20 pods at once in the virtual machine: seconds without podnuma, with it, and their ratio."""
    from benchmarks import whole  # noqa: PLC0415

    without, with_podnuma = whole.crowd()
    return {"without": without, "with": with_podnuma, "crowd": with_podnuma / without}


def demo() -> Mapping[str, float]:
    """Seconds of `make demo` where nothing was ever built."""
    from benchmarks import whole  # noqa: PLC0415

    return {"demo": whole.first_demo()}


def suite() -> Mapping[str, float]:
    """Seconds of `make test`."""
    from benchmarks import whole  # noqa: PLC0415

    return {"test": whole.suite()}


COMMANDS: Mapping[str, Callable[[], Mapping[str, float]]] = {
    each.__name__: each
    for each in (
        *(operator_paths, operator_pod, agent_paths, hook_trips, command_line, admission, beside_kubelet),
        *(beside_next_kubelet, held, cluster, at_rest, crowd, demo, suite),
    )
}


def quicken(seconds: float) -> None:
    """Take little time and give rough figures: for tests."""
    globals()["ADMISSION_SECONDS"] = seconds
    globals()["PODS"] = 10
    for module, name, value in (
        ("paths", "SECONDS", seconds),
        ("hook", "CALLS", 50),
        ("memory", "NODES", 10),
    ):
        setattr(importlib.import_module(f"benchmarks.{module}"), name, value)


def main() -> int:
    """Measure."""
    command, target, *quick = sys.argv[1:]
    if quick:
        quicken(float(quick[0]))
    found = COMMANDS[command]()
    Path(target).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
