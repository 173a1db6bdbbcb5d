"""`podnuma nodes`: one line per node, with one bar per NUMA node; made for hundreds of nodes.

A bar is the share of a NUMA node's CPUs that pods hold exclusively: ▁ none, █ all; · where its CPUs are
not known. FREE is the largest number of CPUs that a single NUMA node has free: what one pod can get at most
with `single-numa-node`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from podnuma.api.conditions import Status, find
from podnuma.api.node_topology import NodeTopology
from podnuma.cli.commands import output
from podnuma.cli.commands.completion import complete_node
from podnuma.cli.commands.options import (
    Context,
    Files,
    Kubeconfig,
    NoHeaders,
    Output,
    OutputFormat,
    examples,
    new_app,
)
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.label_selector import parse_selector
from podnuma.cli.objects.nodes import read_topology
from podnuma.cli.objects.sources import ObjectSource, open_source
from podnuma.cli.render.wording import columns

app = new_app()

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class NumaUse:
    """The CPUs of one NUMA node: all of them, and those that nobody holds and nothing reserves."""

    id: int
    cpus: int
    held: int
    free: int


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node. `numa` is empty until its hardware is known."""

    name: str
    profile: str
    policy: str
    pods: int
    rejected: int
    numa: tuple[NumaUse, ...]
    ready: str

    @property
    def free(self) -> int:
        """The most CPUs that one NUMA node has free."""
        return max((one.free for one in self.numa), default=0)

    @property
    def bars(self) -> str:
        """A character per NUMA node."""
        return "".join(
            _BARS[min(one.held * len(_BARS) // one.cpus, len(_BARS) - 1)] if one.cpus else "·"
            for one in self.numa
        )


@app.command(
    "nodes",
    epilog=examples(
        "podnuma nodes", "podnuma nodes -l node-pool=databases", "podnuma nodes --no-headers -o text"
    ),
)
def list_nodes(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(help="all nodes if left out", metavar="[NODE]...", autocompletion=complete_node),
    ] = None,
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="nodes with these labels, as in kubectl")
    ] = "",
    no_headers: NoHeaders = False,
    form: Output = OutputFormat.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List nodes, one line each, with a bar per NUMA node for what is free there."""
    source = open_source(files, kubeconfig, context)
    lines = read_lines(source, nodes or [], selector)
    if form.structured:
        output.dump_answer(output.AnswerKind.NODE_SUMMARY, map(line_data, lines), form)
        return
    heads = ("NODE", "PROFILE", "POLICY", "PODS", "REJECTED", "NUMA", "USE", "FREE", "READY")
    output.write(columns(heads, [_cells(line) for line in lines], headers=not no_headers))


def read_lines(source: ObjectSource, names: Sequence[str], selector: str) -> list[NodeLine]:
    """Read the nodes of these names, all without names, with labels that the selector matches."""
    asked = [queries.node_topologies(name) for name in names] or [queries.node_topologies()]
    topologies = [value for found in source.fetch(*asked) for value in found]
    if selector:
        matches = parse_selector(selector).matches
        wanted = {
            one["metadata"]["name"]
            for one in source.fetch(queries.nodes())[0]
            if matches(one["metadata"].get("labels") or {})
        }
        topologies = [one for one in topologies if one["metadata"]["name"] in wanted]
    lines = []
    for value in topologies:
        try:
            lines.append(line_of(read_topology(value)))
        except Failure as failure:
            for line in failure.lines:
                output.note(line)
    if not lines:
        raise Failure(
            Exit.NOT_FOUND,
            "there is no such NodeTopology; see `kubectl get nodes,nodeprofiles,nodetopologies`",
        )
    return sorted(lines, key=lambda line: line.name)


def line_of(node: NodeTopology) -> NodeLine:
    """Return what a line says of a node."""
    topology, given = (node.hardware.topology if node.hardware else None), node.allocation
    free = {one.id: one.cpus.bit_count() for one in given.nodes} if given else {}
    ready = find(node.conditions, "Ready")
    uses = []
    for one in topology.nodes if topology else ():
        own = topology.cpus_of_node(one.id) if topology else 0
        held = (own & given.exclusive).bit_count() if given else 0
        uses.append(NumaUse(one.id, own.bit_count(), held, free.get(one.id, 0)))
    return NodeLine(
        name=node.name,
        profile=node.profile.name if node.profile else "",
        policy=node.node.managers.topology_manager_policy.value,
        pods=given.pods if given else 0,
        rejected=given.rejected if given else 0,
        numa=tuple(uses),
        ready=ready.reason if ready and ready.status is not Status.TRUE else "True" if ready else "",
    )


def line_data(line: NodeLine) -> Mapping[str, Any]:
    """Return one node for programs."""
    return {
        "name": line.name,
        "profile": line.profile or None,
        "policy": line.policy,
        "pods": line.pods,
        "rejected": line.rejected,
        "numaNodes": [
            {"id": one.id, "cpus": one.cpus, "heldCPUs": one.held, "freeCPUs": one.free} for one in line.numa
        ],
        "ready": line.ready or None,
    }


def _cells(line: NodeLine) -> tuple[str, ...]:
    numa = str(len(line.numa)) if line.numa else ""
    return (
        line.name,
        line.profile,
        line.policy,
        str(line.pods),
        str(line.rejected),
        numa,
        line.bars,
        str(line.free),
        line.ready,
    )
