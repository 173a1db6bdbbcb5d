"""A pure function that remembers its last result: most calls repeat the call before.

Arguments are compared by value, so a result never belongs to other arguments. Arguments and results must not
be modified.
"""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")


class Remembered(Generic[P, A]):
    """Calls `function` unless it is called as the last time."""

    def __init__(self, function: Callable[P, A]) -> None:
        self._function = function
        self._last: tuple[object, A] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        question = args, kwargs
        if self._last is None or self._last[0] != question:
            self._last = question, self._function(*args, **kwargs)
        return self._last[1]
