"""Resizes in place: pods whose resources are others than those their decision was made for.

What counts is what the kubelet has allocated (`CachedPod.request`); a resize that it holds back changes
nothing here. A pod that cannot be given what it was resized to keeps what it has, and its decision says so
(`Decision.pending_resize`): the agent then reports ResizePending instead of Applied. It is tried again when
the node has changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.api.pod_allocation import PendingResize, ResizeReason
from podnuma.operator.write.event_recorder import pod_reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podnuma.allocator.decision import Admitted
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

    Write = Callable[[NodeState, CachedPod, PodDecision, Admitted | None], Awaitable[None]]

_NOT_FOLLOWED = (
    "the pod keeps what was decided for the resources it started with; to apply the new ones, delete the pod "
    "so that its controller makes a new one"
)


class Resizes:
    """Brings the decisions of resized pods up to date, oldest pod first."""

    def __init__(self, cache: ClusterCache, *, events: EventRecorder, metrics: Metrics) -> None:
        self._cache = cache
        self._events = events
        self._metrics = metrics

    async def run(self, node: NodeState, write: Write) -> None:
        """Look at every resized pod of a node once; `write` stores a decision and then holds it."""
        for pod, decision in self._resized(node):
            said = decision.decision
            if pod.revision == said.revision:
                settled = replace(said, pending_resize=None)
                await write(node, pod, replace(decision, decision=settled), None)
                continue
            pending = PendingResize(pod.revision, ResizeReason.INFEASIBLE, _NOT_FOLLOWED)
            if pending != said.pending_resize:
                await write(
                    node, pod, replace(decision, decision=replace(said, pending_resize=pending)), None
                )

    def report(self, pod: CachedPod, before: PodDecision, after: PodDecision) -> None:
        """Count and announce what became of a resize, once."""
        was, now = before.decision.pending_resize, after.decision.pending_resize
        if now is None or (was is not None and (was.revision, was.reason) == (now.revision, now.reason)):
            return
        self._metrics.resizes.labels(now.reason.value.lower()).inc()
        text = f"The resize is not followed, {now.reason.value}: {now.message}"
        self._events.record(pod_reference(pod), EventType.WARNING, "ResizePending", text)

    def _resized(self, node: NodeState) -> list[tuple[CachedPod, PodDecision]]:
        found = []
        for uid, decision in node.decisions.items():
            pod = self._cache.pod(decision.key, uid)
            if pod is None or pod.request is None or pod.terminating or pod.held_back:
                continue
            if not decision.admitted or uid in node.unconfirmed:
                continue
            if pod.revision != decision.decision.revision or decision.decision.pending_resize is not None:
                found.append((pod, decision))
        return sorted(found, key=lambda pair: (pair[0].created, str(pair[0].key)))
