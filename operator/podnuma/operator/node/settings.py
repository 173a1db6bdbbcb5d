"""Make the NodeTopology of a node show the selected settings, their profile, and its owner.

The NodeTopology belongs to the Node object, whoever made it, and is deleted with it. A node that was deleted
and created again has another UID: its NodeTopology gets the new owner before the garbage
collector takes it for an orphan.

Where the API server stores other settings than it is sent (an admission policy, a CRD that is too old), the
agent follows those: the node says so, and the write is not repeated before the next resync.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from podnuma.api.node_topology import render_node_topology, without_settings
from podnuma.operator.cache import decode
from podnuma.operator.node.state import StoredSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podnuma.api.node_settings import NodeSettings
    from podnuma.api.node_topology import ProfileReference
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedNode
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_CAUSE = (
    "its agent follows that; an admission policy or webhook changes it, or its CRD is older than the operator"
)
_SHOWN = 120  # characters of a field's value in a message


class SettingsSync:
    """The step that writes NodeTopology.spec; what is as selected already is not written again."""

    def __init__(self, cache: ClusterCache, writer: Writer) -> None:
        self._cache = cache
        self._writer = writer

    async def run(self, node: CachedNode, state: NodeState, selection: ProfileSelection) -> None:
        """Write what differs from the selection."""
        if selection.withdraw:
            return
        wanted, topology = selection.apply, self._cache.topology(node.key.name)
        if wanted is None and topology is not None and topology.owner != node.uid and topology.model:
            wanted = (topology.model.node, topology.model.profile)
        if wanted is not None:
            await self._write(node, state, *wanted)

    async def withdraw(self, node: CachedNode, state: NodeState, selection: ProfileSelection) -> None:
        """Take back settings that no profile wants, once no pod has a decision by them; hardware stays."""
        topology = self._cache.topology(node.key.name)
        if selection.withdraw and topology is not None and topology.model and not state.decisions:
            await self._write(node, state, without_settings(topology.model.node.pod_policy.mode), None)

    async def _write(
        self, node: CachedNode, state: NodeState, settings: NodeSettings, profile: ProfileReference | None
    ) -> None:
        name = node.key.name
        known, tried = self._cache.topology(name), state.settings_otherwise
        if known is not None and tried is not None and tried.about(known, settings, profile):
            state.write_refused = tried.text
            return
        body = render_node_topology(name, settings, profile, [_owner(node)])
        logger.info("node %s: settings of %s", name, profile.name if profile is not None else "no profile")
        stored = decode.decode_topology(await self._writer.apply_topology(name, body))
        if stored.model is None or (stored.model.node, stored.model.profile) != (settings, profile):
            # Fields that someone else added, and what cannot be read, survive an apply; only replacing
            # the spec removes them.
            version = stored.version.resource_version
            answer = await self._writer.replace_topology_spec(name, version, body["spec"])
            stored = decode.decode_topology(answer)
            if stored.model is None or (stored.model.node, stored.model.profile) != (settings, profile):
                what = f"NodeTopology {name} is stored otherwise than sent, {_difference(body, answer)}"
                text = f"{what}: {_CAUSE}"
                state.settings_otherwise = StoredSettings(
                    stored.uid, stored.generation, settings, profile, text
                )
                state.write_refused = text
                logger.error("%s", text)
        self._cache.update(stored)


def _difference(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Name the first field of a spec that is not as it was sent."""
    wanted, found = sent["spec"], stored.get("spec") or {}
    for field in sorted(wanted.keys() | found.keys()):
        if wanted.get(field) != found.get(field):
            said = (str(one.get(field, "nothing"))[:_SHOWN] for one in (found, wanted))
            return f"spec.{field} says {' instead of '.join(said)}"
    return "spec"


def _owner(node: CachedNode) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node.key.name,
        "uid": node.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
