"""Pods that carry our scheduling gate get a node before the scheduler binds them.

    choose   one worker, pods in order of priority, then age: the best node of those that the scheduler would
             accept is asked to reserve what the pod needs; a pod for which there is none is passed over
    free     once the reservation is stored: the node is nominated, then our gate is lifted. A pod that can
             hold nothing, or that no node of ours takes, loses its gate without a node
    tell     a pod that waits gets a condition and an event with the reason; or it is let go, as its nodes say

Level-based: each step looks at what is there now. Nothing is remembered that a restart would lose, but for
what was told when. A pass runs when a gated pod came or went, when a node's allocator or policy changed, and
when room in the scheduler's sense may have become free; answers are remembered by state and shape of pod
(`allocator.placement`), so a pass over many waiting pods asks little.

Always true: the gate is lifted only after what the pod was given is stored; a gate of others is never
touched, and nothing is reserved before ours is the last one. A pod whose claims are not allocated yet is
nominated by what is free and decided once it is bound, near its devices.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from podnuma.allocator.placement.fleet import shape_of
from podnuma.api.conditions import timestamp
from podnuma.api.events import EventType
from podnuma.api.placement import render_let_go, render_lifted_gate, render_nomination
from podnuma.api.pod_condition import render_pod_condition
from podnuma.api.scheduling import add, obstacle
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import CachedNode, CachedPod
from podnuma.operator.placement.outlook import outlook
from podnuma.operator.placement.placing_nodes import PlacingNodes
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Hashable, Mapping
    from collections.abc import Set as AbstractSet

    from podnuma.allocator.request import PodRequest
    from podnuma.api.scheduling import Needs, Obstacle
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedObject, ObjectKey
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.placement.outlook import Outlook
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

WAITING = "WaitsForNode"
"""Reason of the condition and the event of a pod that no node can hold now."""

_PASS = "pass"  # noqa: S105 - the only key of its queue
_BACKOFF = Backoff(first=0.2, limit=5.0)
_SOON = 0.5  # seconds until a node that could not reserve just now is asked again
_TRIES = 3  # nodes asked for one pod in a pass
_LOOK_AGAIN = 10.0  # seconds between looks at why a pod waits
_TELL_AGAIN = 60.0  # seconds between changes of what it is told
_FREEING = 8  # pods that are nominated and freed at once


class PlacementReconciler:
    """The queues of choosing, freeing and telling; `nodes` returns the reconciler of a node."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        nodes: Callable[[str], NodeReconciler | None],
        *,
        events: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        rng: random.Random,
        settle: float,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._reconciler = nodes
        self._events = events
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._now = now
        self._placing = PlacingNodes()
        self._passes: WorkQueue[str] = WorkQueue(
            self._run, backoff=_BACKOFF, rng=rng, delay=settle, concurrency=1
        )
        self._freeing: WorkQueue[ObjectKey] = WorkQueue(
            self._free, backoff=_BACKOFF, rng=rng, concurrency=_FREEING
        )
        self._telling: WorkQueue[ObjectKey] = WorkQueue(
            self._tell, backoff=_BACKOFF, rng=rng, delay=settle, concurrency=1
        )
        self._forget()

    # What changed

    def sees(self, obj: CachedObject) -> None:
        """Hear of a state of an object before it is cached."""
        match obj:
            case CachedNode():
                known = self._cache.nodes.get(obj.key)
                if known is None or known.schedulable != obj.schedulable:
                    self.wake()
            case CachedPod() if obj.gated:
                self.wake()
            case _:
                pass

    def wake(self) -> None:
        """Look at the waiting pods again."""
        self._passes.add(_PASS)

    def node_changed(self, node: NodeReconciler) -> None:
        """Take a node as it is after a run."""
        if node.obsolete:
            changed = self._placing.remove(node.state.name)
        else:
            changed = self._placing.refresh(node.state, places=node.places)
        if changed:
            self.wake()

    def start(self) -> None:
        """Begin, knowing nothing."""
        self._forget()
        for queue in (self._passes, self._freeing, self._telling):
            queue.start()
        self.wake()

    async def stop(self) -> None:
        """Stop choosing, freeing and telling."""
        await asyncio.gather(self._passes.stop(), self._freeing.stop(), self._telling.stop())

    def gated(self) -> list[CachedPod]:
        """Return the pods that wait for us, the most urgent first."""
        found = [pod for pod in self._cache.unbound_pods().values() if pod.gated and not pod.terminating]
        return sorted(found, key=_urgency)

    def longest_wait(self) -> float:
        """Return for how many seconds the pod that has waited longest has been gated."""
        since = [self._since.get(pod.uid) for pod in self._cache.unbound_pods().values() if pod.gated]
        known = [moment for moment in since if moment is not None]
        return self._clock() - min(known) if known else 0.0

    # Choosing

    async def _run(self, _: str) -> None:
        waiting = self.gated()
        present = {pod.uid for pod in waiting}
        for remembered in (self._since, self._looked, self._told, self._let_go, self._uncertain):
            for uid in remembered.keys() - present:
                del remembered[uid]
        hopeless: set[Hashable] = set()
        for pod in waiting:
            self._since.setdefault(pod.uid, self._clock())
            if not self._is_to_place(pod):
                continue
            alike = _likeness(pod)
            if alike in hopeless:
                self._look(pod)
                continue
            try:
                placed = await self._place(pod)
            except NotLeadingError:
                return
            if placed:
                self._freeing.add(pod.key)
            else:
                hopeless.add(alike)
                self._look(pod)
            await asyncio.sleep(0)

    def _is_to_place(self, pod: CachedPod) -> bool:
        """Tell whether a gated pod waits for a node, and not for anything else."""
        if pod.scheduling is None or not pod.scheduling.last_gate or pod.uid in self._let_go:
            return False
        allocation = self._cache.allocation(pod.key, pod.uid)
        if allocation is not None:
            if allocation.reserved:
                self._freeing.add(pod.key)
            return False
        return not self._is_uncertain(pod)

    async def _place(self, pod: CachedPod) -> bool:
        """Find a node for a pod and have it reserved there; False if no node can hold it now."""
        if pod.request is None:
            self._let_go[pod.uid] = (f"podnuma cannot manage it: {pod.problem}", ())
            return True
        avoided: set[str] = set()
        for _ in range(_TRIES):
            began = self._clock()
            found = self._placing.best(pod.request, partial(self._open, pod, avoided))
            self._metrics.placement_seconds.observe(self._clock() - began)
            if found is None:
                return False
            name = found.candidate.node
            if not found.decision.grant.holds_anything:
                self._let_go[pod.uid] = ("it asks for nothing exclusive", ())
                return True
            if pod.claims:
                self._nominated[pod.uid] = name
                self._let_go[pod.uid] = ("its devices are not known before it is bound", ())
                return True
            if await self._reserve(pod, name):
                return True
            avoided.add(name)
        self._passes.add(_PASS, _SOON)
        return False

    async def _reserve(self, pod: CachedPod, name: str) -> bool:
        node = self._reconciler(name)
        if node is None:
            self._placing.remove(name)
            return False
        try:
            return await node.reserve(pod)
        except errors.UncertainError:
            # Repeated by the node's next run; until then the pod may have it or not.
            self._uncertain[pod.uid] = name
            self._enqueue(name, 0.0)
            return False
        except errors.KubeError as error:
            logger.warning("node %s: nothing could be reserved for pod %s: %s", name, pod.key, error)
            self._passes.add(_PASS, _SOON)
            return False
        finally:
            self._placing.refresh(node.state, places=node.places)

    def _is_uncertain(self, pod: CachedPod) -> bool:
        name = self._uncertain.get(pod.uid)
        if name is None:
            return False
        node = self._reconciler(name)
        if node is not None and pod.uid in node.state.unconfirmed:
            self._passes.add(_PASS, _SOON)
            return True
        del self._uncertain[pod.uid]
        return False

    def _open(self, pod: CachedPod, avoided: AbstractSet[str], name: str) -> bool:
        if name in avoided or not self._manages(pod, name):
            return False
        return self._obstacle(pod, name, self._requested(name)) is None

    def _manages(self, pod: CachedPod, name: str) -> bool:
        labels = self._cache.namespace_labels(pod.key.namespace)
        return self._placing.policy(name).manages(pod.labels, labels)

    def _obstacle(self, pod: CachedPod, name: str, requested: Needs) -> Obstacle | None:
        node = self._cache.node(name)
        if pod.scheduling is None or node is None or node.schedulable is None:
            return None
        return obstacle(pod.scheduling.constraints, node.schedulable, requested)

    def _requested(self, name: str) -> Needs:
        """Return what the pods of a node request, and those that have something reserved there."""
        total = self._cache.requested(name)
        node = self._reconciler(name)
        for decision in node.state.decisions.values() if node is not None else ():
            if decision.decision.reserved:
                pod = self._cache.pod(decision.key, decision.uid)
                if pod is not None and not pod.node:
                    total = add(total, pod.needs)
        return total

    # Freeing

    async def _free(self, key: ObjectKey) -> None:
        pod = self._cache.pods.get(key)
        if pod is None or pod.node or pod.scheduling is None or not pod.scheduling.last_gate:
            return
        try:
            allocation = self._cache.allocation(key, pod.uid)
            if allocation is not None and allocation.reserved:
                await self._free_for(pod, allocation.node)
            elif pod.uid in self._let_go:
                await self._release(pod)
        except (errors.NotFoundError, errors.ConflictError):
            return  # it is gone, or another pod has its name
        except NotLeadingError:
            return

    async def _free_for(self, pod: CachedPod, name: str) -> None:
        node = self._reconciler(name)
        if node is None or pod.uid not in node.state.decisions:
            self._enqueue(name, 0.0)  # its run adopts what is stored, and wakes us
            return
        if self._cache.node(name) is None or self._obstacle(pod, name, {}) is not None:
            await node.give_back(pod.uid, "the node is gone, or does not take it any more")
            self.node_changed(node)
            self.wake()
            return
        await self._nominate(pod, name)
        await self._lift(pod, render_lifted_gate(pod.uid))
        self._metrics.placements.labels("placed").inc()
        self._enqueue(name, _SOON)  # from now on the scheduler is waited for

    async def _release(self, pod: CachedPod) -> None:
        why, unfit = self._let_go[pod.uid]
        body = render_lifted_gate(pod.uid)
        if unfit:
            stored = await self._reader.stored_pod(pod.key)
            if stored is None:
                return
            body = render_let_go(pod.uid, stored, unfit)
        elif (name := self._nominated.pop(pod.uid, None)) is not None:
            await self._nominate(pod, name)
        await self._lift(pod, body)
        self._metrics.placements.labels("released" if unfit else "not_placed").inc()
        if unfit:
            text = f"Left to the scheduler, off {len(unfit)} nodes that cannot hold it: {why}"
            self._events.record(pod_reference(pod), EventType.WARNING, "ReleasedUnplaced", text)
        logger.info("pod %s is left to the scheduler: %s", pod.key, why)

    async def _nominate(self, pod: CachedPod, name: str) -> None:
        if pod.scheduling is not None and pod.scheduling.nominated == name:
            return
        try:
            self._keep(await self._writer.nominate(pod.key, render_nomination(pod.uid, name)))
        except errors.RefusedError as error:
            # The scheduler may still choose that node; if not, the pod is decided where it is bound.
            self._metrics.nominations_refused.inc()
            logger.warning("node %s could not be nominated for pod %s: %s", name, pod.key, error)

    async def _lift(self, pod: CachedPod, body: dict[str, object]) -> None:
        self._keep(await self._writer.lift_gate(pod.key, body))

    def _keep(self, stored: Mapping[str, object]) -> None:
        found = decode.decode_placeable_pod(stored)
        if found is not None:
            self._cache.update(found)

    # Telling

    def _look(self, pod: CachedPod) -> None:
        """Have it looked at why a pod waits, unless that was done lately."""
        at = self._looked.get(pod.uid)
        if at is None or self._clock() - at >= _LOOK_AGAIN:
            self._looked[pod.uid] = self._clock()
            self._telling.add(pod.key)

    async def _tell(self, key: ObjectKey) -> None:
        pod = self._cache.pods.get(key)
        if pod is None or not pod.gated or pod.request is None or self._cache.allocation(key, pod.uid):
            return
        if not self._every_node_is_known():
            self._looked.pop(pod.uid, None)
            self._passes.add(_PASS, _SOON)
            return
        found = self._outlook(pod, pod.request)
        if found.fits:
            self._looked.pop(pod.uid, None)  # a node has changed since, and a pass is due
            return
        if found.nowhere or found.released:
            why = found.text if found.unfit else "no node on which pods are placed takes it"
            self._let_go[pod.uid] = (why, found.unfit)
            self._freeing.add(key)
            return
        before = self._told.get(pod.uid)
        known = before is not None and (before[0] == found.text or self._clock() - before[1] < _TELL_AGAIN)
        if known or pod.refusal == (WAITING, found.text):
            return
        self._told[pod.uid] = (found.text, self._clock())
        body = render_pod_condition(
            key.namespace, key.name, pod.uid, (WAITING, found.text), timestamp(self._now())
        )
        try:
            self._keep(await self._writer.apply_pod_status(key, body))
        except (errors.NotFoundError, errors.ConflictError, NotLeadingError):
            return
        self._events.record(pod_reference(pod), EventType.NORMAL, WAITING, found.text)

    def _outlook(self, pod: CachedPod, request: PodRequest) -> Outlook:
        obstacles: dict[str, Obstacle] = {}
        for name in self._placing:
            if not self._manages(pod, name):
                continue
            found = self._obstacle(pod, name, self._requested(name))
            if found is not None:
                obstacles[name] = found
        rankings = list(
            self._placing.rankings(request, lambda name: name not in obstacles and self._manages(pod, name))
        )
        refused = {name: answer for one in rankings for name, answer in one.refused.items()}
        fits = sum(len(one.candidates) for one in rankings)
        return outlook(request, self._placing, obstacles, refused, fits=fits, unready=self._unready(pod))

    def _unready(self, pod: CachedPod) -> int:
        """Count the nodes that will place pods like this one when their hardware and state are known."""
        here = set(self._placing)
        count = 0
        for one in self._cache.nodes:
            node = self._reconciler(one.key.name)
            selection = node.state.selection if node is not None else None
            settings = selection.intended if selection is not None else None
            if settings is None or one.key.name in here or not settings.pod_policy.places:
                continue
            labels = self._cache.namespace_labels(pod.key.namespace)
            count += settings.pod_policy.manages(pod.labels, labels)
        return count

    def _every_node_is_known(self) -> bool:
        """Tell whether each node was looked at, so that none that is missing may yet take a pod."""
        for one in self._cache.nodes:
            node = self._reconciler(one.key.name)
            if node is None or node.state.selection is None:
                return False
        return True

    def _forget(self) -> None:
        self._since: dict[str, float] = {}  # when pods were first seen gated
        self._looked: dict[str, float] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._let_go: dict[str, tuple[str, tuple[str, ...]]] = {}  # why, and nodes that were found unfit
        self._nominated: dict[str, str] = {}
        self._uncertain: dict[str, str] = {}  # the node on which something may be reserved


def _urgency(pod: CachedPod) -> tuple[int, str, str, str]:
    priority = pod.scheduling.priority if pod.scheduling is not None else 0
    return -priority, pod.created, pod.key.namespace, pod.key.name


def _likeness(pod: CachedPod) -> Hashable:
    """Return what pods have in common that get the same answer: those of one controller, of one shape."""
    if pod.request is None or pod.controller is None:
        return pod.uid
    return pod.controller.uid, shape_of(pod.request)
