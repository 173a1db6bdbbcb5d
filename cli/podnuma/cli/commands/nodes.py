"""`podnuma nodes`: one line per node, with one bar per NUMA node; made for hundreds of nodes.

A bar is the share of a NUMA node's CPUs that pods hold exclusively: ▁ none, █ all; · where its CPUs are
not known. LARGEST-FREE is the most CPUs that a single NUMA node has free: what one pod can get at most
with `single-numa-node`. On a node without settings nothing is given out; its hardware is still shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from podnuma.api.conditions import Status, find
from podnuma.api.node_topology import NodeTopology
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.completion import complete_node
from podnuma.cli.commands.options import NodeSelector, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.nodes import find_topologies, read_topology
from podnuma.cli.objects.sources import ObjectSource
from podnuma.cli.render.wording import columns

app = new_app()

_BARS = "▁▂▃▄▅▆▇█"
_HEADS = ("NODE", "PROFILE", "POLICY", "PODS", "REJECTED", "NUMA", "USE", "LARGEST-FREE", "READY")
_WIDE_HEADS = ("CPUS", "HELD", "FREE", "FREE-PER-NUMA")


@dataclass(frozen=True, slots=True)
class NumaUse:
    """The CPUs of one NUMA node: all, held ones, and those that can be given out; None: nothing is here."""

    id: int
    cpus: int
    held: int
    free: int | None


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
    def largest_free(self) -> int | None:
        """The most CPUs that one NUMA node has free; None where nothing is given out."""
        return max((one.free for one in self.numa if one.free is not None), default=None)

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
        "podnuma nodes",
        "podnuma nodes -l node-pool=databases --no-headers",
        "podnuma nodes -o wide",
        "podnuma nodes --watch",
    ),
)
@answering(table=True, watch=True)
def list_nodes(
    source: ObjectSource,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(help="all nodes if left out", metavar="[NODE]...", autocompletion=complete_node),
    ] = None,
    selector: NodeSelector = "",
) -> Answer:
    """List nodes, one line each, with a bar per NUMA node for what is free there.

    A bar is the share of a NUMA node's CPUs that pods hold exclusively. LARGEST-FREE is the most CPUs that
    one NUMA node has free: what one pod can get at most with single-numa-node. With -o wide also how many
    CPUs each node has, holds and has free, and what is free on each of its NUMA nodes.
    """
    lines = read_lines(source, nodes or [], selector)
    return Answer(
        output.AnswerKind.NODE_SUMMARY,
        [line_data(line) for line in lines],
        lambda style: lines_text(lines, wide=style.wide, headers=style.headers),
    )


def lines_text(lines: Sequence[NodeLine], *, wide: bool, headers: bool = True) -> str:
    """Write a line per node; `wide` adds how many CPUs it has, holds and has free, also per NUMA node."""
    if not wide:
        return columns(_HEADS, [_cells(line) for line in lines], headers=headers)
    rows = [(*_cells(line), *_wide_cells(line)) for line in lines]
    return columns((*_HEADS, *_WIDE_HEADS), rows, headers=headers)


def read_lines(source: ObjectSource, names: Sequence[str], selector: str) -> list[NodeLine]:
    """Read the nodes of these names, all without names, with labels that the selector matches."""
    lines = []
    for value in find_topologies(source, names, selector):
        try:
            lines.append(line_of(read_topology(value)))
        except Failure as failure:
            for line in failure.lines:
                output.note(line)
    if not lines:
        raise Failure(Exit.INPUT, "no NodeTopology can be read; what is wrong with each is said above")
    return lines


def line_of(node: NodeTopology) -> NodeLine:
    """Return what a line says of a node."""
    topology, given = (node.hardware.topology if node.hardware else None), node.allocation
    free = {one.id: one.cpus.bit_count() for one in given.nodes} if given else {}
    ready = find(node.conditions, "Ready")
    uses = []
    for one in topology.nodes if topology else ():
        own = topology.cpus_of_node(one.id) if topology else 0
        held = (own & given.exclusive).bit_count() if given else 0
        uses.append(NumaUse(one.id, own.bit_count(), held, free.get(one.id, 0) if given else None))
    return NodeLine(
        name=node.name,
        profile=node.profile.name if node.profile else "",
        policy=node.node.managers.topology_manager_policy.value if node.has_settings else "",
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
        "policy": line.policy or None,
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
        "" if line.largest_free is None else str(line.largest_free),
        line.ready,
    )


def _wide_cells(line: NodeLine) -> tuple[str, ...]:
    if not line.numa:
        return "", "", "", ""
    cpus, held = sum(one.cpus for one in line.numa), sum(one.held for one in line.numa)
    free = [one.free for one in line.numa if one.free is not None]
    return str(cpus), str(held), str(sum(free)) if free else "", ",".join(map(str, free))
