"""PodAllocations are the store of decisions: a decision counts once one of them shows it.

`create` stores a new decision, `rewrite` restores one that someone changed, `hand_over` gives one to
another mirror of the same static pod. `begin_deletion` asks for the deletion of one whose pod is gone, which
waits for the operator's finalizer; `delete` removes it at once. For a pod that comes under the name of one
that is gone and whose processes may still run, `create` moves the older PodAllocation aside first. Each
leaves the cache as the API server has it, and none ever touches an object of another UID or of a newer
version.

A write without a clear answer (UncertainError) may have happened, or may still happen until
its deadline. The caller must then repeat the same call with the same decision: `create` finds
what it wrote. Where there is nothing to repeat, because the pod is gone or its CPUs are taken,
only `no_write_pending` tells whether something was left behind.

An object that the API server stores otherwise than sent (a CRD that is too old, an admission policy) stays
as it is: rewriting it would not help. If nodes do by it what was decided, it is given the checksum of what is
stored. If not, its checksum does not fit, so that nobody acts on it. `retry_mismatches` tries once more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from podnuma.api import names
from podnuma.api.conditions import Readiness, merged, readiness, render_conditions
from podnuma.api.pod_allocation import SentSpec
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import POD_ALLOCATION
from podnuma.api.spec_checksum import with_checksum
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.write.decision import decision_in
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from podnuma.api.conditions import Condition
    from podnuma.api.pod_allocation import PodAllocation
    from podnuma.operator.cache.cluster import AffectedNodes, ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.watch.live_pods import LivePods
    from podnuma.operator.write.decision import PodDecision
    from podnuma.operator.write.writer import Writer

logger = logging.getLogger(__name__)

_ATTEMPTS = 5  # someone wins each lost race; after five in a row someone is fighting over the object


@dataclass(frozen=True, slots=True)
class CreateResult:
    """The PodAllocation that is stored after `create`, and whether it was written or had been there."""

    allocation: CachedAllocation
    written: bool


class AllocationStore:
    """The only writer of PodAllocations; after each write the cache has what is stored."""

    def __init__(  # noqa: PLR0913 - its dependencies, passed in once
        self,
        cache: ClusterCache,
        pods: LivePods,
        reader: Reader,
        writer: Writer,
        *,
        metrics: Metrics,
        enqueue: Callable[[AffectedNodes], None],
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        write_deadline: float,
    ) -> None:
        self._cache = cache
        self._pods = pods
        self._reader = reader
        self._writer = writer
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._now = now
        self._write_deadline = write_deadline
        self._pending_until: dict[ObjectKey, float] = {}
        self._set_aside: dict[ObjectKey, ObjectKey] = {}
        self._mismatched: dict[ObjectKey, tuple[str, int]] = {}

    def is_stored(self, decision: PodDecision) -> bool:
        """Tell whether the cached PodAllocation shows a decision, as far as the API server stores it."""
        allocation = self._cache.allocations.get(decision.key)
        if allocation is None:
            return False
        return decision.shown_by(allocation) or self._mismatched.get(decision.key) == (
            allocation.uid,
            allocation.generation,
        )

    async def create(self, decision: PodDecision) -> CreateResult:
        """Store a new decision, unless there is one about this pod already."""
        for _ in range(_ATTEMPTS):
            allocation = self._cache.allocations.get(decision.key)
            if allocation is not None and allocation.pod_uid == decision.uid:
                return CreateResult(allocation, written=False)
            if allocation is not None:
                await self._make_way(allocation)
                continue
            try:
                body = decision.render()
                response = await self._writer.create_allocation(decision.key, body)
                return CreateResult(await self._written(decision, body, response), written=True)
            except errors.AlreadyExistsError:
                await self._read_again(decision.key)
                continue
            except errors.UncertainError:
                self._pending_until[decision.key] = self._clock() + self._write_deadline
                raise
        raise errors.ConflictError(409, "Conflict", f"PodAllocation {decision.key} keeps coming back")

    async def rewrite(self, decision: PodDecision) -> CachedAllocation:
        """Make the PodAllocation show a decision, whatever it says now; return what is stored."""
        for _ in range(_ATTEMPTS):
            allocation = self._cache.allocations.get(decision.key)
            if allocation is None or allocation.pod_uid != decision.uid:
                created = await self.create(decision)
                allocation = created.allocation
                if created.written:
                    return allocation
            if decision.shown_by(allocation):
                return allocation
            body = decision.render()
            body["metadata"]["resourceVersion"] = str(allocation.version.resource_version)
            try:
                response = await self._writer.replace_allocation(decision.key, body)
                return await self._written(decision, body, response)
            except (errors.ConflictError, errors.NotFoundError):
                await self._read_again(decision.key)
            except errors.UncertainError:
                self._pending_until[decision.key] = self._clock() + self._write_deadline
                raise
        raise errors.ConflictError(409, "Conflict", f"PodAllocation {decision.key} keeps being changed")

    async def delete(self, allocation: CachedAllocation) -> None:
        """Delete a PodAllocation; when this returns it does not exist any more."""
        try:
            if allocation.finalized:
                others = [one for one in allocation.finalizers if one != names.CGROUP_FINALIZER]
                await self._writer.set_allocation_finalizers(allocation.key, allocation.uid, others)
            if not allocation.deleting:
                await self._writer.delete_allocation(allocation.key, allocation.uid)
        except errors.ConflictError:
            # The server says that another object has the name. Only a read proves that this one is gone.
            await self._read_again(allocation.key)
            present = self._cache.allocations.get(allocation.key)
            if present is not None and present.uid == allocation.uid:
                raise
        self._cache.delete(Kind.ALLOCATION, allocation.key, allocation.version)
        self._mismatched.pop(allocation.key, None)

    async def begin_deletion(self, allocation: CachedAllocation) -> None:
        """Ask for the deletion of a PodAllocation that has the finalizer: it stays, marked as deleted."""
        stays = await self._writer.delete_allocation(allocation.key, allocation.uid)
        if stays is None:
            await self._read_again(allocation.key)
        else:
            self._enqueue(self._cache.update(decode.decode_allocation(stays)))

    async def hand_over(self, decision: PodDecision, allocation: CachedAllocation) -> None:
        """Make a PodAllocation say that its decision is about another mirror of the same static pod."""
        body = decision.render()
        body["metadata"]["resourceVersion"] = str(allocation.version.resource_version)
        try:
            response = await self._writer.replace_allocation(allocation.key, body)
            await self._written(decision, body, response)
        except (errors.ConflictError, errors.NotFoundError):
            await self._read_again(allocation.key)
            raise

    async def _make_way(self, allocation: CachedAllocation) -> None:
        """Free a name: what its former pod may still hold is stored under another one first.

        Raises ConflictError if that pod is there: then the one that wants the name is gone, which the cache
        did not know yet.
        """
        decision = decision_in(allocation)
        if decision is not None and not await self._pods.is_gone(allocation.key, decision.uid):
            raise errors.ConflictError(
                409, "Conflict", f"pod {allocation.key} is another one: {decision.uid}"
            )
        if decision is not None and allocation.finalized and not allocation.released:
            name = names.aside(allocation.key.name, decision.uid)
            key = ObjectKey(allocation.key.namespace, name)
            body = replace(decision, key=key).render()
            body["metadata"]["name"] = name
            try:
                stored = decode.decode_allocation(await self._writer.create_allocation(key, body))
                self._enqueue(self._cache.update(stored))
            except errors.AlreadyExistsError:
                await self._read_again(key)
            except errors.UncertainError:
                # Until it is clear, nothing of what the former pod held is free, under either name.
                self._set_aside[allocation.key] = key
                self._pending_until[allocation.key] = self._clock() + self._write_deadline
                raise
        await self.delete(allocation)

    async def write_phase(self, decision: PodDecision, allocation: CachedAllocation) -> None:
        """Say Rejected, and why, in the status of a rejected pod; remove it from that of any other."""
        if allocation.model is None:
            return
        generation = allocation.model.metadata.generation
        reason, message = decision.decision.reason, decision.decision.message
        conditions = readiness(Readiness.FAILED, reason, message, generation)
        rejected = allocation.model.status.phase is Phase.REJECTED
        if rejected == decision.refused and not (rejected and _lacks(allocation.model, conditions)):
            return
        status: dict[str, Any] = {}
        if decision.refused:
            status = {
                "phase": Phase.REJECTED.value,
                "observedGeneration": generation,
                "conditions": render_conditions(
                    merged(allocation.model.status.conditions, conditions, self._now())
                ),
            }
        key = decision.key
        body = POD_ALLOCATION.status_patch(key.namespace, key.name, allocation.uid, status)
        response = await self._writer.apply_allocation_status(decision.key, body)
        self._cache.update(decode.decode_allocation(response))

    async def no_write_pending(self, key: ObjectKey) -> bool:
        """Tell whether the cache has what is stored under a name, and no write can change it any more."""
        until = self._pending_until.get(key)
        if until is None:
            return True
        over = self._clock() > until
        await self._read_again(key)
        if (aside := self._set_aside.get(key)) is not None:
            await self._read_again(aside)
        if over:
            self._pending_until.pop(key, None)
            self._set_aside.pop(key, None)
        return over

    def retry_mismatches(self) -> None:
        """Try once more to store what the API server stored otherwise than sent."""
        self._mismatched.clear()

    async def _written(
        self, decision: PodDecision, body: dict[str, Any], response: dict[str, Any]
    ) -> CachedAllocation:
        allocation = decode.decode_allocation(response, SentSpec(body["spec"], decision.grant))
        self._cache.update(allocation)
        if allocation.problem and decision.has_its_effect(allocation):
            # Stored otherwise than sent, in what no node acts on: only the checksum does not fit.
            vouched = {**response, "spec": with_checksum(response["spec"])}
            allocation = decode.decode_allocation(
                await self._writer.replace_allocation(decision.key, vouched)
            )
            self._cache.update(allocation)
        if decision.shown_by(allocation):
            self._mismatched.pop(decision.key, None)
            return allocation
        self._mismatched[decision.key] = (allocation.uid, allocation.generation)
        self._metrics.schema_mismatches.inc()
        logger.error(
            "PodAllocation %s was stored with fields missing or changed (%s): its custom resource definition "
            "is older than this operator, or an admission policy changes it; apply the CRDs of this version",
            decision.key,
            decision.difference(allocation),
        )
        return allocation

    async def _read_again(self, key: ObjectKey) -> None:
        known = self._cache.allocations.get(key)
        allocation = await self._reader.allocation(key)
        # Its watch event will be nothing new by then, and it may belong to another node: queue that now.
        if allocation is not None:
            self._enqueue(self._cache.update(allocation))
        elif known is not None:
            # That one is gone; another one of the name may have been stored while this read was under way.
            self._enqueue(self._cache.delete(Kind.ALLOCATION, key, known.version))


def _lacks(model: PodAllocation, conditions: Iterable[Condition]) -> bool:
    """Tell whether a status says anything else than these conditions, generations aside."""
    stored = {one.type: (one.status, one.reason, one.message) for one in model.status.conditions}
    return any(stored.get(one.type) != (one.status, one.reason, one.message) for one in conditions)
