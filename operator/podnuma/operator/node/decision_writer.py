"""Store a decision about a pod, then hold it; repeat a write that had no clear answer.

When the write fails for good, nothing has to be undone; one that the API server refuses (a quota of the
namespace, an admission policy) costs that pod its decision, and is tried again. When its outcome is unknown,
the very same decision is written again before the next pod is looked at; if there is nothing to write any
more, nothing is decided until it is certain what is stored. So it is, too, where the API server answers the
write of one pod with an error of its own (500) again and again: once nothing can come of the last one any
more, that pod waits for a pause that grows, and the others are decided.

A reservation, a decision about a pod that is not bound yet, is stored in the same way; its event is posted
only when the pod is bound. No event says that a pod waits for its devices.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from podnuma.api.events import EventType
from podnuma.api.kept_refusals import refusal_event, refusal_message
from podnuma.api.node_settings import Mode, OnUndecided
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.pod_state import FailedWrite
from podnuma.operator.write.decision import allocated_text
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.allocator.decision import Admitted
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.metrics import AdmissionTimer, Metrics
    from podnuma.operator.node.allocations import AllocationSync
    from podnuma.operator.node.pod_state import PodState
    from podnuma.operator.node.resize import Resizes
    from podnuma.operator.node.state import NodeState
    from podnuma.operator.watch.live_pods import LivePods
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.event_recorder import EventRecorder

logger = logging.getLogger(__name__)

_NAMESPACE_TERMINATING = 5.0  # seconds until a pod of a namespace that takes no new objects is tried again
_AUDIT = "; mode is Audit: nothing is written, and its containers run as the kubelet configures them"
_ENOUGH = 3  # errors in a row with which the API server answers the write of one pod
_PAUSES = Backoff(first=10.0, limit=300.0)  # until that pod is tried again
_LONGEST_WAIT = 120.0  # seconds for which an agent holds a container that has no decision
_RUNS_ALREADY = "; the pod runs already and had no PodAllocation: until now it may have had other CPUs"


class DecisionWriter:
    """Brings decisions into the store and into the state of their node, in this order."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        store: AllocationStore,
        allocations: AllocationSync,
        pods: LivePods,
        resizes: Resizes,
        *,
        events: EventRecorder,
        metrics: Metrics,
        timer: AdmissionTimer,
        enqueue: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._store = store
        self._allocations = allocations
        self._pods = pods
        self._resizes = resizes
        self._events = events
        self._metrics = metrics
        self._timer = timer
        self._enqueue = enqueue
        self._clock = clock

    async def confirm(self, node: NodeState) -> bool:
        """Repeat writes that had no clear answer; False: one that is not repeated may have left something.

        Then nothing else is decided before the next run has cleaned that up.
        """
        clear = True
        for uid, (decision, answer) in tuple(node.unconfirmed.items()):
            pod = self._cache.pod(decision.key, uid)
            if pod is None:
                obsolete = await self._pods.is_gone(decision.key, uid)
            elif node.decisions.get(uid) == decision:
                del node.unconfirmed[uid]  # adopted meanwhile
                continue
            elif node.still_fits(decision) and not _fails_again_and_again(node, uid):
                await self.write(node, pod, decision, answer)
                continue
            else:
                obsolete = True
            clear = False
            if obsolete and await self._store.no_write_pending(decision.key):
                if pod is not None and node.still_fits(decision) and self._store.is_stored(decision):
                    await self.write(node, pod, decision, answer)  # it was carried out: nothing is written
                    continue
                del node.unconfirmed[uid]
                self._put_off(node, uid)
        return clear

    def _put_off(self, node: NodeState, uid: str) -> None:
        """Leave a pod alone for a while whose decision was written in vain; nothing can come of that."""
        state = node.pods[uid]
        failed, state.failed_write = state.failed_write, None
        if failed is None or failed.times < _ENOUGH:
            return
        pause = _PAUSES.ceiling(failed.times - _ENOUGH + 1)
        state.failed_write = replace(failed, until=self._clock() + pause)
        self._enqueue(node.name, pause)

    def _is_put_off(self, node: NodeState, pod: CachedPod) -> errors.KubeError | None:
        """Return why a pod is left alone for a while, and how long; None: it is not."""
        failed = node.pods[pod.uid].failed_write
        if failed is None or (left := failed.until - self._clock()) <= 0:
            return None
        self._allocations.tell_refused(node, pod, failed.error)
        return errors.BusyError(failed.error.status, failed.error.reason, failed.error.message, left)

    async def write(
        self, node: NodeState, pod: CachedPod, decision: PodDecision, answer: Admitted | None
    ) -> errors.KubeError | None:
        """Store a decision, then hold it; return why the API server does not take it now."""
        if (put_off := self._is_put_off(node, pod)) is not None:
            return put_off
        try:
            stored = await self._store_or_adopt(node, pod, decision)
        except errors.UncertainError as error:
            node.unconfirmed[pod.uid] = (decision, answer)
            _count_failure(node.pods[pod.uid], error)
            raise
        except (errors.NotFoundError, errors.RefusedError, errors.WebhookError) as error:
            node.unconfirmed.pop(pod.uid, None)
            namespace = self._cache.namespaces.get(ObjectKey("", pod.key.namespace))
            if namespace is not None and not namespace.terminating:
                if isinstance(error, errors.NotFoundError):
                    raise
                self._allocations.tell_refused(node, pod, error)
                return error
            # Nothing can be created in a terminating namespace; its pods go with it.
            logger.info("pod %s is not decided, its namespace is terminating: %s", pod.key, error)
            self._enqueue(node.name, _NAMESPACE_TERMINATING)
            return error
        node.unconfirmed.pop(pod.uid, None)
        node.pods[pod.uid].failed_write = None
        if stored is None:
            return None
        before = node.decisions.get(pod.uid)
        node.hold(decision, answer)
        self._allocations.tell_stored_otherwise(node, pod, decision, stored)
        if decision.decision.reserved:
            return None
        if decision.undecided:
            logger.info("node %s: pod %s %s", node.name, pod.key, decision.decision.message)
        elif decision.has_its_effect(stored):
            self._tell_decided(node, pod, decision, before)
        await self._store.write_phase(decision, stored)
        return None

    def _tell_decided(
        self, node: NodeState, pod: CachedPod, decision: PodDecision, before: PodDecision | None
    ) -> None:
        """Measure and report what was decided, or what became of a resize."""
        waited = self._timer.end(pod.uid)
        if waited is not None:
            self._metrics.admission_seconds.observe(waited)
        state = node.pods[pod.uid]
        if state.waiting_since is not None:
            self._metrics.device_wait_seconds.observe(self._clock() - state.waiting_since)
            state.waiting_since = None
        if before is not None and before.admitted and not before.decision.reserved:
            self._resizes.report(pod, before, decision)
        else:
            self._report(node, pod, decision, waited, anew=before is None)

    async def _store_or_adopt(
        self, node: NodeState, pod: CachedPod, decision: PodDecision
    ) -> CachedAllocation | None:
        """Store a decision; None if another one about the pod was stored already and has been adopted."""
        if self._cache.allocation(pod.key, pod.uid) is not None:
            return await self._store.rewrite(decision)
        created = await self._store.create(decision)
        if created.written or decision.shown_by(created.allocation):
            return created.allocation
        if self._allocations.adopt(node, pod, created.allocation):
            return None
        return await self._store.rewrite(decision)

    def _report(
        self, state: NodeState, pod: CachedPod, decision: PodDecision, waited: float | None, *, anew: bool
    ) -> None:
        """Count, log and announce a stored decision; `anew`: nothing was known of the pod before."""
        node, said = decision.node, decision.decision
        settings = state.selection.policy_settings if state.selection else None
        audit = settings is not None and settings.pod_policy.mode is Mode.AUDIT
        if decision.admitted and not decision.grant.holds_anything:
            self._metrics.decisions.labels("nothing").inc()
            logger.debug("node %s: pod %s holds nothing exclusive", node, pod.key)
        elif decision.admitted:
            self._metrics.decisions.labels("admitted").inc()
            text = allocated_text(decision)
            if audit:
                text += _AUDIT
            elif anew and _ran_before(state, pod, waited):
                text += _RUNS_ALREADY
            logger.info("node %s: pod %s: %s", node, pod.key, text)
            self._events.record(pod_reference(pod), EventType.NORMAL, "Allocated", text)
        else:
            self._metrics.decisions.labels("rejected").inc()
            self._metrics.rejections.labels(said.reason).inc()
            logger.info(
                "node %s: pod %s rejected, %s: %s; %s",
                node,
                pod.key,
                said.reason,
                said.message,
                said.explanation,
            )
            cause = said.explanation or said.message
            reference = pod_reference(pod)
            if pod.stays or pod.controller is not None:
                text = refusal_message(cause, node, audit=audit)
                self._events.record(reference, EventType.WARNING, said.reason, text)
            if not pod.stays:
                about = pod.controller
                self._events.keep(
                    refusal_event(about, reference, node, said.reason, cause, said.message, audit=audit)
                )


def _count_failure(pod: PodState, error: errors.UncertainError) -> None:
    if error.status:  # an answer, which may be about this pod alone
        pod.failed_write = FailedWrite(1 if pod.failed_write is None else pod.failed_write.times + 1, error)


def _fails_again_and_again(node: NodeState, uid: str) -> bool:
    failed = node.pods[uid].failed_write
    return failed is not None and failed.times >= _ENOUGH


def _ran_before(node: NodeState, pod: CachedPod, waited: float | None) -> bool:
    """Tell whether a pod may have run without its decision; `waited`: since it was first seen, not running.

    An agent holds the containers of a new pod until it is decided, where the settings say so.
    """
    selection = node.selection
    settings = selection.decide_with if selection is not None else None
    if not pod.running or selection is None or settings is None:
        return False
    older = bool(pod.created) and pod.created < selection.managed_since
    shares = settings.pod_policy.on_undecided is OnUndecided.SHARE
    return older or shares or waited is None or waited > _LONGEST_WAIT
