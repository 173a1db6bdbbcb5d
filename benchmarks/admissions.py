"""Admissions per second of one node, podnuma's and the kubelet's, played the same way.

A round fills the node with the shapes in turn (a shape that was refused is left out), removes every
second pod, fills again, removes all. Timed are decisions: `decide` and `hold` here, admission by the
topology manager there. Reading pods is timed on neither side. Times are processor time of the
process, so that other work on the machine changes little.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podnuma.allocator import Admitted, Node, Pod
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.scenario import read_scenario, read_settings

from tests.conformance import kubelet

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rate:
    """One configuration, measured. Times in microseconds, `checkpoint` the share of admission time."""

    scenario: str
    per_second: float
    pods: int
    p99: float
    refusal: float
    removal: float
    checkpoint: float = 0.0

    @property
    def without_checkpoint(self) -> float:
        """Admissions per second if writing checkpoints took no time."""
        return self.per_second / (1 - self.checkpoint)


@dataclass(slots=True)
class _Watch:
    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)


def podnuma(scenario: Json, seconds: float) -> Rate:
    """Measure podnuma's allocator, one thread."""
    read = read_scenario(scenario)
    node = Node.empty(read_settings(read.kubelet), read.topology)
    shapes = [_read(step["pod"]) for step in scenario["steps"]]
    watch, most, serial = _Watch(), 0, 0
    while sum(watch.admitted) < seconds:
        for every in (2, 1):
            serial = _fill(node, shapes, watch, serial)
            most = max(most, len(node.grants))
            _drain(node, every, watch)
    watch.admitted.sort()
    return Rate(
        scenario=scenario["name"],
        per_second=len(watch.admitted) / sum(watch.admitted),
        pods=most,
        p99=watch.admitted[len(watch.admitted) * 99 // 100] * 1e6,
        refusal=_mean(watch.refused),
        removal=_mean(watch.removed),
    )


def _read(pod: Json) -> Pod:
    meta = {"namespace": "default", "uid": pod["metadata"]["name"], **pod["metadata"]}
    return read_pod(with_api_defaults({**pod, "metadata": meta}))


def _fill(node: Node, shapes: Sequence[Pod], watch: _Watch, serial: int) -> int:
    left, place = list(shapes), 0
    while left:
        place %= len(left)
        serial += 1
        pod = replace(left[place], uid=f"pod-{serial}")
        start = time.process_time()
        decision = node.decide(pod)
        if isinstance(decision, Admitted):
            node.hold(decision)
            watch.admitted.append(time.process_time() - start)
            place += 1
        else:
            watch.refused.append(time.process_time() - start)
            del left[place]
    return serial


def _drain(node: Node, every: int, watch: _Watch) -> None:
    for place, uid in enumerate(list(node.grants)):
        if place % every == 0:
            start = time.process_time()
            node.release(uid)
            watch.removed.append(time.process_time() - start)


def _mean(times: list[float]) -> float:
    return 1e6 * sum(times) / len(times) if times else 0.0


def of_kubelet(scenario: Json, seconds: float) -> Rate:
    """Measure the kubelet's own code, one thread, and which share of it writes checkpoints."""
    with tempfile.TemporaryDirectory(dir=kubelet.scratch_root()) as scratch:
        profile = Path(scratch) / "admissions.pprof"
        command = [str(kubelet.binary()), "bench", "-seconds", str(seconds)]
        command += ["-state-dir", scratch, "-profile", str(profile)]
        (line,) = kubelet.ask(command, json.dumps(scenario))
        measured = json.loads(line)
        return Rate(
            scenario=scenario["name"],
            per_second=measured["admissionsPerSecond"],
            pods=measured["podsPerFill"],
            p99=measured["p99ms"] * 1000,
            refusal=measured["refusalMicros"],
            removal=measured["removalMicros"],
            checkpoint=_checkpoint_share(profile),
        )


def _checkpoint_share(profile: Path) -> float:
    """Return the part of the samples of admissions that lies in storing state."""
    whole = _sampled(profile)
    return _sampled(profile, focus="storeState") / whole if whole else 0.0


def _sampled(profile: Path, focus: str = "") -> float:
    command = ["go", "tool", "pprof", "-top", "-unit=ms", "-tagfocus=part=admission"]
    command += ["-nodecount=1000000", "-nodefraction=0"]
    command += [f"-focus={focus}"] if focus else []
    for line in kubelet.ask([*command, str(profile)]):
        if line.startswith("Showing nodes accounting for"):
            return float(line.split()[4].rstrip(",").removesuffix("ms"))
    return 0.0
