"""`podnuma top`: what each container of managed pods uses, how often it is throttled, whether it is pinned.

SHARE, CPUS  PodAllocation.spec       CPUs it may use, and whether they are exclusive or shared
PINNED       PodAllocation.status     the agent's verdict; DRIFT where the kernel says something else, or why
                                      nobody knows what it has now (`kernel_reports`)
CPU, MEMORY  metrics.k8s.io           used now; "-" where the cluster has no metrics server
THROTTLED    PodAllocation.status     share of CFS periods since its start in which it was throttled, as
                                      the agent last reported; "-" where it has no quota

Nothing here needs more than the right to read PodAllocations and, for usage, pod metrics: those of `view`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

import typer
from podnuma.allocator import cpuset, quantities
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.quantities import format_cpu
from podnuma.allocator.request import ContainerKind
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.kernel_reports import shown_verdict
from podnuma.api.pod_allocation import PodAllocation, read_pod_allocation
from podnuma.api.pod_allocation_status import ContainerStatus, Phase
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.completion import complete_node
from podnuma.cli.commands.options import AllNamespaces, Namespace, PodSelector, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.old_reports import unknown_values
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, listed_namespace, near_name, read_if_allowed
from podnuma.cli.render.wording import columns, rounded

app = new_app()

ContainerKey = tuple[str, str, str]
"""Namespace, pod, container."""

_HEADS = ("NODE", "POD", "CONTAINER", "SHARE", "CPUS", "CPU", "MEMORY", "THROTTLED", "PINNED", "DRIFT")
_ABSENT = (Exit.NOT_FOUND, Exit.FORBIDDEN, Exit.NOT_SERVED, Exit.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """What a container uses now: millicores and bytes."""

    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class TopRow:
    """One container. `throttled`: percent of its periods; None: it has no quota, or nothing is told yet.

    `drift`: what the kernel has instead, or that it is not known any more what it has.
    """

    node: str
    key: ContainerKey
    share: str
    cpus: str
    verdict: str
    drift: str
    use: ContainerUse | None
    throttled: int | None


@app.command(
    "top",
    epilog=examples(
        "podnuma top",
        "podnuma top -A",
        "podnuma top node-1",
        "podnuma top -n shop -l app=web --watch",
        "podnuma top -n shop -o json",
    ),
)
@answering(table=True, watch=True)
def top_containers(
    source: ObjectSource,
    node: Annotated[
        str, typer.Argument(help="all nodes if left out", metavar="[NODE]", autocompletion=complete_node)
    ] = "",
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    selector: PodSelector = "",
) -> Answer:
    """Show usage, throttling and drift of each container of managed pods."""
    # As with `kubectl top`, a node is not part of a namespace.
    within = listed_namespace(source, namespace, everywhere=everywhere or bool(node and not namespace))
    held = _held(source, within, node, selector)
    rows = top_rows(held, _use(source, within), unknown_values(source, held))
    if not rows:
        if node:
            _know(source, node)
        output.note("no pod holds anything")
    return Answer(
        output.AnswerKind.CONTAINER_USE,
        [top_data(row) for row in rows],
        lambda style: columns(_HEADS, [_cells(row) for row in rows], headers=style.headers) if rows else "",
        code=Exit.NO if any(row.drift for row in rows) else Exit.OK,
    )


def _know(source: ObjectSource, node: str) -> None:
    """Raise Failure(NOT_FOUND) if there is no such node, as far as this user may read nodes."""
    query = queries.node_topologies(node)
    try:
        read_if_allowed(source, query)
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND:
            raise Failure(failure.code, f"{failure.lines[0]}{near_name(source, query)}") from failure
        raise


def _held(source: ObjectSource, namespace: str, node: str, labels: str) -> list[PodAllocation]:
    """Return what pods hold, of those with labels."""
    values = source.fetch(queries.pod_allocations(node, namespace))[0]
    if labels:
        pods = source.fetch(queries.pods(namespace, node=node, labels=labels))[0]
        wanted = {_key(pod) for pod in pods}
        values = [value for value in values if _key(value) in wanted]
    return [found for value in values if (found := _read(value)) is not None]


def _key(value: Json) -> tuple[str, str]:
    return value["metadata"].get("namespace", "default"), value["metadata"]["name"]


def top_rows(
    allocations: Sequence[PodAllocation],
    use: Mapping[ContainerKey, ContainerUse],
    unknown: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> list[TopRow]:
    """Join what is decided with what is measured; the busiest container first.

    `unknown`: why what a pod's status says of the kernel is old, by namespace and name.
    """
    rows = []
    for one in allocations:
        if one.status.phase is Phase.RELEASED:
            continue
        old = unknown.get((one.grant.namespace, one.grant.name), "")
        status = {container.name: container for container in one.status.containers}
        # Init containers have ended.
        for grant in (lasting for lasting in one.grant.containers if lasting.kind is not ContainerKind.INIT):
            seen = status.get(grant.name, ContainerStatus(grant.name))
            key = (one.grant.namespace, one.grant.name, grant.name)
            rows.append(
                TopRow(
                    node=one.node_name,
                    key=key,
                    share=grant.cpu_assignment.value,
                    cpus=cpuset.render(grant.cpus) if grant.cpus else "node pool",
                    verdict="Unknown" if old else shown_verdict(one.status, seen),
                    drift=old or _drift(grant.cpus, seen),
                    use=use.get(key),
                    throttled=None if old else seen.throttled_percent,
                )
            )
    return sorted(rows, key=lambda row: (-(row.use.cpu if row.use else 0), row.node, row.key))


def _drift(decided: CpuSet | None, seen: ContainerStatus) -> str:
    effective = seen.effective.cpus if seen.effective else ""
    if decided is None or not effective:
        return ""
    return "" if effective == cpuset.render(decided) else f"kernel has {effective}"


def use_of(metrics: Iterable[Mapping[str, Any]]) -> dict[ContainerKey, ContainerUse]:
    """Read PodMetrics of metrics.k8s.io."""
    found: dict[ContainerKey, ContainerUse] = {}
    for pod in metrics:
        space, name = pod["metadata"].get("namespace", "default"), pod["metadata"]["name"]
        for one in pod.get("containers", []):
            usage = one.get("usage", {})
            cpu, memory = quantities.parse(usage.get("cpu", "0")), quantities.parse(usage.get("memory", "0"))
            found[space, name, one["name"]] = ContainerUse(cpu.milli, memory.bytes)
    return found


def _read(value: Json) -> PodAllocation | None:
    try:
        found = read_pod_allocation(value)
    except InvalidObjectError as error:
        output.note(f"left out: {error}")
        return None
    return found if found.decision.admitted else None


def _use(source: ObjectSource, namespace: str) -> dict[ContainerKey, ContainerUse]:
    try:
        return use_of(source.fetch(queries.pod_metrics(namespace))[0])
    except Failure as failure:
        if failure.code not in _ABSENT:
            raise
        output.note("CPU and MEMORY are not known: this cluster does not serve metrics.k8s.io")
        return {}


def _cells(row: TopRow) -> tuple[str, ...]:
    space, pod, container = row.key
    return (
        row.node,
        f"{space}/{pod}",
        container,
        row.share,
        row.cpus,
        format_cpu(row.use.cpu) if row.use else "",
        rounded(row.use.memory) if row.use else "",
        "" if row.throttled is None else f"{row.throttled}%",
        row.verdict,
        row.drift,
    )


def top_data(row: TopRow) -> dict[str, Any]:
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
        "cpu": format_cpu(row.use.cpu) if row.use else None,
        "memory": quantities.format_bytes(row.use.memory) if row.use else None,
        "throttledPercent": row.throttled,
    }
