"""Events about what agents find on their nodes: who keeps changing values, and who is on whose CPUs.

An agent reports it in conditions of its NodeTopology and of PodAllocations, for as long as it lasts. One
event about the node, and one about each pod, says when it began; another follows only if it had ended in
between. A new process reports what it finds; an event with the same text is the same event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.api.events import EventType, Involved
from podnuma.operator.cache.objects import CachedAllocation, CachedTopology
from podnuma.operator.write.event_recorder import topology_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podnuma.api.conditions import Condition
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.event_recorder import EventRecorder


class AgentFindings:
    """The step that announces what the agent of a node found."""

    def __init__(self, cache: ClusterCache, events: EventRecorder) -> None:
        self._cache = cache
        self._events = events

    def run(self, node: NodeState) -> None:
        """Announce what is new."""
        found = {(cached.uid, finding.type): (cached, finding) for cached, finding in self._found(node)}
        for cached, finding in (found[key] for key in found.keys() - node.announced):
            self._events.record(_about(cached), EventType.WARNING, finding.type, finding.message)
        node.announced = frozenset(found)

    def _found(self, node: NodeState) -> Iterator[tuple[CachedTopology | CachedAllocation, Condition]]:
        allocations = self._cache.allocations.group(node.name).values()
        objects: list[CachedTopology | CachedAllocation] = list(allocations)
        if (topology := self._cache.topology(node.name)) is not None:
            objects.append(topology)
        for cached in objects:
            for finding in cached.findings:
                yield cached, finding


def has_news(node: NodeState, cached: CachedTopology | CachedAllocation) -> bool:
    """Tell whether an object says something that has not been announced, or no longer says what was."""
    said = {(cached.uid, finding.type) for finding in cached.findings}
    return said != {key for key in node.announced if key[0] == cached.uid}


def _about(cached: CachedTopology | CachedAllocation) -> Involved:
    if isinstance(cached, CachedTopology):
        return topology_reference(cached)
    key = cached.key
    return Involved("v1", "Pod", key.namespace, key.name, cached.pod_uid or "")
