"""What can go wrong with a request to the API server, as a small tree of exceptions.

    KubeError                    everything below
    |- NotFoundError             the object is not there (404)
    |- ConflictError             the object was changed meanwhile (409)
    |  `- AlreadyExistsError     an object of that name exists (409, reason AlreadyExists)
    |- GoneError                 the resource version is too old (410)
    |- RefusedError              the request itself is wrong or not allowed (400, 401, 403, 422 ...)
    |- BusyError                 come back later (429); `retry_after` seconds if the server said so, a minute
    |  |                         at most
    |  `- WebhookError           an admission webhook that has to be asked does not answer (500)
    `- UncertainError            no clear answer (5xx, cut connection, deadline): a write may have happened

Callers decide by class, never by status number. Only UncertainError leaves open whether
a write took place; after it the state has to be read before anything is decided.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

_WEBHOOK = "failed calling webhook"  # what the API server's admission says, before anything is stored
_LONGEST = 600  # characters of a server's text that are kept
_LONGEST_PAUSE = 60.0  # seconds; what stands before a server may name hours, and be gone in one


class KubeError(Exception):
    """A request to the API server that did not succeed."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class NotFoundError(KubeError):
    """The object, or its kind, is not there."""


class ConflictError(KubeError):
    """The object is not in the state that the request assumes."""


class AlreadyExistsError(ConflictError):
    """An object of that name exists."""


class GoneError(KubeError):
    """The resource version is no longer known; list again."""


class RefusedError(KubeError):
    """Repeating the same request will not help."""


class BusyError(KubeError):
    """The server, or a disruption budget, asks to come back later; nothing was written."""


class WebhookError(BusyError):
    """A webhook did not answer whether this object is admitted; others may need none, or another one."""


class UncertainError(KubeError):
    """No clear answer; a write may or may not have happened."""


def may_be_about_one_object(error: KubeError) -> bool:
    """Tell whether others may be written all the same: the server has answered, and not that it is busy."""
    return isinstance(error, RefusedError | WebhookError) or (
        isinstance(error, UncertainError) and bool(error.status)
    )


_BY_STATUS: dict[int, type[KubeError]] = {
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: BusyError,
}


def from_answer(status: int, body: bytes | str, retry_after: str | None = None) -> KubeError:
    """Return the error for an HTTP answer of 400 or more; `body` is a Status object or any text."""
    reason, message = _words(body)
    kind = _BY_STATUS.get(status)
    if reason == "AlreadyExists":
        kind = AlreadyExistsError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and _WEBHOOK in message:
        kind = WebhookError
    if kind is None:
        kind = UncertainError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedError
    return kind(status, reason, message[:_LONGEST], _seconds(retry_after))


def no_answer(error: BaseException) -> UncertainError:
    """Return the error for a connection that failed or a deadline that passed."""
    return UncertainError(
        0, "NoAnswer", f"no answer from the API server: {type(error).__name__} {error}"[:_LONGEST]
    )


def _words(body: bytes | str) -> tuple[str, str]:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        status: Any = json.loads(text)
    except ValueError:
        return "", text.strip()
    if not isinstance(status, dict):
        return "", text.strip()
    return str(status.get("reason") or ""), str(status.get("message") or text.strip())


def _seconds(retry_after: str | None) -> float | None:
    try:
        return min(max(0.0, float(retry_after)), _LONGEST_PAUSE) if retry_after else None
    except ValueError:  # the header may also hold a date; the caller's own back-off serves then
        return None
