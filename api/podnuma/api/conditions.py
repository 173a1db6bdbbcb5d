"""Status conditions, in the form that kubectl wait, Argo CD and Flux (kstatus) understand.

A condition keeps its ``lastTransitionTime`` as long as its status stays the same; the time of a
change is passed in. ``readiness`` is the one way to say how an object stands: ``Ready`` sums up,
and where a person or program has to wait or to act, ``Reconciling`` or ``Stalled`` is there and
true. kstatus reads them in this order: a stale ``observedGeneration`` or ``Reconciling`` true is
in progress, ``Stalled`` true is failed, ``Ready`` true is current, any other ``Ready`` in progress.
"""

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from podnuma.api.decoding import FieldErrors, Fields, choice, integer, text

MAX_CONDITIONS: Final = 32

UNSEEN: Final = "1970-01-01T00:00:00Z"
"""``lastTransitionTime`` of the conditions that the API server fills in before anybody has looked."""

UNREADABLE: Final = "Unreadable"
"""The reason of a stored condition that cannot be read."""

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"


class Status(enum.Enum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"

    def __bool__(self) -> bool:
        raise TypeError("a condition has three states; compare with Status.TRUE")

    @classmethod
    def of(cls, holds: bool | None) -> "Status":  # noqa: FBT001 - the argument is the meaning
        """Return TRUE, FALSE, or UNKNOWN for ``None``."""
        return cls.UNKNOWN if holds is None else cls.TRUE if holds else cls.FALSE


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. ``reason`` is a word for programs, ``message`` a sentence for people.

    ``last_transition_time`` is RFC 3339 in UTC; empty until ``merged`` has set it.
    """

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: str = ""


class Readiness(enum.Enum):
    """How an object stands as a whole, in the words of kstatus."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"


def readiness(state: Readiness, reason: str, message: str, generation: int | None) -> tuple[Condition, ...]:
    """Return the conditions that say how an object stands: ``Ready``, and what it waits for or fails at."""
    ready = Condition(READY, Status.of(state is Readiness.CURRENT), reason, message, generation)
    match state:
        case Readiness.CURRENT:
            return (ready,)
        case Readiness.IN_PROGRESS:
            return (ready, replace(ready, type=RECONCILING, status=Status.TRUE))
        case Readiness.FAILED:
            return (ready, replace(ready, type=STALLED, status=Status.TRUE))


def timestamp(now: dt.datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times. ``now`` must know its zone."""
    if now.tzinfo is None:
        raise ValueError("a time without a zone says nothing")
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(old: Iterable[Condition], new: Iterable[Condition], now: dt.datetime) -> tuple[Condition, ...]:
    """Return ``new`` with transition times: kept from ``old`` where type and status are equal, else ``now``.

    ``old`` may hold conditions of other writers; they are not part of the answer, since each
    writer applies its own. Sorted by type, ``Ready`` first, so that equal input gives equal output.
    """
    before = {condition.type: condition for condition in old}
    moment = timestamp(now)
    result = []
    for condition in new:
        known = before.get(condition.type)
        same = known is not None and known.status is condition.status and known.last_transition_time
        result.append(replace(condition, last_transition_time=same or moment))
    return tuple(sorted(result, key=lambda condition: (condition.type != READY, condition.type)))


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of a type."""
    return next((condition for condition in conditions if condition.type == kind), None)


def holds(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of a type is there and true."""
    condition = find(conditions, kind)
    return condition is not None and condition.status is Status.TRUE


def read_conditions(status: Fields) -> tuple[Condition, ...]:
    """Read the conditions of the status at ``status``.

    One without a type is left out. Any other that cannot be read is Unknown, which is not False: who goes
    on only while something does not hold must not go on then.
    """
    found: list[Condition] = []
    for item in status.items("conditions", MAX_CONDITIONS):
        before = item.errors.count
        condition = Condition(
            type=item.required("type", text(316, shortest=1), ""),
            status=item.required("status", choice(Status), Status.UNKNOWN),
            reason=item.required("reason", text(1024, shortest=1), ""),
            message=item.optional("message", text(32768), ""),
            observed_generation=item.maybe("observedGeneration", integer()),
            last_transition_time=item.optional("lastTransitionTime", text(64), ""),
        )
        if item.errors.count > before:
            condition = Condition(condition.type, Status.UNKNOWN, UNREADABLE, "this condition cannot be read")
        if condition.type:
            found.append(condition)
    return tuple(found)


def stored_conditions(value: Any) -> tuple[Condition, ...]:
    """Return the conditions in the status of an object that may be unreadable otherwise."""
    return read_conditions(Fields.of(value, "", FieldErrors()).fields("status"))


def render_conditions(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Render the JSON of conditions that have their transition time."""
    return [_render(condition) for condition in conditions]


def _render(condition: Condition) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason,
        "message": condition.message[:32768],
        "lastTransitionTime": condition.last_transition_time or UNSEEN,
    }
    if condition.observed_generation is not None:
        body["observedGeneration"] = condition.observed_generation
    return body
