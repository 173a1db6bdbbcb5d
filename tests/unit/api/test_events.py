"""Telling the same thing again updates one event."""

import datetime as dt
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from podnuma.api.events import Event, EventType, Involved, render_event

NOON = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
POD = Involved("v1", "Pod", "shop", "database", "u1")
EVENT = Event(POD, EventType.WARNING, "TopologyAffinityError", "does not fit", "podnuma-operator")


def test_the_first_telling():
    body = render_event(EVENT, NOON)
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "database",
        "uid": "u1",
    }
    assert body["metadata"] == {"name": EVENT.name, "namespace": "shop"}
    assert (body["type"], body["reason"], body["count"]) == ("Warning", "TopologyAffinityError", 1)
    assert (body["firstTimestamp"], body["lastTimestamp"]) == ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z")


def test_the_name_follows_from_what_is_told_about_whom():
    assert EVENT.name == replace(EVENT, type=EventType.NORMAL).name
    assert EVENT.name.startswith("database.")
    for other in (
        replace(EVENT, message="does not fit still"),
        replace(EVENT, reason="SMTAlignmentError"),
        replace(EVENT, involved=replace(POD, uid="u2")),
        replace(EVENT, component="podnuma-agent"),
    ):
        assert other.name != EVENT.name


def test_events_about_cluster_scoped_objects_lie_in_default():
    node = Involved("v1", "Node", "", "w1", "u")
    body = render_event(replace(EVENT, involved=node), NOON)
    assert body["metadata"]["namespace"] == "default"
    assert "namespace" not in body["involvedObject"]


@given(st.text(max_size=300), st.text(max_size=3000))
def test_names_and_messages_stay_within_the_limits_of_the_api_server(name, message):
    body = render_event(replace(EVENT, involved=replace(POD, name=name), message=message), NOON)
    assert len(body["metadata"]["name"]) <= 253
    assert len(body["message"]) <= 1024


# What an API server takes for a name.
SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


@given(st.from_regex(SUBDOMAIN, fullmatch=True), st.integers(190, 210))
def test_the_name_of_an_event_is_one_wherever_that_of_its_object_is_cut(name, length):
    """Yelp/task_processing#222, kite-org/kite#385: "some.-uid" is refused."""
    long = f"{'a' * (length - 1)}{name}"
    for cut in (long, f"{'a' * length}.{name}", f"{'a' * (length - 1)}-a.{name}"):
        assert re.fullmatch(SUBDOMAIN, replace(EVENT, involved=replace(POD, name=cut)).name)
