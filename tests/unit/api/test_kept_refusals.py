"""A refusal that is kept can be read back, and no other event is taken for one."""

import datetime as dt

import pytest
from podnuma.api.events import EventType, Involved, render_event
from podnuma.api.kept_refusals import (
    LONGEST_REFUSAL,
    SLOTS,
    KeptRefusal,
    read_kept_refusal,
    read_own_refusal,
    refusal_event,
)

KUBELET = "podnuma.dev/kubelet-message"
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
OWNER = Involved("apps/v1", "ReplicaSet", "shop", "web-1", "rs-1")
POD = Involved("v1", "Pod", "shop", "web-1-x", "pod-1")


def kept(node: str = "n1", cause: str = "needs 9 CPUs", words: str = "Resources cannot be allocated"):
    return refusal_event(OWNER, POD, node, "TopologyAffinityError", cause, words)


def test_what_is_kept_is_read_back():
    rendered = render_event(kept(), NOW, NOW - dt.timedelta(minutes=5), 7)
    assert rendered["message"] == "needs 9 CPUs (pod web-1-x on n1)"
    assert read_kept_refusal(rendered) == KeptRefusal(
        controller_uid="rs-1",
        pod="web-1-x",
        pod_uid="pod-1",
        node="n1",
        reason="TopologyAffinityError",
        cause="needs 9 CPUs",
        kubelet_message="Resources cannot be allocated",
        count=7,
        last_seen="2026-01-01T12:00:00Z",
    )
    assert rendered["firstTimestamp"] == "2026-01-01T11:55:00Z"


@pytest.mark.parametrize("audit", [True, False])
def test_a_pod_without_a_controller_keeps_its_own_refusal(audit):
    event = refusal_event(None, POD, "node-1", "InvalidSettings", "too large", "cannot", audit=audit)
    rendered = render_event(event, NOW)
    assert rendered["message"] == ("too large (on node-1, mode Audit)" if audit else "too large (on node-1)")
    assert rendered["involvedObject"]["kind"] == "Pod"
    for found in (read_kept_refusal(rendered), read_own_refusal(rendered)):
        assert found is not None
        assert (found.pod, found.pod_uid, found.node, found.cause) == (
            "web-1-x", "pod-1", "node-1", "too large",
        )  # fmt: skip


def test_what_an_earlier_operator_wrote_is_read_back():
    rendered = render_event(kept(), NOW) | {"message": "needs 9 CPUs (pod web-1-x on node n1)"}
    found = read_kept_refusal(rendered)
    assert found is not None
    assert found.cause == "needs 9 CPUs"


@pytest.mark.parametrize("cause", ["needs 9 CPUs", "needs 9 CPUs. " * 16, "x" * 250])
@pytest.mark.parametrize("node", ["n1", "n" * 253])
def test_a_kept_refusal_begins_with_its_cause_and_fits_in_one_line(cause, node):
    rendered = render_event(kept(node, cause), NOW)
    assert rendered["message"].startswith(cause)
    assert len(rendered["message"]) <= LONGEST_REFUSAL
    found = read_kept_refusal(rendered)
    assert found is not None
    assert (found.cause, found.pod, found.node) == (cause, "web-1-x", node)


def test_a_controller_has_a_name_for_few_events():
    assert len({kept(f"node-{number}").name for number in range(500)}) == SLOTS
    assert kept("n1", "this").name == kept("n1", "that").name


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"metadata": None, "reportingComponent": "podnuma-operator"},
        {"metadata": {"annotations": {KUBELET: "x"}}, "reportingComponent": "kubelet"},
        {
            "metadata": {"annotations": {KUBELET: 7}},
            "reportingComponent": "podnuma-operator",
        },
    ],
)
def test_other_events_are_no_refusals(event):
    assert read_kept_refusal(event) is None


def test_hostile_fields_of_an_event_are_read_as_absent():
    event = render_event(kept(), NOW) | {"source": [], "related": "x", "count": "many", "message": None}
    found = read_kept_refusal(event)
    assert found is not None
    assert (found.pod, found.pod_uid, found.node, found.count, found.cause) == ("", "", "", 1, "")


def test_types_are_events_that_people_are_warned_by():
    assert kept().type is EventType.WARNING
