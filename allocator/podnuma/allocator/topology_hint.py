"""A hint: a set of NUMA nodes that a request can be served from, and whether it is among the best.

`nodes` None means "any node". In the kubelet: topologymanager, `TopologyHint`.
"""

from dataclasses import dataclass

from podnuma.allocator.nodeset import NodeSet


@dataclass(frozen=True, slots=True)
class TopologyHint:
    """A node set and whether it is preferred."""

    nodes: NodeSet | None
    preferred: bool

    @property
    def node_count(self) -> int:
        """How many NUMA nodes the set names; 0 for any node."""
        return 0 if self.nodes is None else self.nodes.bit_count()


NO_HINT = TopologyHint(None, preferred=False)
