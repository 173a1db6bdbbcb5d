"""A pure function that knows its last answer: what is asked again and again is mostly the same question.

Questions are compared by their values, so an answer is never that of another question. Nobody may change what
questions and answers are made of.
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
