"""Record what a node does with a series of pods, to hold two recordings side by side.

The first recording is the kubelet with its own resource managers, the second podnuma on a stock
kubelet. Both see the same pods in the same order; compared are admission, the values that the kernel
enforces for each container and each pod, and the counts of assignments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from testbed.e2e import pods
from testbed.e2e.cluster import ENDED, Cluster, containers_of
from testbed.e2e.observe import render_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from testbed.api import Json

ROOT = Path(__file__).parents[2]
# Each wave fits the machine (7 unreserved CPUs per NUMA node) and starts on an empty node.
WAVES: tuple[tuple[str, ...], ...] = (
    (
        "examples/pods/database.yaml",
        "tests/pods/16-fractional-budget.yaml",
        "tests/pods/09-invalid-empty-shared-pool.yaml",
    ),
    (
        "examples/pods/ml-training.yaml",
        "tests/pods/03-java-api-mesh-injected.yaml",
        "tests/pods/12-cassandra-cpu-only-budget.yaml",
    ),
    (
        "tests/pods/01-postgres-native-sidecar.yaml",
        "tests/pods/02-cache-pod-level-only.yaml",
        "tests/pods/10-spark-executor-burstable.yaml",
    ),
    (
        "tests/pods/07-radio-fractional-equal.yaml",
        "tests/pods/22-batch-short-lived.yaml",
        "tests/pods/08-trading-two-exclusive.yaml",
    ),
    ("tests/pods/11-spark-driver-limits-only.yaml", "tests/pods/17-vm-sandbox-overhead.yaml"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel enforces for one cgroup, as text in the kernel's own formats."""

    cpus: str
    mems: str
    cpu_max: str
    memory_max: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Outcome per pod, values per (pod, container; "" is the pod itself), what the counts rose by."""

    outcomes: Mapping[str, str]
    values: Mapping[tuple[str, str], Seen]
    counts: Mapping[str, float]


def manifests(wave: Sequence[str], cluster: Cluster) -> Iterator[Json]:
    """Read the pods of a wave; the announcement's two are scaled to the machine."""
    for name in wave:
        pod = pods.load(ROOT / name, cluster.image)
        if name.startswith("examples/"):
            _scale(pod)
        yield pod


def record(cluster: Cluster, counts: Mapping[str, float]) -> None:
    raise NotImplementedError


def observe(cluster: Cluster, settled: Sequence[Json]) -> tuple[dict[str, str], dict[tuple[str, str], Seen]]:
    """Return outcome and values of pods that have settled."""
    outcomes, values = {}, {}
    kernel = cluster.snapshot()
    for pod in settled:
        name = pod["metadata"]["name"]
        outcomes[name] = (
            pod["status"].get("reason", "admitted") if pod["status"]["phase"] in ENDED else "admitted"
        )
        if pod["status"]["phase"] in ENDED:
            continue
        groups = [(container, kernel.container(pod, container)) for container in containers_of(pod)]
        for container, cgroup in [("", kernel.pod(pod)), *groups]:
            values[name, container] = Seen(
                render_list(cgroup.effective_cpus),
                render_list(cgroup.effective_mems),
                cgroup.cpu_max,
                cgroup.memory_max,
            )
    return outcomes, values


def _scale(pod: Json) -> None:
    """Halve the CPUs of the pod and of its exclusive container: 8 and 6 become 4 and 3, 4 and 3 stay."""
    for resources in (pod["spec"]["resources"], *(c.get("resources", {}) for c in pod["spec"]["containers"])):
        for amounts in resources.values():
            if amounts.get("cpu") in ("8", "6"):
                amounts["cpu"] = str(int(amounts["cpu"]) // 2)


def dump(path: Path, recording: Recording) -> None:
    """Write a recording for people to read."""
    path.write_text(yaml.safe_dump({"outcomes": dict(recording.outcomes)}))
