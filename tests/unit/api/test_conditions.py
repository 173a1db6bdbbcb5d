"""Conditions keep their times, and kubectl wait, Argo CD and Flux understand them."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from podnuma.api.conditions import (
    Condition,
    Readiness,
    Status,
    find,
    holds,
    merged,
    read_conditions,
    readiness,
    render_conditions,
    timestamp,
)
from podnuma.api.decoding import FieldErrors, Fields, InvalidObjectError

NOON = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(minutes=5)


def kstatus(generation: int, status: dict[str, Any]) -> str:
    """The generic rules of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus), for kinds it does not know."""
    if status.get("observedGeneration", generation) != generation:
        return "InProgress"
    state = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
    if state.get("Reconciling") == "True":
        return "InProgress"
    if state.get("Stalled") == "True":
        return "Failed"
    if "Ready" in state:
        return "Current" if state["Ready"] == "True" else "InProgress"
    return "Current"


@pytest.mark.parametrize("state", list(Readiness))
def test_kstatus_sees_the_readiness_that_is_meant(state):
    conditions = merged([], readiness(state, "Because", "of this", 4), NOON)
    status = {"observedGeneration": 4, "conditions": render_conditions(conditions)}
    assert kstatus(4, status) == state.value
    assert kstatus(5, status) == "InProgress"


@pytest.mark.parametrize("state", list(Readiness))
def test_kubectl_wait_for_ready_ends_only_when_current(state):
    conditions = readiness(state, "Because", "of this", 4)
    assert holds(conditions, "Ready") is (state is Readiness.CURRENT)


def test_the_time_of_a_condition_changes_with_its_status_only():
    (first,) = merged([], [Condition("Ready", Status.FALSE, "A", "one", 1)], NOON)
    assert first.last_transition_time == "2026-05-01T12:00:00Z"
    (second,) = merged([first], [Condition("Ready", Status.FALSE, "B", "two", 2)], LATER)
    assert second == replace(first, reason="B", message="two", observed_generation=2)
    (third,) = merged([second], [Condition("Ready", Status.TRUE, "B", "two", 2)], LATER)
    assert third.last_transition_time == "2026-05-01T12:05:00Z"


def test_conditions_of_other_writers_are_not_repeated():
    other = Condition("AgentReady", Status.TRUE, "A", last_transition_time="2026-05-01T12:00:00Z")
    assert [c.type for c in merged([other], [Condition("Ready", Status.TRUE, "A")], NOON)] == ["Ready"]


def test_conditions_come_in_one_order():
    new = [Condition(kind, Status.TRUE, "A") for kind in ("Stalled", "Ready", "Alpha")]
    assert [c.type for c in merged([], new, NOON)] == ["Ready", "Alpha", "Stalled"]
    assert merged([], new, NOON) == merged([], reversed(new), NOON)


def test_times_are_utc_whole_seconds():
    east = dt.timezone(dt.timedelta(hours=2))
    assert timestamp(dt.datetime(2026, 5, 1, 14, 0, 1, 999, tzinfo=east)) == "2026-05-01T12:00:01Z"
    with pytest.raises(ValueError, match="zone"):
        timestamp(dt.datetime(2026, 5, 1))  # noqa: DTZ001 - the point of the test


def test_conditions_are_read_as_they_were_rendered():
    conditions = merged(
        [], [Condition("Ready", Status.UNKNOWN, "A", "b", 3), Condition("X", Status.TRUE, "C")], NOON
    )
    status = Fields.of({"conditions": render_conditions(conditions)}, "status", FieldErrors())
    assert read_conditions(status) == conditions
    assert status.errors.found == []


def test_a_bad_condition_is_named():
    status = Fields.of(
        {"conditions": [{"type": "Ready", "status": "Maybe", "reason": "A"}]}, "status", FieldErrors()
    )
    read_conditions(status)
    with pytest.raises(
        InvalidObjectError, match=r'conditions\[0\].status "Maybe": must be one of True, False'
    ):
        status.errors.check("Node a")


def test_a_condition_that_is_not_there_does_not_hold():
    assert find([], "Ready") is None
    assert not holds([], "Ready")
    assert not holds([Condition("Ready", Status.UNKNOWN, "A")], "Ready")


def test_a_status_is_not_taken_for_a_boolean():
    with pytest.raises(TypeError, match="three states"):
        bool(Status.FALSE)
    assert [Status.of(value) for value in (True, False, None)] == [Status.TRUE, Status.FALSE, Status.UNKNOWN]
