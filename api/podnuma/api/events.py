"""Events: what podnuma tells people about their pods and nodes, as ``kubectl describe`` shows it.

An event's name follows from what it says and about whom, so that saying the same thing again
updates one object instead of adding another: the caller reads ``count`` and ``first_time`` back
from the stored event if there is one.
"""

import datetime as dt
import enum
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from podnuma.api.conditions import timestamp
from podnuma.api.decoding import FieldErrors, Fields, integer, subject, text

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
    """One thing to tell. ``component`` is the field manager's name of the speaker."""

    involved: Involved
    type: EventType
    reason: str
    message: str
    component: str

    @property
    def name(self) -> str:
        """The name of the stored event: equal for equal events."""
        told = ascii((self.involved.uid, self.component, self.reason, self.message))
        return f"{self.involved.name[:200]}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @property
    def namespace(self) -> str:
        """Where the event is stored: with its object, or in "default" for cluster-scoped ones."""
        return self.involved.namespace or "default"


@dataclass(frozen=True, slots=True)
class Told:
    """How often, and when first, an event has been told before. ``first_time`` is RFC 3339."""

    count: int = 0
    first_time: str = ""


def render_event(event: Event, now: dt.datetime, before: Told = Told()) -> dict[str, Any]:
    """Render the JSON of a v1 Event that is told ``now``, having been told ``before``."""
    moment = timestamp(now)
    involved = {
        "apiVersion": event.involved.api_version,
        "kind": event.involved.kind,
        "name": event.involved.name,
        "uid": event.involved.uid,
    }
    if event.involved.namespace:
        involved["namespace"] = event.involved.namespace
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event.name, "namespace": event.namespace},
        "involvedObject": involved,
        "type": event.type.value,
        "reason": event.reason[:128],
        "message": event.message[:LONGEST_MESSAGE],
        "source": {"component": event.component},
        "reportingComponent": event.component,
        "reportingInstance": event.component,
        "firstTimestamp": before.first_time or moment,
        "lastTimestamp": moment,
        "count": before.count + 1,
    }


def read_told(value: Any) -> Told:
    """Read from a stored event how often it has been told. Raises ``InvalidObjectError``."""
    errors = FieldErrors()
    fields = Fields.of(value, "", errors)
    told = Told(
        count=fields.optional("count", integer(0, 2**31 - 2), 0),
        first_time=fields.optional("firstTimestamp", text(64), ""),
    )
    errors.check(subject("Event", value))
    return told
