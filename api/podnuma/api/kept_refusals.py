"""Refusals that outlive their pods: events on the pod and on its controller, for as long as events are kept.

An evicted pod takes its PodAllocation with it. What it was refused for is told about its controller (a
ReplicaSet, StatefulSet, Job ...), which goes on: ``kubectl describe`` shows it there, and ``podnuma explain
deploy/NAME`` reads it back. A controller has at most ``SLOTS`` of them, the latest per slot; the API server
drops each an hour after the last time (its ``--event-ttl``). Of a pod without a controller the event about
the pod itself keeps the same.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import Reason
from podnuma.api import names
from podnuma.api.events import Event, EventType, Involved
from podnuma.api.node_conditions import NodeReason
from podnuma.api.resource_types import POD
from podnuma.api.stored_json import as_object, text_at

SLOTS: Final = 8

KUBELET_MESSAGE_ANNOTATION: Final = f"{names.GROUP}/kubelet-message"

LONGEST_NOTE: Final = 2048

LONGEST_REFUSAL: Final = 250
"""Characters of an event about a refusal, which kubectl shows in one line."""


_REASONS: Final = frozenset((*Reason, NodeReason.INVALID_SETTINGS))
_AT_NODE: Final = re.compile(r" \((?:on|node) ([^\s,]+)(?:, mode Audit)?\)$")
_BY_POD: Final = re.compile(r" \(pod \S+ on (?:node )?[^\s,]+(?:, mode Audit)?\)$")


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """A refusal of a pod. ``controller_uid``: of what it is told about; empty in ``read_own_refusal``.

    ``kubelet_message``: what the kubelet would have said. A StatefulSet gives the next pod the same name:
    only ``pod_uid`` tells them apart.
    """

    controller_uid: str
    pod: str
    pod_uid: str
    node: str
    reason: str
    cause: str
    kubelet_message: str = ""
    count: int = 1
    last_seen: str = ""


def refusal_event(  # noqa: PLR0913 - what it tells, and of whom
    controller: Involved | None,
    pod: Involved,
    node: str,
    reason: str,
    cause: str,
    kubelet_message: str,
    *,
    audit: bool = False,
) -> Event:
    """Return the event that keeps a refusal, about the controller, or about a pod that has none.

    Refusals on one node share a slot of the controller.
    """
    slot = f"refusal-{hashlib.sha256(node.encode()).digest()[0] % SLOTS}" if controller is not None else ""
    return Event(
        involved=controller or pod,
        type=EventType.WARNING,
        reason=reason,
        message=refusal_message(cause, node, pod.name if controller is not None else "", audit=audit),
        component=names.OPERATOR_MANAGER,
        related=pod,
        node=node,
        slot=slot,
        annotations={KUBELET_MESSAGE_ANNOTATION: kubelet_message[:LONGEST_NOTE]},
    )


def read_kept_refusal(event: Mapping[str, Any]) -> KeptRefusal | None:
    """Read the refusal that an event keeps; None of an event about something else."""
    annotations = as_object(as_object(event.get("metadata")).get("annotations"))
    words = annotations.get(KUBELET_MESSAGE_ANNOTATION)
    if event.get("reportingComponent") != names.OPERATOR_MANAGER or not isinstance(words, str):
        return None
    related = as_object(event.get("related"))
    message = text_at(event, "message")
    where = _BY_POD.search(message) or _AT_NODE.search(message)
    count = event.get("count")
    return KeptRefusal(
        controller_uid=text_at(as_object(event.get("involvedObject")), "uid"),
        pod=text_at(related, "name"),
        pod_uid=text_at(related, "uid"),
        node=text_at(as_object(event.get("source")), "host"),
        reason=text_at(event, "reason"),
        cause=message[: where.start()] if where else message,
        kubelet_message=words,
        count=count if isinstance(count, int) else 1,
        last_seen=text_at(event, "lastTimestamp"),
    )


def read_own_refusal(event: Mapping[str, Any]) -> KeptRefusal | None:
    """Read the refusal that an event about the pod itself tells; None of an event about something else.

    The node is empty where a long cause left no room for it.
    """
    involved = as_object(event.get("involvedObject"))
    reason, message = text_at(event, "reason"), text_at(event, "message")
    told = event.get("reportingComponent") == names.OPERATOR_MANAGER and involved.get("kind") == POD.kind
    if not told or reason not in _REASONS:
        return None
    where = _AT_NODE.search(message)
    count = event.get("count")
    return KeptRefusal(
        controller_uid="",
        pod=text_at(involved, "name"),
        pod_uid=text_at(involved, "uid"),
        node=where[1] if where else "",
        reason=reason,
        cause=message[: where.start()] if where else message,
        count=count if isinstance(count, int) else 1,
        last_seen=text_at(event, "lastTimestamp"),
    )


def refusal_message(cause: str, node: str, pod: str = "", *, audit: bool = False) -> str:
    """Return the text of an event about a refusal: the cause first, then where it was if there is room.

    ``audit``: nothing comes of it, as the node's mode is Audit.
    """
    where = f" ({f'pod {pod} ' if pod else ''}on {node}{', mode Audit' if audit else ''})"
    return cause + where if len(cause) + len(where) <= LONGEST_REFUSAL else cause[:LONGEST_REFUSAL]
