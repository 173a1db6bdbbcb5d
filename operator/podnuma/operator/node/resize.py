"""Resizes in place: pods whose resources differ from those that their decision was made for.

What counts is what the kubelet has allocated (`CachedPod.request`); a resize that it holds back changes
nothing here. A new decision is stored before it is held, like every other: until then the pod's former CPUs
are its own, and those it gives up are free only afterwards. The agents see the two in the same order.

    fits          the PodAllocation says the new grant
    does not fit  the pod keeps what it has, and its decision says so (`Decision.pending_resize`): the agent
                  reports ResizePending instead of Applied. Tried again when the node has changed
    not wanted    the same, if the profile says `resize: Ignore`, or WholeCPUsOnly and a fraction is requested

A storm of resizes costs one write for each state that was seen: what came and went in between is not. What
would fit is computed only so many times a minute; beyond that a pod is told without it, and again later.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.allocator.decision import Admitted
from podnuma.allocator.explain.brief import brief_resize
from podnuma.api.events import EventType
from podnuma.api.pod_allocation import Decision, PendingResize, ResizeReason, numa_nodes
from podnuma.api.resize_policy import why_ignored
from podnuma.operator.node.devices import NO_DEVICES
from podnuma.operator.node.pod_state import ResizeTry
from podnuma.operator.write.decision import allocated_text
from podnuma.operator.write.event_recorder import pod_reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podnuma.allocator.decision import PodGrant
    from podnuma.allocator.request import PodRequest
    from podnuma.allocator.resize.decide import ResizeRefused
    from podnuma.api.node_settings import ResizePolicy
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

    Write = Callable[[NodeState, CachedPod, PodDecision, Admitted | None], Awaitable[object]]

_BRIEFS, _MINUTE = 60, 60.0  # a brief takes 40 to 90 ms
_ROUNDS = 3  # what one pod gives up another may be waiting for


class Resizes:
    """Brings the decisions of resized pods up to date, oldest pod first."""

    def __init__(
        self,
        cache: ClusterCache,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._briefs: deque[float] = deque(maxlen=_BRIEFS)

    async def run(self, node: NodeState, policy: ResizePolicy, write: Write) -> None:
        """Follow the resizes of a node's pods; `write` stores a decision and then holds it."""
        for _ in range(_ROUNDS):
            before = node.revision
            for pod, decision in self._resized(node):
                if pod.request is not None and node.allocator is not None:
                    devices = node.pods[pod.uid].devices or NO_DEVICES
                    request = devices.attached_to(pod.request)
                    await self._follow(node, pod, request, decision, policy, write)
            if node.revision == before:
                return

    def report(self, pod: CachedPod, before: PodDecision, after: PodDecision) -> None:
        """Count and announce what became of a resize, once."""
        was, now = before.decision.pending_resize, after.decision.pending_resize
        if now is None:
            if before.decision.revision == after.decision.revision:
                return
            self._metrics.resizes.labels("followed").inc()
            if before.grant.charged != after.grant.charged or _cpus(before.grant) != _cpus(after.grant):
                text = f"Resized. {allocated_text(after)}"
                self._events.record(pod_reference(pod), EventType.NORMAL, "Resized", text)
            return
        known = was is not None and was.reason is now.reason
        # An autoscaler goes in small steps: what is ignored is said once.
        if was is not None and known and (was.revision == now.revision or now.reason is ResizeReason.IGNORED):
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
            if not decision.admitted or decision.decision.reserved or uid in node.unconfirmed:
                continue
            if pod.revision != decision.decision.revision or decision.decision.pending_resize is not None:
                found.append((pod, decision))
        return sorted(found, key=lambda pair: (pair[0].created, str(pair[0].key)))

    async def _follow(
        self,
        node: NodeState,
        pod: CachedPod,
        request: PodRequest,
        decision: PodDecision,
        policy: ResizePolicy,
        write: Write,
    ) -> None:
        allocator = node.allocator
        if allocator is None:
            return
        said = decision.decision
        if pod.revision == said.revision:
            await write(node, pod, replace(decision, decision=replace(said, pending_resize=None)), None)
            return
        ignored = why_ignored(policy, decision.grant, request)
        if ignored:
            pending = PendingResize(pod.revision, ResizeReason.IGNORED, ignored)
        else:
            tried = node.pods[pod.uid].resize_tried
            if tried is not None and tried.node == node.revision and _told(tried, pod, said.pending_resize):
                return
            answer = node.resize(allocator, request)
            if isinstance(answer, Admitted):
                node.pods[pod.uid].resize_tried = None
                now = replace(
                    decision,
                    grant=answer.grant,
                    decision=Decision.of(answer, revision=pod.revision),
                    numa=numa_nodes(answer.grant, allocator.topology),
                )
                await write(node, pod, now, answer)
                return
            pending = self._pending(node, pod, request, answer, said.pending_resize)
        if pending != said.pending_resize:
            await write(node, pod, replace(decision, decision=replace(said, pending_resize=pending)), None)

    def _pending(
        self,
        node: NodeState,
        pod: CachedPod,
        request: PodRequest,
        refused: ResizeRefused,
        known: PendingResize | None,
    ) -> PendingResize:
        """Return what to say of a resize that does not fit, with what would fit, or without for now."""
        reason = ResizeReason.DEFERRED if refused.feasible else ResizeReason.INFEASIBLE
        same = known is not None and (known.revision, known.reason) == (pod.revision, reason)
        state = node.pods[pod.uid]
        tried, state.resize_tried = state.resize_tried, None
        if known is not None and same and tried is not None and tried.message == refused.message:
            pending = known  # what would fit is worked out once for each cause
        elif node.allocator is not None and self._may_brief():
            pending = PendingResize(pod.revision, reason, brief_resize(node.allocator, request, refused))
        else:
            self._enqueue(node.name, _MINUTE)
            return PendingResize(pod.revision, reason, refused.message)
        state.resize_tried = ResizeTry(node.revision, refused.message, pending)
        return pending

    def _may_brief(self) -> bool:
        """Tell whether what would fit may be worked out once more within this minute, and count it."""
        now = self._clock()
        if len(self._briefs) == _BRIEFS and now - self._briefs[0] < _MINUTE:
            return False
        self._briefs.append(now)
        return True


def _told(tried: ResizeTry, pod: CachedPod, stored: PendingResize | None) -> bool:
    """Tell whether what was found is stored, too: storing it may have failed, or somebody undid it."""
    return tried.pending.revision == pod.revision and tried.pending == stored


def _cpus(grant: PodGrant) -> list[int | None]:
    return [grant.cpus, *(container.cpus for container in grant.containers)]
