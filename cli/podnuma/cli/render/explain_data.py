"""`podnuma explain` as data, for JSON and YAML and for the web page."""

from collections.abc import Iterable, Iterator
from typing import Any

from podnuma.allocator import Admitted, PodGrant, Rejected, nodeset
from podnuma.allocator.eligibility import qos
from podnuma.allocator.explain.explanation import Explanation
from podnuma.allocator.explain.remarks import MergeStep
from podnuma.allocator.explain.suggestions import Suggestion
from podnuma.allocator.quantities import format_bytes
from podnuma.allocator.request import CPU
from podnuma.allocator.topology_hint import TopologyHint
from podnuma.api import pod_allocation, pod_allocation_status
from podnuma.api.pod_allocation import PendingResize, PodAllocation
from podnuma.cli.render.pod_explanation import PodExplanation


def explanation_data(explained: PodExplanation) -> dict[str, Any]:
    """Return everything for programs."""
    now, stored = explained.now, explained.stored
    grant = explained.grant
    return {
        "namespace": explained.pod.namespace,
        "name": explained.pod.name,
        "node": explained.node_name,
        "managed": explained.managed,
        "stored": _stored_data(stored, explained.unknown) if stored else None,
        "now": _now_data(now) | {"explanation": explained.cause} if now else None,
        "onlyShares": explained.only_shares,
        "qosClass": qos(explained.pod).value,
        "resizeHeldBack": explained.held_back,
        "free": [
            {
                "numaNode": row.node,
                "resource": row.resource,
                "free": _exact(row.resource, row.free),
                "grantable": _exact(row.resource, row.grantable),
                "others": _exact(row.resource, row.others),
            }
            for row in (now.free if now else ())
        ],
        "steps": [_step_data(step) for step in (now.steps if now else ())],
        "allocation": _allocation_data(explained, grant) if grant else None,
        "notes": list(now.remarks) if now else [],
        "changes": [_change_data(one) for one in (now.suggestions if now else ())],
        "changesTogether": [_change_data(one) for one in (now.together if now else ())],
    }


def _stored_data(stored: PodAllocation, unknown: str) -> dict[str, Any]:
    containers = [] if unknown else pod_allocation_status.render_status(stored.status)["containers"]
    return {
        "admitted": stored.decision.admitted,
        "reason": stored.decision.reason,
        "message": stored.decision.message,
        "explanation": stored.decision.explanation,
        "phase": stored.status.phase.value,
        "pendingResize": _pending_data(stored.decision.pending_resize),
        "containers": containers,
        "kernelUnknown": unknown,
    }


def _pending_data(pending: PendingResize | None) -> dict[str, str] | None:
    return None if pending is None else {"reason": pending.reason.value, "message": pending.message}


def _now_data(now: Explanation) -> dict[str, Any]:
    match now.decision:
        case Admitted():
            return {"admitted": True, "reason": pod_allocation.ADMITTED, "message": ""}
        case Rejected() as rejected:
            return {"admitted": False, "reason": rejected.reason.value, "message": rejected.message}


def _step_data(step: MergeStep) -> dict[str, Any]:
    return {
        "subject": step.subject,
        "sides": [
            {
                "resource": side.resource,
                "wanted": side.wanted,
                "free": side.free,
                "hints": None if side.hints is None else list(_hint_data(side.hints)),
            }
            for side in step.sides
        ],
        "merged": next(_hint_data([step.merged])) if step.merged else None,
    }


def _hint_data(hints: Iterable[TopologyHint]) -> Iterator[dict[str, Any]]:
    for hint in hints:
        yield {"numaNodes": _nodes(hint), "preferred": hint.preferred}


def _change_data(change: Suggestion) -> dict[str, str]:
    return {"where": change.where, "resource": change.resource, "now": change.now, "needed": change.needed}


def _allocation_data(explained: PodExplanation, grant: PodGrant) -> dict[str, Any]:
    decision = pod_allocation.Decision(admitted=True)
    return pod_allocation.render_spec(grant, explained.node_name, decision, numa=explained.numa)


def _exact(resource: str, amount: int) -> str:
    return str(amount) if resource == CPU else format_bytes(amount)


def _nodes(hint: TopologyHint) -> str:
    return "any" if hint.nodes is None else nodeset.render(hint.nodes)
