"""Pods that carry our scheduling gate get a node before the scheduler binds them.

    choose   one worker, pods in order of priority, then age: the best node of those that the scheduler would
             accept is asked to reserve what the pod needs (`reserving`, a few pods at once); a pod for which
             there is none is passed over.
             `device_nomination` chooses for pods with claims
    ungate   `ungating`, once the reservation is stored
    report   `waiting`, where there is no node

Level-based: each step looks at what is there now. Nothing is remembered that a restart would lose, but for
what was told when, and which devices nominated pods will take. A pass runs when a gated pod came or went,
when a node's allocator or policy changed, and when room in the scheduler's sense may have become free.
Answers are remembered by state and shape of pod (`allocator.placement`), so that a pass over many waiting
pods asks little.

Always true: the gate is lifted only after what the pod was given is stored; a gate of others is never
touched, and nothing is reserved before ours is the last one. A pod that gets its devices only when it is
bound has a node nominated and is decided then, near its devices.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from podnuma.allocator.placement.fleet import shape_of
from podnuma.operator.cache.objects import CachedNode, CachedPod
from podnuma.operator.node.reservations import AT_ONCE
from podnuma.operator.placement.device_nomination import DeviceNomination
from podnuma.operator.placement.placing_nodes import PlacingNodes
from podnuma.operator.placement.reserving import Reserving
from podnuma.operator.placement.scheduler_view import SchedulerView
from podnuma.operator.placement.ungating import Ungating, UnreservedRelease
from podnuma.operator.placement.waiting import WaitingPods
from podnuma.operator.write.writer import NotLeadingError
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.workqueue import WorkQueue

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Hashable
    from collections.abc import Set as AbstractSet

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedObject
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_PASS = "pass"  # noqa: S105 - the only key of its queue
_BACKOFF = Backoff(first=0.2, limit=5.0)
_SOON = 0.5  # seconds until a node that could not reserve just now is asked again
_TRIES = 3  # nodes asked for one pod in a pass


class PlacementReconciler:
    """The queue of passes, and the two behind it; `nodes` returns the reconciler of a node."""

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
        self._reconciler = nodes
        self._metrics = metrics
        self._clock = clock
        self._placing = PlacingNodes()
        self._devices = DeviceNomination(cache, reader, self._placing, clock)
        self._view = SchedulerView(cache, reader, nodes, clock)
        self._reserving = Reserving(self._placing, nodes, enqueue, self._look_again, clock, rng)
        self._ungating = Ungating(
            cache,
            reader,
            writer,
            nodes,
            self._view,
            events=events,
            metrics=metrics,
            enqueue=enqueue,
            placed_anew=self._place_anew,
            wake=self.wake,
            clock=clock,
            rng=rng,
        )
        self._waiting = WaitingPods(
            cache,
            writer,
            nodes,
            self._placing,
            self._view,
            self._ungating,
            events=events,
            look_again=partial(self._look_again, _SOON),
            clock=clock,
            now=now,
            rng=rng,
            settle=settle,
        )
        self._passes: WorkQueue[str] = WorkQueue(
            self._run, backoff=_BACKOFF, rng=rng, delay=settle, concurrency=1
        )
        self._since: dict[str, float] = {}  # when pods were first seen to wait for us
        self._avoided: dict[str, set[str]] = {}  # nodes at which pods got nothing in this pass

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
        self._look_again(0.0)

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
        self._placing.clear()
        self._passes.start()
        self._ungating.start()
        self._waiting.start()
        self.wake()

    async def stop(self) -> None:
        """Stop choosing, ungating and reporting, and forget."""
        await asyncio.gather(self._passes.stop(), self._ungating.stop(), self._waiting.stop())
        self._since.clear()
        self._reserving.keep(frozenset())

    def gated(self) -> list[CachedPod]:
        """Return the pods that wait for us and for nobody else, the most urgent first."""
        found = [
            pod
            for pod in self._cache.unbound_pods().values()
            if pod.scheduling is not None and pod.scheduling.last_gate and not pod.terminating
        ]
        return sorted(found, key=_urgency)

    def longest_wait(self) -> float:
        """Return the seconds for which the pod that has waited longest waits for us; 0 while not leading."""
        gated = {pod.uid for pod in self.gated()}
        since = [moment for uid, moment in self._since.items() if uid in gated]
        return self._clock() - min(since) if since else 0.0

    # Choosing

    async def _run(self, _: str) -> None:
        try:
            await self._pass()
        except NotLeadingError:
            return  # the next leader does it
        finally:
            self._reserving.drop_plans()
            self._devices.forget()

    async def _pass(self) -> None:
        waiting = self.gated()
        self._keep({pod.uid for pod in waiting})
        self._avoided.clear()
        hopeless: set[Hashable] = set()
        await self._view.learn(waiting)
        for pod in waiting:
            self._since.setdefault(pod.uid, self._clock())
            if not self._is_to_place(pod):
                continue
            alike = _likeness(pod)
            if alike in hopeless or not await self._place(pod):
                hopeless.add(alike)
                self._waiting.examine(pod)
                await asyncio.sleep(0)
            if len(self._reserving) >= AT_ONCE:
                await self._reserve()
        await self._reserve()

    def _is_to_place(self, pod: CachedPod) -> bool:
        """Tell whether a pod that waits for us waits for a node."""
        if self._ungating.releases(pod.uid):
            return False
        allocation = self._cache.allocation(pod.key, pod.uid)
        if allocation is not None:
            if allocation.reserved:
                self._ungating.ungate(pod)
            return False
        if wait := max(self._reserving.wait(pod.uid), self._ungating.wait(pod.uid)):
            self._look_again(wait)
            return False
        return True

    async def _place(self, pod: CachedPod) -> bool:
        """Find a node for a pod and plan to reserve something there; False if no node can hold it now."""
        if pod.request is None:
            self._ungating.release(pod, UnreservedRelease(f"podnuma cannot manage it: {pod.problem}"))
            return True
        is_open = partial(self._is_open, pod)
        began = self._clock()
        found = self._placing.best(pod.request, is_open)
        self._metrics.placement_seconds.observe(self._clock() - began)
        if found is None:
            return False
        if not found.decision.grant.holds_anything:
            self._ungating.release(pod, UnreservedRelease("it asks for nothing exclusive"))
        elif self._devices_come_first(pod, found.candidate.node):
            claimed = self._view.claimed(pod, found.candidate.node)
            chosen = await self._devices.nominate(
                pod, found, is_open, since=self._since[pod.uid], claimed=claimed
            )
            if chosen is None:
                self._look_again(_SOON)
            else:
                self._ungating.release(pod, chosen)
        else:
            self._reserving.plan(pod, found.candidate.node, found.decision)
        return True

    async def _reserve(self) -> None:
        """Have all that is planned stored; a pod that got nothing tries other nodes, then waits."""
        while len(self._reserving):
            reserved, refused = await self._reserving.store()
            for pod in reserved:
                self._ungating.ungate(pod)
            for pod, name in refused:
                avoided = self._avoided.setdefault(pod.uid, set())
                avoided.add(name)
                if len(avoided) >= _TRIES or not await self._place(pod):
                    self._look_again(_SOON)
                    self._waiting.examine(pod)

    def _devices_come_first(self, pod: CachedPod, name: str) -> bool:
        """Tell whether a node decides the pod near devices that it gets when it is bound."""
        node = self._reconciler(name)
        allocator = None if node is None else node.state.allocator
        aligned = allocator is not None and allocator.rules.aligned
        return bool(pod.claims or self._view.claimed(pod, name)) or (bool(pod.extended) and aligned)

    def _is_open(self, pod: CachedPod, name: str) -> bool:
        if name in self._avoided.get(pod.uid, ()) or not self._view.manages(self._placing.policy(name), pod):
            return False
        return self._view.obstacle(pod, name, self._reserving.planned(name)) is None

    def _place_anew(self, node: NodeReconciler) -> None:
        self.node_changed(node)
        self.wake()

    def _look_again(self, after: float) -> None:
        self._passes.add(_PASS, after)

    def _keep(self, uids: AbstractSet[str]) -> None:
        """Forget all pods but these."""
        for uid in self._since.keys() - uids:
            del self._since[uid]
        self._reserving.keep(uids)
        self._ungating.keep(uids)
        self._waiting.keep(uids)


def _urgency(pod: CachedPod) -> tuple[int, str, str, str]:
    priority = pod.scheduling.priority if pod.scheduling is not None else 0
    return -priority, pod.created, pod.key.namespace, pod.key.name


def _likeness(pod: CachedPod) -> Hashable:
    """Return what pods have in common that get the same answer: controller, shape, where they may go.

    Pods of one controller may differ in the latter: a DaemonSet's each name a node, and so may those to which
    a queue has assigned nodes one by one.
    """
    if pod.request is None or pod.controller is None or pod.scheduling is None:
        return pod.uid
    where = pod.scheduling.constraints.alike, pod.scheduling.claims
    return pod.controller.uid, shape_of(pod.request), where
