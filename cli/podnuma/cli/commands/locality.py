"""`podnuma locality`: pods with devices, where these are, and whether the pods' CPUs are bound to be near.

Nothing is changed and nothing need be installed in the cluster; see `objects.device_survey`.
"""

from typing import Any

from podnuma.allocator import cpuset, nodeset
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.options import AllNamespaces, Namespace, PodSelector, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.device_survey import (
    DeviceSurvey,
    FoundDevice,
    PodDevices,
    PodLocality,
    SurveyedCluster,
    survey_devices,
)
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.sources import ObjectSource, listed_namespace
from podnuma.cli.render.wording import columns, count

app = new_app()


@app.command(
    "locality",
    epilog=examples(
        "podnuma locality -A",
        "podnuma locality -n ml -o json",
    ),
)
@answering(table=True)
def report_locality(
    source: ObjectSource,
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    selector: PodSelector = "",
) -> Answer:
    """Report pods whose devices and CPUs can be on different NUMA nodes; nothing need be installed."""
    namespace = listed_namespace(source, namespace, everywhere=everywhere)
    found = survey_devices(
        SurveyedCluster(
            pods=source.fetch(queries.pods(namespace, labels=selector))[0],
            claims=_if_there(source, queries.resource_claims(namespace)),
            slices=_if_there(source, queries.resource_slices()),
            allocations=_if_there(source, queries.pod_allocations(namespace=namespace)),
            topologies=_if_there(source, queries.node_topologies()),
        )
    )
    for line in found.problems:
        output.note(line)
    return Answer(
        output.AnswerKind.POD_DEVICES,
        [pod_data(one) for one in found.pods],
        lambda style: locality_text(found, headers=style.headers),
        summary_data(found),
    )


def _if_there(source: ObjectSource, query: ObjectQuery) -> list[Json]:
    """Return what a query finds; nothing if the cluster has no such kind, or this user may not read it."""
    try:
        return source.fetch(query)[0]
    except Failure as failure:
        if failure.code not in (Exit.NOT_FOUND, Exit.FORBIDDEN, Exit.NOT_SERVED):
            raise
        if failure.code is Exit.FORBIDDEN:
            output.note(f"you may not list {query.label}: what depends on it is left out")
        return []


def locality_text(found: DeviceSurvey, *, headers: bool = True) -> str:
    """Write the pods as a table, and what the words mean that occur."""
    head = f"{count(found.looked_at, 'pod')} looked at, {len(found.pods)} with devices\n"
    if not found.pods:
        return head
    heads = ("NAMESPACE", "POD", "NODE", "DEVICES", "NUMA", "CPUS", "LOCALITY")
    table = columns(heads, [_row(pod) for pod in found.pods], headers=headers)
    legend = "".join(
        f"{number} {locality.value}: {_MEANING[locality]}\n"
        for locality, number in found.by_locality.items()
        if number
    )
    return f"{head}\n{table}\n{legend}"


_MEANING = {
    PodLocality.APART: "no device has CPUs of the pod at its NUMA node",
    PodLocality.PARTLY: "some devices have no CPUs of the pod at their NUMA node",
    PodLocality.UNBOUND: "podnuma holds no CPUs for the pod; they can be far from its devices",
    PodLocality.UNKNOWN: "no NUMA node is published for the devices; of device plugins there never is",
    PodLocality.LOCAL: "every device has CPUs of the pod at its NUMA node",
}


def _row(pod: PodDevices) -> tuple[str, ...]:
    nodes = 0
    for device in pod.devices:
        nodes |= device.nodes
    return (
        pod.namespace,
        pod.pod,
        pod.node,
        ", ".join(f"{device.resource} {device.name}" for device in pod.devices),
        nodeset.render(nodes),
        cpuset.render(pod.cpus),
        pod.locality.value,
    )


def summary_data(found: DeviceSurvey) -> dict[str, Any]:
    """Return the totals for programs."""
    counted = {locality.value: number for locality, number in found.by_locality.items()}
    return {"podsLookedAt": found.looked_at, "podsByLocality": counted}


def pod_data(pod: PodDevices) -> dict[str, Any]:
    """Return one pod for programs."""
    return {
        "namespace": pod.namespace,
        "name": pod.pod,
        "node": pod.node,
        "locality": pod.locality.value,
        "cpus": cpuset.render(pod.cpus),
        "devices": [_device_data(device) for device in pod.devices],
    }


def _device_data(device: FoundDevice) -> dict[str, str]:
    return {
        "container": device.container,
        "resource": device.resource,
        "device": device.name,
        "numaNodes": nodeset.render(device.nodes),
    }
