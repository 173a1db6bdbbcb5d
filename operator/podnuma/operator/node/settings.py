"""Make the NodeTopology of a node show the selected settings, their profile, and its owner.

The NodeTopology belongs to the Node object and is deleted with it. A node that was deleted
and created again has another UID: its NodeTopology gets the new owner before the garbage
collector takes it for an orphan.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from podnuma.api.node_topology import render_node_topology
from podnuma.operator.cache import decode

if TYPE_CHECKING:
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedNode
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)


class SettingsSync:
    """The step that writes NodeTopology.spec; what is as selected already is not written again."""

    def __init__(self, cache: ClusterCache, writer: Writer) -> None:
        self._cache = cache
        self._writer = writer

    async def run(self, node: CachedNode, selection: ProfileSelection) -> None:
        """Write what differs from the selection."""
        if selection.withdraw:
            return
        name, wanted, topology = node.key.name, selection.apply, self._cache.topology(node.key.name)
        if wanted is None and topology is not None and topology.owner != node.uid and topology.model:
            wanted = (topology.model.node, topology.model.profile)
        if wanted is None:
            return
        settings, profile = wanted
        body = render_node_topology(name, settings, profile, [_owner(node)])
        logger.info("node %s: settings %s", name, f"of {profile.name}" if profile is not None else "by hand")
        stored = decode.decode_topology(await self._writer.apply_topology(name, body))
        if stored.model is None or (stored.model.node, stored.model.profile) != wanted:
            # Fields that someone else added, and what cannot be read, survive an apply; only replacing
            # the spec removes them.
            version = stored.version.resource_version
            stored = decode.decode_topology(
                await self._writer.replace_topology_spec(name, version, body["spec"])
            )
        self._cache.update(stored)

    async def remove_unused(self, node: NodeState, selection: ProfileSelection) -> None:
        """Delete a NodeTopology of the operator's that no profile wants, once no pod has a decision by it."""
        topology = self._cache.topology(node.name)
        if selection.withdraw and topology is not None and not node.decisions:
            logger.info("node %s: no profile and no pod holds anything, NodeTopology removed", node.name)
            await self._writer.delete_topology(node.name, topology.uid)


def _owner(node: CachedNode) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node.key.name,
        "uid": node.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
