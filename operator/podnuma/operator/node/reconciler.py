"""One node is brought to what it should be, from the cache, one step after the other.

    select     which profile applies, and whether its settings are valid
    settings   NodeTopology.spec; afterwards the selection is made again
    allocate   PodAllocations of pods that are gone, changed ones, unknown ones
    reserve    what pods hold before they are bound: taken over, or given back
    admit      pods without a decision, oldest first, and rejected ones that may fit now
    evict      rejected pods, where the settings say so
    withdraw   settings that no profile wants any more, and what a node that is gone has left

Each step leaves cache and API server in agreement and may raise: then the node is tried again
later, from the first step. The status of the node is written apart from them (`write_status`),
so that reporting does not delay decisions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podnuma.operator.node.readiness import profile_states
from podnuma.operator.node.state import NodeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podnuma.allocator.memory.others import PagesInUse
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.admission import Admission
    from podnuma.operator.node.allocations import AllocationSync
    from podnuma.operator.node.eviction import Eviction
    from podnuma.operator.node.findings import AgentFindings
    from podnuma.operator.node.leftover import Leftovers
    from podnuma.operator.node.pod_conditions import PodConditions
    from podnuma.operator.node.profile_selector import ProfileSelector
    from podnuma.operator.node.reservations import Outcome, Reservations
    from podnuma.operator.node.settings import SettingsSync
    from podnuma.operator.node.status import NodeStatusWriter


@dataclass(frozen=True, slots=True)
class NodeSteps:
    """The steps, in order; they keep nothing of a node, so all nodes share them."""

    selector: ProfileSelector
    settings: SettingsSync
    allocations: AllocationSync
    reservations: Reservations
    admission: Admission
    eviction: Eviction
    leftovers: Leftovers
    findings: AgentFindings
    status: NodeStatusWriter
    conditions: PodConditions


class NodeReconciler:
    """The state of one node and what changes it: one thing at a time, whoever asks for it."""

    def __init__(self, name: str, cache: ClusterCache, steps: NodeSteps) -> None:
        self.state = NodeState(name)
        self._cache = cache
        self._steps = steps
        self._running = asyncio.Lock()

    async def reconcile(self) -> frozenset[str]:
        """Run all steps; return the profiles to which the node reports something new."""
        async with self._running:
            return await self._reconcile()

    async def reserve(self, pods: Sequence[CachedPod]) -> list[Outcome]:
        """Reserve what unbound pods need, between two runs; False for one that cannot be held now."""
        async with self._running:
            return await self._steps.reservations.reserve(self.state, pods)

    async def give_back(self, uid: str, why: str) -> None:
        """Free what a pod has reserved, between two runs."""
        async with self._running:
            await self._steps.reservations.give_back(self.state, uid, why)

    @property
    def places(self) -> bool:
        """Tell whether pods may be placed here now."""
        return self._steps.reservations.can_hold(self.state)

    async def _reconcile(self) -> frozenset[str]:
        state, steps = self.state, self._steps
        state.write_refused = ""
        node = self._cache.node(state.name)
        selection = steps.selector.run(state)
        if node is not None:
            await steps.settings.run(node, state, selection)
            selection = steps.selector.run(state)
        state.use_rules(state.rules if node is not None else None)
        state.use_pages(self._pages_in_use())
        await steps.allocations.run(state)
        await steps.reservations.run(state)
        await steps.admission.run(state, selection)
        await steps.eviction.run(state, selection)
        if node is not None:
            await steps.settings.withdraw(node, state, selection)
        await steps.leftovers.run(state)
        before, state.profile_states = state.profile_states, profile_states(state, selection)
        seen, state.profiles_seen = state.profiles_seen or (), state.selected_from
        changed = {
            profile
            for profile in before.keys() | state.profile_states.keys()
            if before.get(profile) != state.profile_states.get(profile)
        }
        if seen != state.profiles_seen:
            changed |= {
                one.key.name
                for one in self._cache.profiles
                if one.relevant_state in state.profiles_seen and one.relevant_state not in seen
            }
        return frozenset(changed)

    def _pages_in_use(self) -> tuple[PagesInUse, ...]:
        """Return what the agent says is in use without a grant, static pods by the UIDs of their mirrors."""
        name = self.state.name
        topology = self._cache.topology(name)
        told = topology.model.pages_in_use if topology is not None and topology.model is not None else ()
        if not any(one.pod_uid for one in told):
            return told
        known = ((self._cache.static_uid(pod), pod) for pod in self._cache.pods.group(name).values())
        mirrors = {static: pod.uid for static, pod in known if static}
        return tuple(replace(one, pod_uid=mirrors.get(one.pod_uid, one.pod_uid)) for one in told)

    async def write_status(self) -> float:
        """Bring NodeTopology.status and the conditions of pods up to date.

        Return after how many seconds to try again, 0 when done.
        """
        self._steps.findings.run(self.state)
        again = await self._steps.status.run(self.state)
        await self._steps.conditions.run(self.state)
        return again

    @property
    def undecided(self) -> int:
        """Return the number of pods that are managed and have no decision."""
        selection = self.state.selection
        return len(self._steps.admission.undecided(self.state, selection)) if selection is not None else 0

    @property
    def obsolete(self) -> bool:
        """Tell whether the node is gone and nothing is left to be done for it."""
        name = self.state.name
        return (
            self._cache.node(name) is None
            and not self.state.decisions
            and not self._cache.allocations.group(name)
            and self.state.left_since is None
        )
