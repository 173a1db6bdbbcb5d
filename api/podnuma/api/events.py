"""Events: what podnuma tells people about their pods and nodes, as ``kubectl describe`` shows it.

An event's name follows from what it says and about which object, so that the API server stores
the same event once, however often it is recorded. An event with a *slot* is named after the slot
instead: a later one takes its place.
"""

import datetime as dt
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from podnuma.api import names
from podnuma.api.conditions import timestamp

LONGEST_MESSAGE: Final = 1024
"""Characters that the API server takes."""


class EventType(enum.Enum):
    """The two types that Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an event is about. ``namespace`` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``component`` is the field manager's name of the program that records it.

    ``related`` is another object that it is about, ``node`` where it happened, ``slot`` what a later event
    of the same object replaces.
    """

    involved: Involved
    type: EventType
    reason: str
    message: str
    component: str
    related: Involved | None = None
    node: str = ""
    slot: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def name(self) -> str:
        """The name of the stored event: equal for equal events, and for those of one slot."""
        what = (self.slot,) if self.slot else (self.reason, self.message)
        told = ascii((self.involved.uid, self.component, *what))
        return f"{names.beginning(self.involved.name, 200)}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @property
    def namespace(self) -> str:
        """Where the event is stored: with its object, or in "default" for cluster-scoped ones."""
        return self.involved.namespace or "default"


def render_event(
    event: Event, now: dt.datetime, first: dt.datetime | None = None, count: int = 1
) -> dict[str, Any]:
    """Render the JSON of a v1 Event that is recorded ``now``, for the ``count``-th time since ``first``."""
    metadata: dict[str, Any] = {"name": event.name, "namespace": event.namespace}
    if event.annotations:
        metadata["annotations"] = dict(event.annotations)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": _reference(event.involved),
        "type": event.type.value,
        "reason": event.reason[:128],
        "message": event.message[:LONGEST_MESSAGE],
        "source": {"component": event.component, **({"host": event.node} if event.node else {})},
        "reportingComponent": event.component,
        "reportingInstance": event.component,
        "firstTimestamp": timestamp(first or now),
        "lastTimestamp": timestamp(now),
        "count": count,
    }
    if event.related is not None:
        body["related"] = _reference(event.related)
    return body


def _reference(involved: Involved) -> dict[str, str]:
    within = {"namespace": involved.namespace} if involved.namespace else {}
    return {
        "apiVersion": involved.api_version,
        "kind": involved.kind,
        "name": involved.name,
        "uid": involved.uid,
        **within,
    }
