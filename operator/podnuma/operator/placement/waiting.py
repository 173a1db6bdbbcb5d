"""Report why a pod waits, or find that it would wait for ever.

A pod is examined when no node was found for it, at most once in ten seconds; its condition and its event are
written when their text has changed, at most once a minute. What comes too early is done later, since perhaps
nothing will ever trigger it again. A pod that no managed node could ever accept is released, and so is one
that fits none of them now, where the profiles say `whenNothingFits: Release`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podnuma.api.conditions import timestamp
from podnuma.api.events import EventType
from podnuma.api.pod_condition import render_pod_condition
from podnuma.operator.cache import decode
from podnuma.operator.placement.outlook import outlook
from podnuma.operator.placement.ungating import UnreservedRelease
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Collection

    from podnuma.allocator.request import PodRequest
    from podnuma.api.scheduling import Obstacle
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod, ObjectKey
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.outlook import Outlook
    from podnuma.operator.placement.placing_nodes import PlacingNodes
    from podnuma.operator.placement.scheduler_view import SchedulerView
    from podnuma.operator.placement.ungating import Ungating
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

WAITING = "WaitsForNode"
"""Reason of the condition and the event of a pod that no node can hold now."""

_BACKOFF = Backoff(first=0.2, limit=5.0)
_EXAMINE_AGAIN = 10.0  # seconds
_REPORT_AGAIN = 60.0


class WaitingPods:
    """A queue of waiting pods to examine; `look_again` is called when it is too early to say anything."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        writer: Writer,
        nodes: Callable[[str], NodeReconciler | None],
        placing: PlacingNodes,
        view: SchedulerView,
        ungating: Ungating,
        *,
        events: EventRecorder,
        look_again: Callable[[], None],
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        rng: random.Random,
        settle: float,
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._reconciler = nodes
        self._placing = placing
        self._view = view
        self._ungating = ungating
        self._events = events
        self._look_again = look_again
        self._clock = clock
        self._now = now
        self._examined: dict[str, float] = {}
        self._reported: dict[str, tuple[str, float]] = {}
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._examine, backoff=_BACKOFF, rng=rng, delay=settle, concurrency=1
        )

    def start(self) -> None:
        """Begin."""
        self._queue.start()

    async def stop(self) -> None:
        """End, and forget."""
        await self._queue.stop()
        self._examined.clear()
        self._reported.clear()

    def examine(self, pod: CachedPod) -> None:
        """Find out why a pod waits: now, or ten seconds after the last time."""
        now = self._clock()
        again = self._examined.get(pod.uid, now - _EXAMINE_AGAIN) + _EXAMINE_AGAIN
        self._queue.add(pod.key, max(0.0, again - now))

    def keep(self, uids: Collection[str]) -> None:
        """Forget all pods but these."""
        for remembered in (self._examined, self._reported):
            for uid in remembered.keys() - set(uids):
                del remembered[uid]

    async def _examine(self, key: ObjectKey) -> None:
        pod = self._cache.pods.get(key)
        if pod is None or not pod.gated or pod.request is None or self._cache.allocation(key, pod.uid):
            return
        found = self._outlook(pod, pod.request) if self._every_node_is_known() else None
        if found is None or found.fits:
            self._look_again()  # too early, or a node has changed since
            return
        self._examined[pod.uid] = self._clock()
        if found.nowhere:
            self._ungating.release(pod, UnreservedRelease("no node on which pods are placed accepts it"))
        elif found.released:
            self._ungating.release(pod, UnreservedRelease(found.text, found.unfit))
        else:
            await self._write(pod, found.text)

    async def _write(self, pod: CachedPod, text: str) -> None:
        if pod.refusal == (WAITING, text):
            return
        before, now = self._reported.get(pod.uid), self._clock()
        if before is not None and before[0] == text:
            return
        if before is not None and (left := before[1] + _REPORT_AGAIN - now) > 0:
            self._queue.add(pod.key, left)
            return
        self._reported[pod.uid] = (text, now)
        key = pod.key
        body = render_pod_condition(key.namespace, key.name, pod.uid, (WAITING, text), timestamp(self._now()))
        try:
            stored = decode.decode_placeable_pod(await self._writer.apply_pod_status(key, body))
        except (errors.NotFoundError, errors.ConflictError, NotLeadingError):
            return
        if stored is not None:
            self._cache.update(stored)
        self._events.record(pod_reference(pod), EventType.NORMAL, WAITING, text)

    def _outlook(self, pod: CachedPod, request: PodRequest) -> Outlook:
        placing, view = self._placing, self._view
        ours = {name for name in placing if view.manages(placing.policy(name), pod)}
        obstacles: dict[str, Obstacle] = {}
        for name in sorted(ours):
            found = view.obstacle(pod, name)
            if found is not None:
                obstacles[name] = found
        rankings = list(placing.rankings(request, lambda name: name in ours and name not in obstacles))
        refused = {name: answer for one in rankings for name, answer in one.refused.items()}
        fits = sum(len(one.candidates) for one in rankings)
        return outlook(
            request,
            placing,
            obstacles,
            refused,
            fits=fits,
            unready=self._unready(pod),
            karpenters=set(filter(view.added_by_karpenter, ours)),
        )

    def _unready(self, pod: CachedPod) -> int:
        """Count the nodes that will place pods like this one when their hardware and state are known."""
        here = set(self._placing)
        count = 0
        for one in self._cache.nodes:
            node = self._reconciler(one.key.name)
            selection = node.state.selection if node is not None else None
            settings = selection.intended if selection is not None else None
            if settings is not None and one.key.name not in here and settings.pod_policy.places:
                count += self._view.manages(settings.pod_policy, pod)
        return count

    def _every_node_is_known(self) -> bool:
        """Tell whether each node was looked at, so that none that is missing may yet take a pod."""
        for one in self._cache.nodes:
            node = self._reconciler(one.key.name)
            if node is None or node.state.selection is None:
                return False
        return True
