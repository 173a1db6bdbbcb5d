"""Remove the scheduling gate of pods that have a reservation, and of pods that are released without one.

    reserved    the node is nominated, then the gate is removed. If the node is gone or no longer accepts the
                pod, the reservation is given back, and the pod is placed again
    released    nothing is reserved for it: the gate is removed; an affinity excludes the nodes found unfit

Each step may be repeated. What fails is retried after a back-off. A pod whose nomination is refused is
ungated all the same: the scheduler may choose that node by itself.

A gate that the API server does not let us remove (a policy, a webhook, security context constraints) stays,
and an event says so. Meanwhile nothing is reserved for its pod: it is placed again after a pause that grows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api import names
from podnuma.api.events import EventType
from podnuma.api.placement import render_lifted_gate, render_release
from podnuma.operator.cache import decode
from podnuma.operator.node.nominations import Nominations
from podnuma.operator.placement.refused_pods import RefusedPods
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod, ObjectKey
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.scheduler_view import SchedulerView
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Json, Writer

logger = logging.getLogger(__name__)

_BACKOFF = Backoff(first=0.2, limit=5.0)
_SOON = 0.5  # seconds
_AT_ONCE = 8  # pods


@dataclass(frozen=True, slots=True)
class UnreservedRelease:
    """Why a pod is released without a reservation; the nodes to avoid, or the one nominated nevertheless.

    `unjudged` says why that one, or none, was nominated without a look at the pod's devices; empty if there
    was one.
    """

    why: str
    unfit: tuple[str, ...] = ()
    nominated: str = ""
    unjudged: str = ""


class Ungating:
    """A queue of pods to be ungated; `placed_anew` is called when a reservation was given back.

    `wake` has the waiting pods looked at again.
    """

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        nodes: Callable[[str], NodeReconciler | None],
        view: SchedulerView,
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        placed_anew: Callable[[NodeReconciler], None],
        wake: Callable[[], None],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._reconciler = nodes
        self._view = view
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue
        self._placed_anew = placed_anew
        self._wake = wake
        self._releases: dict[str, UnreservedRelease] = {}
        self._refused = RefusedPods(clock, rng)
        self._nominations = Nominations(cache, writer, metrics)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._ungate, backoff=_BACKOFF, rng=rng, concurrency=_AT_ONCE
        )

    def start(self) -> None:
        """Begin."""
        self._queue.start()

    async def stop(self) -> None:
        """End, and forget."""
        await self._queue.stop()
        self._releases.clear()
        self._refused.keep(frozenset())

    def ungate(self, pod: CachedPod) -> None:
        """Ungate a pod for which something is reserved."""
        self._queue.add(pod.key)

    def release(self, pod: CachedPod, why: UnreservedRelease) -> None:
        """Ungate a pod for which nothing is reserved."""
        self._releases[pod.uid] = why
        self._queue.add(pod.key)

    def releases(self, uid: str) -> bool:
        """Tell whether a pod is being released."""
        return uid in self._releases

    def wait(self, uid: str) -> float:
        """Return for how many seconds a pod whose gate may not be removed is not placed; 0: for none."""
        return self._refused.wait(uid)

    def keep(self, uids: AbstractSet[str]) -> None:
        """Forget all pods but these."""
        for uid in self._releases.keys() - uids:
            del self._releases[uid]
        self._refused.keep(uids)

    async def _ungate(self, key: ObjectKey) -> None:
        pod = self._cache.pods.get(key)
        if pod is None or pod.node or pod.scheduling is None or not pod.scheduling.last_gate:
            return
        try:
            allocation = self._cache.allocation(key, pod.uid)
            if allocation is not None and allocation.reserved:
                await self._ungate_reserved(pod, allocation.node)
            elif (why := self._releases.get(pod.uid)) is not None:
                await self._release(pod, why)
        except (errors.NotFoundError, errors.ConflictError, NotLeadingError):
            return  # it is gone, or another pod has its name, or the next leader does it

    async def _ungate_reserved(self, pod: CachedPod, name: str) -> None:
        node = self._reconciler(name)
        if node is None or pod.uid not in node.state.decisions:
            self._enqueue(name, 0.0)  # its run adopts what is stored
            return
        if self._cache.node(name) is None or self._view.lasting_obstacle(pod, name) is not None:
            await node.give_back(pod.uid, "the node is gone or no longer accepts the pod")
            self._placed_anew(node)
            return
        await self._nominations.nominate(pod, name)
        try:
            await self._lift(pod, render_lifted_gate(pod.uid))
        except (errors.RefusedError, errors.WebhookError) as error:
            self._note_refusal(pod, error)
            await node.give_back(pod.uid, "its gate may not be removed")
            self._placed_anew(node)
            return
        self._metrics.placements.labels("placed").inc()
        self._enqueue(name, _SOON)  # from now on the scheduler is waited for

    async def _release(self, pod: CachedPod, why: UnreservedRelease) -> None:
        body = render_lifted_gate(pod.uid)
        if why.unfit:
            stored = await self._reader.stored_pod(pod.key)
            if stored is None:
                return
            body = render_release(pod.uid, stored, why.unfit)
        # Also if none is: the cluster autoscaler adds no node for a pod that has an earlier nomination.
        await self._nominations.nominate(pod, why.nominated)
        try:
            await self._lift(pod, body)
        except (errors.RefusedError, errors.WebhookError) as error:
            self._releases.pop(pod.uid, None)
            self._note_refusal(pod, error)
            self._wake()
            return
        self._metrics.placements.labels("released" if why.unfit else "not_placed").inc()
        if why.unfit:
            text = f"Left to the scheduler, off {len(why.unfit)} nodes that cannot hold it: {why.why}"
            self._events.record(pod_reference(pod), EventType.WARNING, "ReleasedUnplaced", text)
        if why.unjudged:
            how = f"Node {why.nominated} is nominated by free CPUs and memory alone"
            text = f"{how if why.nominated else 'No node is nominated'}: {why.unjudged}"
            self._events.record(pod_reference(pod), EventType.NORMAL, "DevicesNotJudged", text)
        logger.info("pod %s is left to the scheduler: %s", pod.key, why.why)

    def _note_refusal(self, pod: CachedPod, error: errors.KubeError) -> None:
        """Have a pod placed again after a pause, and tell it why it is still gated."""
        self._refused.add(pod.uid)
        logger.warning("pod %s: its scheduling gate cannot be removed: %s", pod.key, error)
        text = (
            f"The scheduling gate {names.PLACEMENT_GATE} cannot be removed: {error.message}; except the "
            "operator from the policy or webhook that refuses its updates or that changes pods on each update"
        )
        self._events.record(pod_reference(pod), EventType.WARNING, "GateNotRemoved", text)

    async def _lift(self, pod: CachedPod, body: Json) -> None:
        found = decode.decode_placeable_pod(await self._writer.lift_gate(pod.key, body))
        self._refused.discard(pod.uid)
        if found is not None:
            self._cache.update(found)
