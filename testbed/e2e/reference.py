"""Record what a node does with a series of pods, to compare two recordings.

The first recording is the kubelet with its own resource managers, the second podnuma on a stock
kubelet. Both see the same pods in the same order; compared are admission, the values that the kernel
enforces for each container and each pod, what ended init containers could use, and the counts of
assignments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.e2e import pods
from testbed.e2e.cluster import ENDED, Cluster, containers_of
from testbed.e2e.observe import parse_list, render_list
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from testbed.api import Json

ROOT = Path(__file__).parents[2]
# Each wave fits the machine (7 unreserved CPUs per NUMA node, 14 in all) and starts on an empty node.
POD_SCOPE: tuple[tuple[str, ...], ...] = (
    (
        "examples/pods/database.yaml",
        "tests/pods/16-fractional-budget.yaml",
        "tests/pods/09-invalid-empty-shared-pool.yaml",
    ),
    (
        "tests/pods/03-java-api-mesh-injected.yaml",
        "tests/pods/12-cassandra-cpu-only-budget.yaml",
        "tests/pods/10-spark-executor-burstable.yaml",
    ),
    (
        "tests/pods/01-postgres-native-sidecar.yaml",
        "tests/pods/02-cache-pod-level-only.yaml",
    ),
    (
        "tests/pods/07-radio-fractional-equal.yaml",
        "tests/pods/08-trading-two-exclusive.yaml",
        "tests/pods/22-batch-short-lived.yaml",
        "tests/pods/23-hugepages-init-only.yaml",
    ),
)
CONTAINER_SCOPE: tuple[tuple[str, ...], ...] = (
    ("tests/pods/23-hugepages-init-only.yaml", "examples/pods/ml-training.yaml"),
)
# The kubelet brings containers in line every second here (cpuManagerReconcilePeriod).
_STILL_SECONDS = 3.0
_SETTLE_SECONDS = 60.0
_METRICS = "resource_manager_"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel enforces for one cgroup, as text in the kernel's own formats."""

    cpus: str
    mems: str
    cpu_max: str = ""
    memory_max: str = ""


@dataclass(slots=True)
class Recording:
    """Outcome per pod, values per (pod, container; "" is the pod itself), what the counts rose by.

    first_outputs: what init containers that have ended were allowed to use, per (pod, container).
    Keys begin with the scope.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, str], Seen] = field(default_factory=dict)
    first_outputs: dict[tuple[str, str], Seen] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add_counts(self, scope: str, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        """Take what the three metrics rose by between two readings of one process."""
        for name, value in after.items():
            risen = value - before.get(name, 0)
            if risen:
                self.counts[f"{scope}/{name.removeprefix(_METRICS)}"] = risen


def record(
    cluster: Cluster,
    scope: str,
    waves: Sequence[Sequence[str]],
    into: Recording,
    say: Callable[[str], None],
    look: Callable[[Sequence[Json]], None] = lambda _: None,
) -> None:
    """Run the waves one after the other and record what the node does with them.

    `look` is called with the pods of each wave while they run.
    """
    for wave in waves:
        with cluster.running(*manifests(wave, cluster)) as settled:
            observe(cluster, scope, settled, into)
            look(settled)
        say(f"       recorded {', '.join(pod['metadata']['name'] for pod in settled)}")


def manifests(wave: Sequence[str], cluster: Cluster) -> Iterator[Json]:
    """Read the pods of a wave; the announcement's two are scaled to the machine."""
    for name in wave:
        pod = pods.load(ROOT / name, cluster.image)
        if name.startswith("examples/"):
            _scale(pod)
        yield pod


def made_of() -> bytes:
    """Return the pods of the table, of which a recording of it is made."""
    return b"".join(
        path.encode() + (ROOT / path).read_bytes() for wave in (*POD_SCOPE, *CONTAINER_SCOPE) for path in wave
    )


def observe(cluster: Cluster, scope: str, settled: Sequence[Json], into: Recording) -> None:
    """Record what the node did with pods that have settled: outcomes, and values that stay as they are."""
    alive = []
    for pod in settled:
        key = f"{scope}/{pod['metadata']['name']}"
        ended = pod["status"]["phase"] in ENDED
        into.outcomes[key] = pod["status"].get("reason", pod["status"]["phase"]) if ended else "admitted"
        if not ended:
            alive.append(pod)
    into.values.update(_still(cluster, scope, alive))
    for pod in alive:
        for entry in pod["spec"].get("initContainers", []):
            if entry.get("restartPolicy") != "Always":
                words = first_outputs(cluster.logs(pod["metadata"]["name"], entry["name"]))
                into.first_outputs[f"{scope}/{pod['metadata']['name']}", entry["name"]] = words


def _still(cluster: Cluster, scope: str, alive: Sequence[Json]) -> dict[tuple[str, str], Seen]:
    """Return the values once they have not changed for a while: shared containers follow with a delay."""
    if not alive:
        return {}
    last = _values(cluster, scope, alive)

    def check() -> dict[tuple[str, str], Seen] | None:
        nonlocal last
        now = _values(cluster, scope, alive)
        same, last = now == last, now
        return now if same else None

    return until(check, "cgroup values that stay as they are", _SETTLE_SECONDS, _STILL_SECONDS)


def _values(cluster: Cluster, scope: str, alive: Sequence[Json]) -> dict[tuple[str, str], Seen]:
    kernel = cluster.snapshot()
    values = {}
    for pod in alive:
        groups = [(name, kernel.container(pod, name)) for name in containers_of(pod)]
        for container, cgroup in [("", kernel.pod(pod)), *groups]:
            values[f"{scope}/{pod['metadata']['name']}", container] = Seen(
                render_list(cgroup.effective_cpus),
                render_list(cgroup.effective_mems),
                cgroup.cpu_max,
                cgroup.memory_max,
            )
    return values


def first_outputs(log: str) -> Seen:
    """Read what a container printed first: the CPUs and memory nodes it was allowed to use."""
    found: dict[str, str] = {}
    for line in log.splitlines():
        name, _, value = line.partition(":")
        if name.endswith("_allowed_list"):
            found.setdefault(name, value.strip())
    return Seen(
        render_list(parse_list(found["Cpus_allowed_list"])),
        render_list(parse_list(found["Mems_allowed_list"])),
    )


def _scale(pod: Json) -> None:
    """Halve the CPUs of the pod and of its exclusive container: 8 and 6 become 4 and 3, 4 and 3 stay."""
    for resources in (pod["spec"]["resources"], *(c.get("resources", {}) for c in pod["spec"]["containers"])):
        for amounts in resources.values():
            if amounts.get("cpu") in ("8", "6"):
                amounts["cpu"] = str(int(amounts["cpu"]) // 2)
