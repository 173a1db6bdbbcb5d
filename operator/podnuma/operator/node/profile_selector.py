"""The step that selects the settings of a node, and keeps the rules that follow from them.

Nothing is computed again before something that it depends on has changed, and nodes with equal
settings and hardware share one `Rules` object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.allocator.rules import Rules
from podnuma.operator.node.profile_selection import NO_NODE, ProfileSelection, select

if TYPE_CHECKING:
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedTopology
    from podnuma.operator.node.state import NodeState

_SHARED_RULES = 64  # combinations of settings and hardware whose rules are kept


class ProfileSelector:
    """Selects for each node."""

    def __init__(self, cache: ClusterCache) -> None:
        self._cache = cache
        self._rules: list[tuple[NodeSettings, Rules]] = []

    def run(self, node: NodeState) -> ProfileSelection:
        """Return the selection for a node, and keep it and its rules in the node's state."""
        known, topology = self._cache.node(node.name), self._cache.topology(node.name)
        if known is None:
            node.selected_from = ()
            return NO_NODE
        profiles = tuple(self._cache.profiles)
        node.selected_from = tuple(profile.relevant_state for profile in profiles)
        basis = (
            known.relevant_state,
            node.selected_from,
            topology.relevant_state if topology else None,
        )
        if node.selection is None or node.selection_basis != basis:
            node.selection, node.selection_basis = select(known, profiles, topology), basis
            node.rules = self._rules_for(topology, node.selection.decide_with)
        return node.selection

    def _rules_for(self, topology: CachedTopology | None, settings: NodeSettings | None) -> Rules | None:
        if settings is None or topology is None or topology.model is None or topology.model.hardware is None:
            return None
        machine = topology.model.hardware.topology
        for known, rules in self._rules:
            if known == settings and rules.machine == machine:
                return rules
        rules = Rules(settings.managers, machine)
        self._rules = [(settings, rules), *self._rules[: _SHARED_RULES - 1]]
        return rules
