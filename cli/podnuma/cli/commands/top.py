"""`podnuma top`: what each container of a managed pod uses, how often it was throttled, is it pinned.

decided      PodAllocation.spec       CPUs it may use, and its kind of share
pinned       PodAllocation.status     the agent's verdict; DRIFT where the kernel says something else
CPU, MEMORY  metrics.k8s.io           used now; "-" where the cluster has no metrics server
THROTTLED    the kubelet's cAdvisor   share of CFS periods since its start in which it was held up;
                                          by the API server's node proxy, "-" without that right
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import cpuset, quantities
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.quantities import format_cpu
from podnuma.allocator.request import ContainerKind
from podnuma.api.pod_allocation import ContainerStatus, PodAllocation, read_pod_allocation
from podnuma.api.reading import ApiError
from podnuma.cli import output, wanted
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.render import words
from podnuma.cli.sources import Json, Source

Key = tuple[str, str, str]
"""Namespace, pod, container."""

_SAMPLE = re.compile(
    r"^container_cpu_cfs_(throttled_)?periods_total\{([^}\n]*)\} ([0-9.eE+-]+)", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ABSENT = (Exit.NOT_FOUND, Exit.FORBIDDEN, Exit.NOT_SERVED, Exit.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Use:
    """What a container uses now: millicores and bytes."""

    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class Row:
    """One container. `throttled` is a share from 0 to 1; None where nothing is known."""

    node: str
    key: Key
    share: str
    cpus: str
    verdict: str
    drift: str
    use: Use | None
    throttled: float | None


def answer(source: Source, namespace: str, node: str, form: Form) -> Exit:
    """Print every container of the managed pods; NO if one has drifted."""
    allocations = [
        found
        for value in source.fetch(wanted.allocations(node))[0]
        if (found := _read(value)) and namespace in ("", found.metadata.namespace)
    ]
    nodes = sorted({found.node_name for found in allocations})
    rows = rows_of(allocations, _use(source, namespace), _throttling(source, nodes))
    if form.for_programs:
        output.dump([as_data(row) for row in rows], form)
    else:
        heads = ("NODE", "POD", "CONTAINER", "SHARE", "CPUS", "CPU", "MEMORY", "THROTTLED", "PINNED", "DRIFT")
        output.write(
            output.columns(heads, [_cells(row) for row in rows]) if rows else "no pod holds anything\n"
        )
    return Exit.NO if any(row.drift for row in rows) else Exit.OK


def rows_of(
    allocations: Sequence[PodAllocation], use: Mapping[Key, Use], throttled: Mapping[Key, float]
) -> list[Row]:
    """Join what is decided with what is seen; the busiest container first."""
    rows = []
    for one in allocations:
        status = {container.name: container for container in one.status.containers}
        # Init containers have ended.
        for grant in (lasting for lasting in one.grant.containers if lasting.kind is not ContainerKind.INIT):
            seen = status.get(grant.name, ContainerStatus(grant.name))
            key = (one.grant.namespace, one.grant.name, grant.name)
            rows.append(
                Row(
                    node=one.node_name,
                    key=key,
                    share=grant.cpu_assignment.value,
                    cpus=cpuset.render(grant.cpus) if grant.cpus else "node pool",
                    verdict=seen.verdict.value,
                    drift=_drift(grant.cpus, seen),
                    use=use.get(key),
                    throttled=throttled.get(key),
                )
            )
    return sorted(rows, key=lambda row: (-(row.use.cpu if row.use else 0), row.node, row.key))


def _drift(decided: CpuSet | None, seen: ContainerStatus) -> str:
    effective = seen.effective.cpus if seen.effective else ""
    if decided is None or not effective:
        return ""
    return "" if effective == cpuset.render(decided) else f"kernel has {effective}"


def throttling_of(metrics: str) -> dict[Key, float]:
    """Read cAdvisor's exposition text: throttled periods of all periods, per container."""
    periods: dict[Key, float] = {}
    held: dict[Key, float] = {}
    for throttled, labels, value in _SAMPLE.findall(metrics):
        found = dict(_LABEL.findall(labels))
        key = (found.get("namespace", ""), found.get("pod", ""), found.get("container", ""))
        if all(key):
            (held if throttled else periods)[key] = float(value)
    return {key: held.get(key, 0.0) / count for key, count in periods.items() if count}


def use_of(metrics: Iterable[Mapping[str, Any]]) -> dict[Key, Use]:
    """Read PodMetrics of metrics.k8s.io."""
    found: dict[Key, Use] = {}
    for pod in metrics:
        space, name = pod["metadata"].get("namespace", "default"), pod["metadata"]["name"]
        for one in pod.get("containers", []):
            usage = one.get("usage", {})
            cpu, memory = quantities.parse(usage.get("cpu", "0")), quantities.parse(usage.get("memory", "0"))
            found[space, name, one["name"]] = Use(cpu.milli, memory.bytes)
    return found


def _read(value: Json) -> PodAllocation | None:
    try:
        found = read_pod_allocation(value)
    except ApiError as error:
        output.note(f"left out: {error}")
        return None
    return found if found.decision.admitted else None


def _use(source: Source, namespace: str) -> dict[Key, Use]:
    try:
        return use_of(source.fetch(wanted.pod_metrics(namespace))[0])
    except Failure as failure:
        if failure.code not in _ABSENT:
            raise
        output.note("CPU and MEMORY are not known: this cluster answers no metrics.k8s.io")
        return {}


def _throttling(source: Source, nodes: Sequence[str]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for node in nodes:
        try:
            found |= throttling_of(source.text(f"/api/v1/nodes/{node}/proxy/metrics/cadvisor"))
        except Failure as failure:
            if failure.code not in _ABSENT:
                raise
            output.note(f"THROTTLED is not known on {node}: {failure.lines[0]}")
    return found


def _cells(row: Row) -> tuple[str, ...]:
    space, pod, container = row.key
    return (
        row.node,
        f"{space}/{pod}",
        container,
        row.share,
        row.cpus,
        format_cpu(row.use.cpu) if row.use else "",
        words.about(row.use.memory) if row.use else "",
        "" if row.throttled is None else f"{row.throttled:.1%}",
        row.verdict,
        row.drift,
    )


def as_data(row: Row) -> dict[str, Any]:
    """Return one container for programs."""
    space, pod, container = row.key
    return {
        "node": row.node,
        "namespace": space,
        "pod": pod,
        "container": container,
        "share": row.share,
        "cpus": row.cpus,
        "verdict": row.verdict,
        "drift": row.drift or None,
        "milliCPU": row.use.cpu if row.use else None,
        "memoryBytes": row.use.memory if row.use else None,
        "throttled": row.throttled,
    }
