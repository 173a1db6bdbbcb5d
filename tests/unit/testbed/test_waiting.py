"""Waiting ends with the fact, or with a text that says what was seen last."""

from __future__ import annotations

import pytest

from testbed.waiting import until


def test_the_value_that_was_waited_for_is_returned():
    answers = iter([None, 0, "", "here"])
    assert until(lambda: next(answers), "an answer", 5, every=0) == "here"


def test_timeout_names_what_was_waited_for_and_the_last_answer():
    with pytest.raises(TimeoutError, match=r"waited 0 s for the moon; last answer: None"):
        until(lambda: None, "the moon", 0)


def test_an_assertion_counts_as_not_yet_and_becomes_the_cause():
    def check() -> bool:
        raise AssertionError("phase is Pending")

    with pytest.raises(TimeoutError, match="phase is Pending") as raised:
        until(check, "phase Applied", 0)
    assert isinstance(raised.value.__cause__, AssertionError)


def test_other_exceptions_pass_through():
    def check() -> bool:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        until(check, "anything", 5)
