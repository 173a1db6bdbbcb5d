"""Refusals that outlive their pods: events on the pod and on its controller, for as long as events are kept.

An evicted pod takes its PodAllocation with it. What it was refused for is told about its controller (a
ReplicaSet, StatefulSet, Job ...), which goes on: ``kubectl describe`` shows it there, and ``podnuma explain
deploy/NAME`` reads it back. A controller has at most ``SLOTS`` of them, the latest per slot; the API server
drops each an hour after the last time (its ``--event-ttl``). Of a pod without a controller only the event
about the pod itself is left.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import Reason
from podnuma.api import names
from podnuma.api.events import Event, EventType, Involved
from podnuma.api.node_topology import NodeReason
from podnuma.api.resource_types import POD

SLOTS: Final = 8

KUBELET_MESSAGE_ANNOTATION: Final = f"{names.GROUP}/kubelet-message"

LONGEST_NOTE: Final = 2048

LONGEST_REFUSAL: Final = 250
"""Characters of an event about a refusal, which kubectl shows in one line."""


_REASONS: Final = frozenset((*Reason, NodeReason.INVALID_SETTINGS))
_AT_NODE: Final = re.compile(r" \(node (\S+)\)$")


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """A refusal of a pod. ``controller_uid`` is empty if the event is about the pod itself.

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


def refusal_event(
    controller: Involved, pod: Involved, node: str, reason: str, cause: str, kubelet_message: str
) -> Event:
    """Return the event that keeps a refusal; refusals on one node share a slot."""
    return Event(
        involved=controller,
        type=EventType.WARNING,
        reason=reason,
        message=refusal_message(cause, node, pod.name),
        component=names.OPERATOR_MANAGER,
        related=pod,
        node=node,
        slot=f"refusal-{hashlib.sha256(node.encode()).digest()[0] % SLOTS}",
        annotations={KUBELET_MESSAGE_ANNOTATION: kubelet_message[:LONGEST_NOTE]},
    )


def read_kept_refusal(event: Mapping[str, Any]) -> KeptRefusal | None:
    """Read the refusal that an event keeps; None of an event about something else."""
    annotations = _mapping(_mapping(event.get("metadata")).get("annotations"))
    words = annotations.get(KUBELET_MESSAGE_ANNOTATION)
    if event.get("reportingComponent") != names.OPERATOR_MANAGER or not isinstance(words, str):
        return None
    related = _mapping(event.get("related"))
    pod = _text(related, "name")
    node = _text(_mapping(event.get("source")), "host")
    count = event.get("count")
    return KeptRefusal(
        controller_uid=_text(_mapping(event.get("involvedObject")), "uid"),
        pod=pod,
        pod_uid=_text(related, "uid"),
        node=node,
        reason=_text(event, "reason"),
        cause=_text(event, "message").removesuffix(_where(node, pod)),
        kubelet_message=words,
        count=count if isinstance(count, int) else 1,
        last_seen=_text(event, "lastTimestamp"),
    )


def read_own_refusal(event: Mapping[str, Any]) -> KeptRefusal | None:
    """Read the refusal that an event about the pod itself tells; None of an event about something else.

    The node is empty where a long cause left no room for it.
    """
    involved = _mapping(event.get("involvedObject"))
    reason, message = _text(event, "reason"), _text(event, "message")
    told = event.get("reportingComponent") == names.OPERATOR_MANAGER and involved.get("kind") == POD.kind
    if not told or reason not in _REASONS:
        return None
    where = _AT_NODE.search(message)
    count = event.get("count")
    return KeptRefusal(
        controller_uid="",
        pod=_text(involved, "name"),
        pod_uid=_text(involved, "uid"),
        node=where[1] if where else "",
        reason=reason,
        cause=message[: where.start()] if where else message,
        count=count if isinstance(count, int) else 1,
        last_seen=_text(event, "lastTimestamp"),
    )


def refusal_message(cause: str, node: str, pod: str = "") -> str:
    """Return the text of an event about a refusal: the cause first, then where it was if there is room."""
    where = _where(node, pod)
    return cause + where if len(cause) + len(where) <= LONGEST_REFUSAL else cause[:LONGEST_REFUSAL]


def _where(node: str, pod: str) -> str:
    return f" (pod {pod} on node {node})" if pod else f" (node {node})"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""
