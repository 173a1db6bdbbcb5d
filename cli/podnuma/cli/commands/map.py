"""`podnuma map`: the CPUs and memory of nodes, drawn, and which pod holds which of them.

Whoever may not read the PodAllocations of all namespaces sees those of one, and of all others together what
the NodeTopology says of CPUs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from podnuma.allocator import cpuset
from podnuma.allocator.quantities import format_bytes
from podnuma.api.node_topology import NodeTopology
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.completion import complete_node
from podnuma.cli.commands.options import Namespace, NodeSelector, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.nodes import find_topologies, grants_on, hardware_of, read_topology
from podnuma.cli.objects.sources import ObjectSource, one_namespace, read_if_allowed
from podnuma.cli.render.node_map import MappedNode, NodeMap, Zone, draw_up
from podnuma.cli.render.terminal_map import render_terminal
from rich.console import Group, RenderableType
from rich.text import Text

app = new_app()


@app.command(
    "map",
    epilog=examples(
        "podnuma map",
        "podnuma map node-1 node-2",
        "podnuma map node-1 --in-use",
        "podnuma map -l node-pool=databases --watch",
        "podnuma map node-1 --svg node-1.svg",
        "kubectl get nodetopologies,podallocations -A -o yaml | podnuma map --from -",
    ),
)
@answering(watch=True)
def map_nodes(
    source: ObjectSource,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(help="all nodes if left out", metavar="[NODE]...", autocompletion=complete_node),
    ] = None,
    selector: NodeSelector = "",
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write a picture of the one node instead", dir_okay=False),
    ] = None,
    in_use: Annotated[
        bool, typer.Option("--in-use", help="draw only NUMA nodes where a pod holds something")
    ] = False,
    namespace: Namespace = "",
) -> Answer:
    """Draw the sockets, NUMA nodes, caches and cores of nodes, and which pod holds which CPUs."""
    maps = read_maps(source, nodes or [], selector, namespace)
    if svg is not None:
        _write_svg(svg, maps)
        raise typer.Exit
    return Answer(
        output.AnswerKind.NODE_MAP,
        [map_data(one) for one in maps],
        lambda _: Group(*_spaced(maps, in_use=in_use)),
    )


def read_maps(
    source: ObjectSource, nodes: Sequence[str], selector: str = "", namespace: str = ""
) -> list[NodeMap]:
    """Map nodes, by name. Of several, those without known hardware are named on standard error."""
    topologies = find_topologies(source, nodes, selector)
    only = nodes[0] if len(nodes) == 1 else ""
    allocations, why = read_if_allowed(source, queries.pod_allocations(only))
    restricted = allocations is None
    if allocations is None:
        within = one_namespace(source, namespace)
        output.note(f"{why} of all namespaces: of pods outside {within} only the CPUs are shown")
        allocations = source.fetch(queries.pod_allocations(only, within))[0]
    maps = []
    for topology in topologies:
        try:
            maps.append(map_of(topology, allocations, restricted=restricted))
        except Failure as failure:
            if len(topologies) == 1:
                raise
            for line in failure.lines:
                output.note(line)
    return maps


def map_of(
    topology: Mapping[str, Any], allocations: Sequence[Mapping[str, Any]], *, restricted: bool = False
) -> NodeMap:
    """Map one node. Allocations of other nodes, rejected and released ones are left out.

    `restricted`: the allocations are not all that there are.
    """
    node = read_topology(topology)
    grants, remarks = grants_on(node.name, allocations)
    mapped = mapped_node(node, remarks)
    held = node.allocation.exclusive if restricted and node.allocation else cpuset.EMPTY
    return draw_up(replace(mapped, hidden=held), grants)


def mapped_node(node: NodeTopology, remarks: Sequence[str] = ()) -> MappedNode:
    """Return what a map shows of the node itself; Failure(NOT_FOUND) without hardware."""
    hardware = hardware_of(node)
    # What the operator reserved, or, before it did, what the settings name.
    named = node.node.managers.reserved_system_cpus or cpuset.EMPTY
    return MappedNode(
        name=node.name,
        topology=hardware.topology,
        reserved=node.allocation.reserved if node.allocation else named,
        offline=hardware.topology.offline,
        remarks=tuple(remarks),
        pages_in_use=node.pages_in_use,
    )


def render_node(
    topology: Mapping[str, Any], allocations: Sequence[Mapping[str, Any]], *, in_use: bool = False
) -> RenderableType:
    """Draw one node for a terminal, from its NodeTopology and all PodAllocations."""
    return render_terminal(map_of(topology, allocations), in_use=in_use)


def map_data(one: NodeMap) -> dict[str, Any]:
    """Return what a map shows, for programs."""
    return {
        "name": one.name,
        "pods": [pod_reference_data(pod) for pod in one.pods],
        "numaNodes": [_zone_data(zone) for zone in one.zones],
        "offlineCPUs": cpuset.render(one.offline),
        "coreKinds": {kind: cpuset.render(cpus) for kind, cpus in one.kinds.items()},
        "notes": list(one.remarks),
    }


def _zone_data(zone: Zone) -> dict[str, Any]:
    return {
        "id": zone.id,
        "sockets": list(zone.sockets),
        "caches": [
            {"id": cache.id, "cores": [cpuset.render(cpuset.of(core)) for core in cache.cores]}
            for cache in zone.caches
        ],
        "shares": [
            {
                "hold": share.holder.hold.value,
                "pods": [pod_reference_data(pod) for pod in share.holder.pods],
                "containers": list(share.holder.containers),
                "cpus": cpuset.render(share.cpus),
            }
            for share in zone.shares
        ],
        "memory": format_bytes(zone.capacity),
        "memoryHeld": [
            {
                **pod_reference_data(share.pod),
                "resource": share.block.resource,
                "amount": format_bytes(share.block.size),
            }
            for share in zone.memory
        ],
        "hugepagesInUse": [
            {"resource": one.resource, "amount": format_bytes(one.size), "podUID": one.pod_uid}
            for one in zone.pages_in_use
        ],
        "devices": [
            {
                **pod_reference_data(one.pod),
                "container": one.container,
                "resource": one.device.resource,
                "device": one.device.name,
            }
            for one in zone.devices
        ],
    }


def pod_reference_data(pod: str) -> dict[str, str]:
    """Split "NAMESPACE/NAME" for programs."""
    namespace, _, name = pod.partition("/")
    return {"namespace": namespace, "name": name}


def _write_svg(path: Path, maps: list[NodeMap]) -> None:
    if len(maps) != 1:
        raise Failure(Exit.USAGE, "--svg draws one node: name it, as in `podnuma map NODE --svg FILE`")
    from podnuma.cli.render.svg_map import render_svg  # noqa: PLC0415 - XML is slow to load, few ask for it

    try:
        path.write_text(render_svg(maps[0]), encoding="utf-8")
    except OSError as error:
        raise Failure(Exit.INPUT, f"{path}: {error.strerror}") from error


def _spaced(maps: list[NodeMap], *, in_use: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for one in maps:
        parts += [Text()] if parts else []
        parts.append(render_terminal(one, in_use=in_use))
    return parts
