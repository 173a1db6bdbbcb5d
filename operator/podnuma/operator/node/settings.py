"""Make the NodeTopology of a node say what the plan wants: settings, profile, owner.

The NodeTopology belongs to the Node object, so that it goes with it. A node that was
deleted and created again has another UID; its NodeTopology is given to the new one before
the garbage collector takes it for an orphan.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from podnuma.api.node_topology import NodeTopology, ProfileReference, render_node_topology
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import ObjectKey

if TYPE_CHECKING:
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.objects import CachedNode, CachedTopology
    from podnuma.operator.node.means import Means
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import Book

logger = logging.getLogger(__name__)


async def settle(
    means: Means, node: CachedNode, plan: ProfileSelection, topology: CachedTopology | None
) -> None:
    """Write what differs; nothing when all is as planned."""
    if plan.withdraw:
        return
    wanted = plan.apply
    if wanted is None and topology is not None and topology.owner != node.uid:
        wanted = _as_it_is(topology.model)
    if wanted is None:
        return
    settings, profile = wanted
    body = render_node_topology(node.key.name, settings, profile, [_owner(node)])
    logger.info("node %s: settings of %s", node.key, profile.name if profile is not None else "hand")
    stored = decode.decode_topology(await means.writer.apply_topology(node.key.name, body))
    if stored.model is not None and (stored.model.node, stored.model.profile) != wanted:
        # Fields that somebody else added survive an apply; only replacing the object removes them.
        replaced = await means.writer.replace_topology_spec(
            node.key.name, stored.version.resource_version, body["spec"]
        )
        stored = decode.decode_topology(replaced)
    means.cache.update(stored)


async def clear(means: Means, name: str, plan: ProfileSelection, book: Book) -> None:
    """Remove a NodeTopology of ours that no profile wants, once no pod holds anything by it."""
    topology = means.cache.topologies.get(ObjectKey("", name))
    if plan.withdraw and topology is not None and not book.decided:
        logger.info("node %s: no profile and no pod holds anything, NodeTopology removed", name)
        await means.writer.delete_topology(name, topology.uid)


def _as_it_is(model: NodeTopology | None) -> tuple[NodeSettings, ProfileReference | None] | None:
    return None if model is None else (model.node, model.profile)


def _owner(node: CachedNode) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node.key.name,
        "uid": node.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
