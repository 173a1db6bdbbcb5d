"""Decide the pods of a node that have no decision yet, and the refused ones when there may be room.

Oldest pod first, one after the other: decide, write, hold. The allocator's answer changes
nothing; when the write fails for good nothing has to be undone, and when its outcome is
unknown the very same decision is written again before the next pod is looked at, or, if there
is nothing to write any more, nothing is decided until it is certain what is stored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.eligibility import qos
from podnuma.allocator.quantities import NANO, format_bytes
from podnuma.allocator.request import CPU, MEMORY, Qos, aggregate
from podnuma.api.events import EventType
from podnuma.api.pod_allocation import (
    LONGEST_EXPLANATION,
    Decision,
    numa_nodes,
    rejected_grant,
    render_summary,
)
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node import allocations
from podnuma.operator.write.allocation_store import PodDecision
from podnuma.operator.write.event_recorder import pod_reference
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.allocator.node_allocator import NodeAllocator
    from podnuma.allocator.request import ContainerRequest, PodRequest
    from podnuma.allocator.rules import Rules
    from podnuma.api.node_settings import NodeSettings
    from podnuma.operator.cache.objects import CachedAllocation, CachedPod
    from podnuma.operator.node.means import Means
    from podnuma.operator.node.profile_selection import ProfileSelection
    from podnuma.operator.node.state import Book

logger = logging.getLogger(__name__)

_SOON = 0.2  # seconds
_SHOWN = 500  # characters of an explanation in an event
_NAMESPACE_GOING = 5.0  # seconds until a pod whose namespace refuses new objects is looked at again


def undecided(means: Means, name: str, book: Book, plan: ProfileSelection) -> list[CachedPod]:
    """Return the pods of a node that a profile wants decided and that are not."""
    settings = plan.intended
    if settings is None:
        return []
    return [
        pod
        for pod in means.cache.pods.group(name).values()
        if pod.uid not in book.decided and pod.uid not in book.idle and _managed(means, pod, settings)
    ]


async def withdraw(means: Means, book: Book, plan: ProfileSelection) -> None:
    """Take back refusals that no longer concern anybody: no profile wants these pods managed."""
    settings = plan.decide_with
    for uid, decided in tuple(book.decided.items()):
        pod = means.cache.pods.get(decided.key)
        if decided.decision.admitted or pod is None or pod.uid != uid:
            continue
        if plan.withdraw or (settings is not None and not _managed(means, pod, settings)):
            record = means.cache.allocations.get(decided.key)
            if record is not None and record.pod_uid == uid:
                await means.checkpoint.delete(record)
            book.release(uid)


def waiting(means: Means, name: str, book: Book, settings: NodeSettings | None) -> list[CachedPod]:
    """Return the pods of a node that are to be decided now, oldest first."""
    if settings is None or book.allocator is None:
        return []
    found = []
    for pod in means.cache.pods.group(name).values():
        known = book.decided.get(pod.uid)
        if known is not None:
            again = not known.decision.admitted and book.refused_at.get(pod.uid) != book.age
        else:
            # A pod that is on its way out starts nothing new.
            again = pod.uid not in book.idle and not pod.terminating
        if again and (known is not None or _managed(means, pod, settings)):
            found.append(pod)
    return sorted(found, key=lambda pod: (pod.created, pod.key.namespace, pod.key.name))


async def decide(means: Means, name: str, book: Book, plan: ProfileSelection) -> None:
    """Decide what is waiting on a node."""
    if not await _confirm(means, name, book):
        means.mark(name, _SOON)
        return
    settings = plan.decide_with
    if settings is None:
        for pod in undecided(means, name, book, plan):
            allocations.warn_once(
                means, book, pod, "Undecided", f"Waits for node {name}: {plan.usable.message}"
            )
    for pod in waiting(means, name, book, settings):
        if allocations.strays(means, name, book):
            means.mark(name, _SOON)
            return
        if pod.request is None:
            book.idle.add(pod.uid)
            text = f"podnuma cannot manage this pod: {pod.problem}; correct it and create the pod again"
            allocations.warn_once(means, book, pod, "Unreadable", text)
            continue
        await _decide_one(means, name, book, pod, pod.request)


async def _decide_one(means: Means, name: str, book: Book, pod: CachedPod, request: PodRequest) -> None:
    allocator = book.allocator
    if allocator is None:
        return
    began = means.clock()
    answer = book.answer(allocator, request)
    means.metrics.decision_seconds.observe(means.clock() - began)
    known = book.decided.get(pod.uid)
    match answer:
        case Admitted():
            grant = answer.grant
            if not grant.holds_anything and known is None and not _awaited(allocator.rules, request):
                book.idle.add(pod.uid)
                means.metrics.decisions.labels("nothing").inc()
                return
            numa = numa_nodes(grant, allocator.topology)
            decided = PodDecision(pod.key, name, grant, Decision.of(answer), pod.static_uid, numa)
            await _write(means, name, book, pod, decided, answer)
        case Rejected():
            book.refused_at[pod.uid] = book.age
            decision = Decision.of(answer, book.age, explanation(allocator, request))
            if known is not None and (known.decision.reason, known.decision.message) == (
                decision.reason,
                decision.message,
            ):
                return
            grant = rejected_grant(pod.uid, pod.key.namespace, pod.key.name, allocator.rules.scope)
            decided = PodDecision(pod.key, name, grant, decision, pod.static_uid)
            await _write(means, name, book, pod, decided, None)
            book.refused_at[pod.uid] = book.age


def _awaited(rules: Rules, request: PodRequest) -> bool:
    """Tell whether an agent makes the containers of a pod wait for a decision, though it may hold nothing."""
    return (rules.static_cpu or rules.static_memory) and qos(request) is Qos.GUARANTEED


async def _confirm(means: Means, name: str, book: Book) -> bool:
    """Repeat what had no clear answer; False: something may be left of a decision that is not repeated.

    Then nothing else is decided before the next run has tidied it away.
    """
    clear = True
    for uid, (decided, answer) in tuple(book.unconfirmed.items()):
        pod = means.cache.pods.get(decided.key)
        if pod is None or pod.uid != uid:
            moot = await means.gone(decided.key, uid)
        elif book.decided.get(uid) == decided:
            del book.unconfirmed[uid]  # taken over meanwhile
            continue
        elif book.room_for(decided):
            await _write(means, name, book, pod, decided, answer)
            continue
        else:
            moot = True
        clear = False
        if moot and await means.checkpoint.certain(decided.key):
            del book.unconfirmed[uid]
    return clear


async def _write(
    means: Means, name: str, book: Book, pod: CachedPod, decided: PodDecision, answer: Admitted | None
) -> None:
    try:
        stored = await _stored(means, name, book, pod, decided)
    except errors.UncertainError:
        book.unconfirmed[pod.uid] = (decided, answer)
        raise
    except (errors.NotFoundError, errors.RefusedError) as error:
        book.unconfirmed.pop(pod.uid, None)
        namespace = means.cache.namespaces.get(ObjectKey("", pod.key.namespace))
        if namespace is not None and not namespace.terminating:
            raise
        # Nothing can be created in a namespace that is being deleted; its pods go with it.
        logger.info("pod %s is not decided, its namespace is going: %s", pod.key, error)
        means.mark(name, _NAMESPACE_GOING)
        return
    book.unconfirmed.pop(pod.uid, None)
    if stored is None:
        return
    book.enter(decided, answer)
    allocations.note_stored(means, book, decided, stored)
    if (waited := means.waits.end(pod.uid)) is not None:
        means.metrics.admission_seconds.observe(waited)
    _tell(means, pod, decided)
    await allocations.correct_phase(means, decided, stored)


async def _stored(
    means: Means, name: str, book: Book, pod: CachedPod, decided: PodDecision
) -> CachedAllocation | None:
    """Write a decision; None if a decision about the pod was there and has been taken over."""
    record = means.cache.allocations.get(pod.key)
    if record is not None and record.pod_uid == pod.uid:
        return await means.checkpoint.rewrite(decided)
    stored = await means.checkpoint.create(decided)
    if stored.written or decided.shown_by(stored.record):
        return stored.record
    if allocations.take_over(means, name, book, pod, stored.record):
        return None
    return await means.checkpoint.rewrite(decided)


def _managed(means: Means, pod: CachedPod, settings: NodeSettings) -> bool:
    return settings.handling.manages(pod.labels, means.namespace_labels(pod.key.namespace))


def explanation(node: NodeAllocator, request: PodRequest) -> str:
    """Say what a pod asks for and what each NUMA node has free."""
    asked = request.pod_requests or {}
    free = node.default_set & ~node.reserved_cpus
    rows = []
    for numa in node.topology.nodes:
        amounts = [f"{(free & node.topology.cpus_of_node(numa.id)).bit_count()} CPUs"]
        amounts += [
            f"{format_bytes(node.free_memory(numa.id, resource))} {resource}"
            for resource in node.memory_rows(numa.id)
        ]
        rows.append(f"NUMA node {numa.id}: {', '.join(amounts)}")
    needs = {
        resource: asked[resource].nano if resource in asked else _together(request, resource)
        for resource in (CPU, MEMORY)
    }
    cpus, memory = needs[CPU] / NANO, format_bytes(-(-needs[MEMORY] // NANO))
    return f"asks for {cpus:g} CPUs and {memory} memory; free on {'; on '.join(rows)}"[:LONGEST_EXPLANATION]


def _together(request: PodRequest, resource: str) -> int:
    def amount(container: ContainerRequest) -> int:
        given = container.requests.get(resource)
        return 0 if given is None else given.nano

    return aggregate(request.containers, [amount(container) for container in request.containers])


def _tell(means: Means, pod: CachedPod, decided: PodDecision) -> None:
    decision = decided.decision
    if not decided.grant.holds_anything and decision.admitted:
        means.metrics.decisions.labels("nothing").inc()
        logger.debug("node %s: pod %s holds nothing", decided.node, pod.key)
    elif decision.admitted:
        means.metrics.decisions.labels("admitted").inc()
        logger.info("node %s: pod %s holds %s", decided.node, pod.key, _holdings(decided))
        means.announcer.say(pod_reference(pod), EventType.NORMAL, "Allocated", f"Holds {_holdings(decided)}")
    else:
        means.metrics.decisions.labels("rejected").inc()
        means.metrics.rejections.labels(decision.reason).inc()
        logger.info(
            "node %s: pod %s rejected, %s: %s", decided.node, pod.key, decision.reason, decision.message
        )
        means.announcer.say(
            pod_reference(pod),
            EventType.WARNING,
            decision.reason,
            f"Pod was rejected on node {decided.node}: {decision.message}; {decision.explanation[:_SHOWN]}; "
            f"kubectl podnuma explain pod {pod.key.name} -n {pod.key.namespace} shows what would fit",
        )


def _holdings(decided: PodDecision) -> str:
    summary = render_summary(decided.grant, decided.numa)
    return (
        f"CPUs {summary['cpus']} on NUMA nodes {summary['numa']} of {decided.node} "
        f"(exclusive {summary['exclusive']}, shared {summary['shared']})"
    )
