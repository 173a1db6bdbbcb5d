"""Admissions per second of one node: podnuma's and the kubelet's, driven the same way.

A round fills the node with the shapes in turn (a shape that was refused is left out), removes every
second pod, fills again, removes all. The filling is timed, in CPU time of the process, so that other
work on the machine changes little. Of the kubelet that is the topology manager's successful admissions;
of podnuma it is everything, deciding and holding, refusals included, because a clock around each single
decision would take half as long as the decision. Reading pods is not timed on either side.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podnuma.allocator import Admitted, PodRequest
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.objects.scenarios import read_scenario, read_settings

from tests.conformance import kubelet

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rate:
    """One configuration, measured. `pods` fit on the node; `checkpoint`: the share of storing state."""

    scenario: str
    per_second: float
    pods: int
    checkpoint: float = 0.0

    @property
    def without_checkpoint(self) -> float:
        """Admissions per second if writing checkpoints took no time."""
        return self.per_second / (1 - self.checkpoint)


def podnuma(scenario: Json, seconds: float, *, first: bool = False) -> Rate:
    """Measure podnuma's allocator, one thread; `first`: no pod asks for what another one asked for."""
    read = read_scenario(scenario)
    node = NodeAllocator.empty(read_settings(read.kubelet), read.topology)
    shapes = [read_shape(step["pod"]) for step in scenario["steps"]]
    took, admitted, most = 0.0, 0, 0
    while took < seconds:
        for every in (2, 1):
            start = time.process_time()
            admitted += _fill(node, shapes, admitted, first=first)
            took += time.process_time() - start
            most = max(most, len(node.grants))
            for uid in list(node.grants)[::every]:
                node.release(uid)
    return Rate(scenario["name"], admitted / took, most)


def read_shape(pod: Json) -> PodRequest:
    """Return a shape of the mix as the API server would store it."""
    meta = {"namespace": "default", "uid": pod["metadata"]["name"], **pod["metadata"]}
    return read_pod(with_api_defaults({**pod, "metadata": meta}))


def _fill(node: NodeAllocator, shapes: Sequence[PodRequest], serial: int, *, first: bool) -> int:
    left, place, admitted = list(shapes), 0, 0
    while left:
        place %= len(left)
        asked = left[place]
        # Requests with other objects are other ones for the allocator.
        containers = (*asked.containers,) if first else asked.containers
        decision = node.decide(replace(asked, uid=f"pod-{serial + admitted}", containers=containers))
        if isinstance(decision, Admitted):
            node.hold(decision)
            admitted += 1
            place += 1
        else:
            del left[place]
    return admitted


def of_kubelet(scenario: Json, seconds: float, release: kubelet.Release = kubelet.REFERENCE) -> Rate:
    """Measure the kubelet's own code, one thread, and which share of it writes checkpoints."""
    with tempfile.TemporaryDirectory(dir=kubelet.scratch_root()) as scratch:
        profile = Path(scratch) / "admissions.pprof"
        command = [str(kubelet.binary(release)), "bench", "-seconds", str(seconds)]
        command += ["-state-dir", scratch, "-profile", str(profile)]
        (line,) = kubelet.ask(command, json.dumps(scenario))
        measured = json.loads(line)
        return Rate(
            scenario["name"],
            measured["admissionsPerSecond"],
            measured["podsPerFill"],
            _checkpoint_share(profile),
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
