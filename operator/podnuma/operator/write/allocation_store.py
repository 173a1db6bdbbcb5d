"""PodAllocations are the checkpoint: a decision counts once one of them says so.

Three acts, each of which leaves the cache as the API server has it: `create` a
decision that nothing is known of, `rewrite` one that somebody changed, `delete` one whose
pod is gone. None of them ever touches an object of another UID or a newer version.

A write without a clear answer (UncertainError) may have happened, or may happen until its
deadline has passed. It is raised, and the caller must repeat the same act with the same
decision: `create` then finds what it wrote. Where there is nothing to repeat, because the pod
has gone or others hold what was decided, only `certain` tells whether something was left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podnuma.api.pod_allocation import Decision, numa_in, render_pod_allocation, render_summary
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.allocator.decision import PodGrant
    from podnuma.allocator.nodeset import NodeSet
    from podnuma.operator.cache.cluster import AffectedNodes, ClusterCache
    from podnuma.operator.cache.objects import CachedAllocation, ObjectKey
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.writer import Writer

_ATTEMPTS = 5  # each lost race is won by somebody; five in a row are somebody who fights


@dataclass(frozen=True, slots=True)
class PodDecision:
    """A decision about one pod on one node.

    `static_uid` as in `PodRecord`; `numa` are the NUMA nodes of what it holds, for the summary.
    """

    key: ObjectKey
    node: str
    grant: PodGrant
    decision: Decision
    static_uid: str = ""
    numa: NodeSet | None = None

    @property
    def uid(self) -> str:
        """Return the UID of the pod."""
        return self.grant.uid

    def shown_by(self, record: CachedAllocation) -> bool:
        """Tell whether an object says just this."""
        model = record.model
        return (
            model is not None
            and record.node == self.node
            and record.owner == self.uid
            and model.grant == self.grant
            and model.decision == self.decision
            and model.static_uid == self.static_uid
            and model.summary == render_summary(self.grant, self.numa)
        )


@dataclass(frozen=True, slots=True)
class CreateResult:
    """What is stored after an act, and whether it was written by it or had been there before."""

    record: CachedAllocation
    written: bool


def decision_in(record: CachedAllocation) -> PodDecision | None:
    """Return the decision in an object, None if it cannot be read."""
    if record.model is None:
        return None
    model = record.model
    numa = numa_in(model.summary)
    return PodDecision(record.key, record.node, model.grant, model.decision, model.static_uid, numa)


class AllocationStore:
    """Writes decisions down."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        writer: Writer,
        *,
        mark: Callable[[AffectedNodes], None],
        clock: Callable[[], float],
        write_deadline: float,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._mark = mark
        self._clock = clock
        self._write_deadline = write_deadline
        self._open_until: dict[ObjectKey, float] = {}

    async def create(self, decided: PodDecision) -> CreateResult:
        """Write a new decision, unless there is one about this pod already."""
        for _ in range(_ATTEMPTS):
            record = self._cache.allocations.get(decided.key)
            if record is not None and record.pod_uid == decided.uid:
                return CreateResult(record, written=False)
            if record is not None:
                await self.delete(record)
                continue
            try:
                stored = await self._writer.create_allocation(decided.key, _body(decided))
            except errors.AlreadyExistsError:
                await self._look_again(decided.key)
                continue
            except errors.UncertainError:
                self._open(decided.key)
                raise
            return CreateResult(self.take_in(stored), written=True)
        raise errors.ConflictError(409, "Conflict", f"PodAllocation {decided.key} comes back again and again")

    async def rewrite(self, decided: PodDecision) -> CachedAllocation:
        """Make the object say this, whatever it says now; return what is stored."""
        for _ in range(_ATTEMPTS):
            record = self._cache.allocations.get(decided.key)
            if record is None or record.pod_uid != decided.uid:
                stored = await self.create(decided)
                record = stored.record
                if stored.written:
                    return record
            if decided.shown_by(record):
                return record
            body = _body(decided)
            body["metadata"]["resourceVersion"] = str(record.version.resource_version)
            try:
                return self.take_in(await self._writer.replace_allocation(decided.key, body))
            except (errors.ConflictError, errors.NotFoundError):
                await self._look_again(decided.key)
            except errors.UncertainError:
                self._open(decided.key)
                raise
        raise errors.ConflictError(409, "Conflict", f"PodAllocation {decided.key} is changed again and again")

    async def delete(self, record: CachedAllocation) -> None:
        """Remove an object; when this returns it is not there any more."""
        try:
            await self._writer.delete_allocation(record.key, record.uid)
        except errors.ConflictError:
            # Another object has the name, says the server. Only a look proves that this one is gone.
            await self._look_again(record.key)
            present = self._cache.allocations.get(record.key)
            if present is not None and present.uid == record.uid:
                raise
        self._cache.delete(Kind.ALLOCATION, record.key, record.version)

    async def certain(self, key: ObjectKey) -> bool:
        """Tell whether the cache has what is stored under a name, and no write can change it any more."""
        until = self._open_until.get(key)
        if until is None:
            return True
        over = self._clock() > until
        await self._look_again(key)
        if over:
            self._open_until.pop(key, None)
        return over

    def take_in(self, stored: dict[str, Any]) -> CachedAllocation:
        """Note what the API server answered to a write."""
        record = decode.decode_allocation(stored)
        self._cache.update(record)
        return record

    def _open(self, key: ObjectKey) -> None:
        self._open_until[key] = self._clock() + self._write_deadline

    async def _look_again(self, key: ObjectKey) -> None:
        record = await self._reader.allocation(key)
        # What was seen here first is no news when its event comes, and it may be another node's.
        if record is not None:
            self._mark(self._cache.update(record))
        elif (known := self._cache.allocations.get(key)) is not None:
            self._mark(self._cache.delete(Kind.ALLOCATION, key, known.version))


def _body(decided: PodDecision) -> dict[str, Any]:
    return render_pod_allocation(
        decided.grant, decided.node, decided.decision, decided.static_uid, decided.numa
    )
