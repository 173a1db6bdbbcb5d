"""Bring the book of a node and the PodAllocations of the node together.

    pod gone                          the PodAllocation goes, then what it held is free
    decision not in its object        the object is put back, with an event
    object of a pod without decision  the decision in it is taken over (after a restart, or of a
                                      former leader), unless it meets a grant: then it loses
    phase not as decided              the operator's part of the status is applied

Releases come first, and are durable before their CPUs can be given again: the agent must
see the old owner go before it sees the new one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.api import names
from podnuma.api.conditions import Readiness, merged, readiness, render_conditions
from podnuma.api.events import EventType
from podnuma.api.pod_allocation import Phase, render_spec
from podnuma.operator.write.allocation_store import PodDecision, decision_in
from podnuma.operator.write.event_recorder import allocation_reference, pod_reference

if TYPE_CHECKING:
    from typing import Any

    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.node.means import Means
    from podnuma.operator.node.state import Book

logger = logging.getLogger(__name__)

_SOON = 0.5  # seconds
_SHOWN = 120  # characters of a field's value in a message


async def tidy(means: Means, name: str, book: Book) -> None:
    """Run all four for one node."""
    book.forget_others({pod.uid for pod in means.cache.pods.group(name).values()})
    await _release(means, name, book)
    await _restore(means, book)
    await _take_over(means, name, book)
    await _phases(means, book)


def strays(means: Means, name: str, book: Book) -> bool:
    """Tell whether a PodAllocation on the node is not in the book: what it says is nobody's to give.

    News that arrives while `tidy` waits for an answer can leave one behind; the next run sees to it.
    """
    return any(record.pod_uid not in book.decided for record in means.cache.allocations.group(name).values())


async def _release(means: Means, name: str, book: Book) -> None:
    pods, allocations = means.cache.pods, means.cache.allocations
    for uid, decided in tuple(book.decided.items()):
        pod = pods.get(decided.key)
        if (pod is not None and pod.uid == uid) or not await means.gone(decided.key, uid):
            continue
        if not await means.checkpoint.certain(decided.key):
            means.mark(name, _SOON)
            continue
        record = allocations.get(decided.key)
        if record is not None and record.pod_uid == uid:
            await means.checkpoint.delete(record)
        book.release(uid)
        if decided.grant.holds_anything:
            means.metrics.releases.inc()
        logger.info("node %s: pod %s (%s) is gone, released", name, decided.key, uid)
    for record in tuple(allocations.group(name).values()):
        pod = pods.get(record.key)
        if pod is not None and record.pod_uid in {pod.uid, None}:
            continue
        if record.pod_uid not in book.decided and await means.gone(record.key, record.pod_uid):
            await means.checkpoint.delete(record)


async def _restore(means: Means, book: Book) -> None:
    for uid, decided in tuple(book.decided.items()):
        if uid in book.unconfirmed:
            continue  # a later decision may have been written; it is repeated before anything else
        pod = means.cache.pods.get(decided.key)
        if pod is None or pod.uid != uid:
            continue  # on its way out, and the name may be another pod's by now
        record = means.cache.allocations.get(decided.key)
        if record is not None and (
            decided.shown_by(record) or book.as_stored.get(uid) == (record.uid, record.generation)
        ):
            continue
        stored = await means.checkpoint.rewrite(decided)
        note_stored(means, book, decided, stored)
        means.metrics.restored.inc()
        what = "was deleted" if record is None else f"was changed ({_difference(decided, record)})"
        logger.warning("PodAllocation %s %s, put back", decided.key, what)
        means.announcer.say(
            allocation_reference(stored),
            EventType.WARNING,
            "Restored",
            f"PodAllocation {decided.key} {what} by somebody else and was put back: it says what the pod "
            f"holds, so delete the pod if it shall give that up (version {stored.version.resource_version})",
        )


async def _take_over(means: Means, name: str, book: Book) -> None:
    found: list[tuple[CachedPod, CachedAllocation]] = []
    for pod in means.cache.pods.group(name).values():
        record = means.cache.allocations.get(pod.key)
        if pod.uid not in book.decided and record is not None and record.pod_uid in {pod.uid, None}:
            found.append((pod, record))
    # Of two that claim the same CPUs the older pod keeps them.
    for pod, record in sorted(found, key=lambda pair: (pair[0].created, str(pair[0].key))):
        if not take_over(means, name, book, pod, record):
            # It goes before anything is decided: what it says is not held, but its agent may still act on it.
            await means.checkpoint.delete(record)


def take_over(means: Means, name: str, book: Book, pod: CachedPod, record: CachedAllocation) -> bool:
    """Take over the decision in an object; False if it cannot be, and the pod has to be decided anew."""
    decided = decision_in(record)
    if decided is None:
        problem = record.problem or "it cannot be read"
    elif record.node != name:
        problem = f"spec.nodeName is {record.node}, the pod is on {name}"
    else:
        problem = book.adopt(decided) or ""
    if not problem:
        return True
    message = f"PodAllocation {record.key} cannot be used: {problem}; the pod is decided again"
    if warn_once(means, book, pod, "AllocationConflict", message):
        means.metrics.conflicts.inc()
        logger.warning("PodAllocation %s cannot be taken over: %s", record.key, problem)
    return False


def warn_once(means: Means, book: Book, pod: CachedPod, reason: str, message: str) -> bool:
    """Tell something about a pod unless it was the last thing told about it; return whether it was new."""
    if book.told.get(pod.uid) == (reason, message):
        return False
    book.told[pod.uid] = (reason, message)
    means.announcer.say(pod_reference(pod), EventType.WARNING, reason, message)
    return True


async def _phases(means: Means, book: Book) -> None:
    for decided in tuple(book.decided.values()):
        record = means.cache.allocations.get(decided.key)
        if record is not None and record.pod_uid == decided.uid and decided.uid not in book.unconfirmed:
            await correct_phase(means, decided, record)


async def correct_phase(means: Means, decided: PodDecision, record: CachedAllocation) -> None:
    """Say Rejected in the status of a rejected pod; withdraw it from that of an admitted one."""
    if record.model is None:
        return
    rejected = record.model.status.phase is Phase.REJECTED
    if rejected != decided.decision.admitted:
        return
    status: dict[str, Any] = {}
    if not decided.decision.admitted:
        generation = record.model.metadata.generation
        decision = decided.decision
        conditions = readiness(Readiness.FAILED, decision.reason, decision.message, generation)
        status = {
            "phase": Phase.REJECTED.value,
            "observedGeneration": generation,
            "conditions": render_conditions(merged(record.model.status.conditions, conditions, means.now())),
        }
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.POD_ALLOCATION.kind,
        "metadata": {"name": decided.key.name, "namespace": decided.key.namespace, "uid": record.uid},
        "status": status,
    }
    means.checkpoint.take_in(await means.writer.apply_allocation_status(decided.key, body))


def note_stored(means: Means, book: Book, decided: PodDecision, stored: CachedAllocation) -> None:
    """Remember an object that was stored otherwise than sent: rewriting it would not help."""
    if decided.shown_by(stored):
        book.as_stored.pop(decided.uid, None)
        return
    book.as_stored[decided.uid] = (stored.uid, stored.generation)
    means.metrics.schema_mismatches.inc()
    logger.error(
        "PodAllocation %s was stored with fields missing or changed (%s): the custom resource definition is "
        "older than this operator, or an admission webhook changes it; apply the CRDs of this version",
        decided.key,
        _difference(decided, stored),
    )


def _difference(decided: PodDecision, record: CachedAllocation) -> str:
    """Name the first field that is not as decided, what it says and what it should say."""
    if record.model is None:
        return record.problem or "unreadable"
    if record.owner != decided.uid:
        return f"metadata.ownerReferences names {record.owner or 'no pod'} instead of pod {decided.uid}"
    model = record.model
    wanted = render_spec(decided.grant, decided.node, decided.decision, decided.static_uid, decided.numa)
    found = render_spec(model.grant, record.node, model.decision, model.static_uid)
    found["summary"] = dict(model.summary)
    # The summary follows from the rest: it is the difference only where nothing else is.
    for field in sorted(wanted.keys() | found.keys(), key=lambda field: (field == "summary", field)):
        if wanted.get(field) == found.get(field):
            continue
        return f"spec.{field} says {_short(found.get(field))} instead of {_short(wanted.get(field))}"
    return "spec"


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
