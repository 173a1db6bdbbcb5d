"""Events: what podnuma tells people about their pods and nodes, as ``kubectl describe`` shows it.

An event's name follows from what it says and about which object, so that the API server stores
the same event once, however often it is recorded.
"""

import datetime as dt
import enum
import hashlib
from dataclasses import dataclass
from typing import Any, Final

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
    """One event. ``component`` is the field manager's name of the program that records it."""

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


def render_event(event: Event, now: dt.datetime) -> dict[str, Any]:
    """Render the JSON of a v1 Event that is recorded ``now``."""
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
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
