"""The nodes on which pods may be placed, as the allocator sees them, and the best one for a pod.

Nodes whose profile packs are asked before nodes whose profile spreads. A node is here while its state is
complete: every PodAllocation on it is held, no write is without an answer. `refresh` after each change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.allocator.placement.fleet import Fleet, Ranking
from podnuma.allocator.placement.packing import Packing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from podnuma.allocator.decision import Admitted
    from podnuma.allocator.node_allocator import NodeAllocator
    from podnuma.allocator.placement.device_wishes import DeviceWish
    from podnuma.allocator.placement.fleet import Placement
    from podnuma.allocator.request import PodRequest
    from podnuma.api.node_settings import PodPolicy
    from podnuma.operator.node.state import NodeState


class PlacingNodes:
    """One fleet per packing."""

    def __init__(self) -> None:
        self._fleets = {packing: Fleet() for packing in Packing}
        self._nodes: dict[str, tuple[PodPolicy, NodeAllocator, int]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def clear(self) -> None:
        """Forget all nodes."""
        for name in tuple(self._nodes):
            self.remove(name)

    def policy(self, name: str) -> PodPolicy:
        """Return the policy of a node that is here."""
        return self._nodes[name][0]

    def allocator(self, name: str) -> NodeAllocator:
        """Return the allocator of a node that is here."""
        return self._nodes[name][1]

    def refresh(self, state: NodeState, *, places: bool) -> bool:
        """Take a node as it is now; return whether a pod may get another answer than before."""
        settings = state.settings
        allocator = state.allocator
        if not places or settings is None or allocator is None:
            return self.remove(state.name)
        known = self._nodes.get(state.name)
        policy = settings.pod_policy
        if known is not None and known[1] is allocator and (policy, allocator.generation) == known[::2]:
            return False
        if known is not None and known[0].packing is not policy.packing:
            self.remove(state.name)
        self._nodes[state.name] = (policy, allocator, allocator.generation)
        self._fleets[policy.packing].update(state.name, allocator)
        return True

    def expect(self, name: str, decision: Admitted) -> None:
        """Take a node as if it held a decision already, until it is refreshed."""
        policy, allocator, _ = self._nodes[name]
        expected = allocator.without("")
        expected.hold(decision)
        self._nodes[name] = (policy, expected, expected.generation)
        self._fleets[policy.packing].update(name, expected)

    def remove(self, name: str) -> bool:
        """Forget a node; return whether it was here."""
        known = self._nodes.pop(name, None)
        if known is None:
            return False
        self._fleets[known[0].packing].remove(name)
        return True

    def best(self, pod: PodRequest, may_go: Callable[[str], bool]) -> Placement | None:
        """Return where a pod should go; None if no node that it may go to admits it."""
        for packing in Packing:
            found = self._fleets[packing].best(pod, packing, may_go)
            if found is not None:
                return found
        return None

    def nearest(
        self, wishes: Collection[DeviceWish], may_go: Callable[[str], bool]
    ) -> tuple[Placement, DeviceWish] | None:
        """Return where a pod should go that wishes to be near devices, and the wish that holds there."""
        for packing in Packing:
            found = self._fleets[packing].nearest(wishes, packing, may_go)
            if found is not None:
                return found
        return None

    def rankings(self, pod: PodRequest, may_go: Callable[[str], bool]) -> Iterator[Ranking]:
        """Yield how all nodes that a pod may go to answer it."""
        for packing in Packing:
            yield self._fleets[packing].ranking(pod, packing, may_go)
