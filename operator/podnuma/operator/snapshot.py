"""The operator's present state in numbers, summed up over its nodes at each scrape."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from podnuma.api.node_conditions import NodeReason
from podnuma.operator.metrics import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podnuma.allocator.device_hints import DeviceLocality
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.reconciler import PlacementReconciler


def snapshot_of(  # noqa: PLR0913 - what a scrape tells beside the nodes, passed in once
    nodes: Iterable[NodeReconciler],
    cache: ClusterCache,
    placement: PlacementReconciler | None,
    *,
    now: float,
    queue_depth: int,
    leading: bool,
    term: int,
    watch_age: float,
) -> Snapshot:
    """Sum up."""
    holding = rejected = managed = exclusive = shared = twice = outdated = waiting = resizing = orphaned = 0
    states = dict.fromkeys(NodeReason, 0)
    localities: Counter[DeviceLocality] = Counter()
    waited = 0.0
    for node in nodes:
        state = node.state
        if (standing := state.standing) is not None and not node.obsolete:
            states[standing.reason] += 1
            if standing.reason not in {NodeReason.READY, NodeReason.NO_PROFILE}:
                waited = max(waited, now - standing.since)
        managed += state.selection is not None and state.selection.decide_with is not None
        seen = 0
        for decision in state.decisions.values():
            holding += decision.grant.holds_anything
            rejected += decision.refused
            waiting += decision.undecided
            resizing += decision.decision.pending_resize is not None
            twice += (seen & decision.grant.exclusive_cpus).bit_count()
            seen |= decision.grant.exclusive_cpus
        localities.update(state.device_localities())
        exclusive += seen.bit_count()
        shared += state.shared_cpu_count
        outdated += len(state.outdated)
        orphaned += len(state.orphans)
        waiting += node.undecided
    return Snapshot(
        leading=leading,
        term=term,
        queue_depth=queue_depth,
        pods=len(cache.pods),
        nodes=managed,
        pods_holding=holding,
        pods_rejected=rejected,
        pods_waiting=waiting,
        exclusive_cpus=exclusive,
        shared_cpus=shared,
        cpus_with_two_owners=twice,
        pods_outdated=outdated,
        pods_resize_pending=resizing,
        node_states=states,
        longest_node_wait=waited,
        unreadable=cache.unreadable(),
        pods_orphaned=orphaned,
        device_localities=localities,
        watch_age=watch_age,
        pods_gated=len(placement.gated()) if placement is not None else 0,
        longest_gated_wait=placement.longest_wait() if placement is not None else 0.0,
    )
