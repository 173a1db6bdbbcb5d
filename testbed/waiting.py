"""Poll for a condition with a deadline, instead of sleeping for a fixed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


def until(check: Callable[[], Value | None], what: str, timeout: float, every: float = 0.05) -> Value:
    """Call `check` until it returns something true and return that.

    `timeout` and `every` are seconds. Raises TimeoutError naming `what` and the last answer; an
    AssertionError of `check` counts as "not yet" and becomes the cause.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    cause: AssertionError | None = None
    while True:
        try:
            value = check()
        except AssertionError as error:
            last, cause = error, error
        else:
            if value:
                return value
            last, cause = value, None
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last answer: {last!s:.600}") from cause
        time.sleep(every)
