"""Kopf leaves no trace in the cluster, and every event reaches the intake."""

import asyncio
from typing import Any

import kopf
from podnuma.operator.cache.kinds import FIELD_SELECTORS, Kind
from podnuma.operator.cache.objects import ObjectKey, ObjectVersion
from podnuma.operator.watch import kopf_handlers

from tests.unit.operator.rig import pod, profile


class Notes:
    def __init__(self):
        self.seen_records = []
        self.ended_objects = []
        self.cached = set()

    def updated(self, kind, record):
        self.seen_records.append((kind, record))

    def deleted(self, kind, key, version):
        self.ended_objects.append((kind, key, version))

    def is_cached(self, kind, key, version):
        return (kind, key, version) in self.cached


async def no_login():
    raise AssertionError("nobody logs in here")


def test_nothing_but_plain_event_handlers_is_registered():
    registry = kopf_handlers.registry(Notes(), no_login)
    assert len(registry._watching._handlers) == len(Kind)
    assert not registry._changing._handlers
    assert not registry._spawning._handlers
    assert not registry._indexing._handlers
    assert not registry._webhooks._handlers


def test_settings_leave_no_events_no_annotations_and_no_endless_watch():
    settings = kopf_handlers.kopf_settings(500)
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.peering.standalone is True
    assert settings.watching.chunk_size == 500
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout
    body = kopf.Body({"metadata": {"annotations": {"a": "b"}}, "spec": {"x": 1}})
    assert settings.persistence.diffbase_storage.build(body=body) == {}
    assert settings.persistence.diffbase_storage.fetch(body=body) is None


def test_pods_that_hold_nothing_are_kept_away_by_the_server():
    selector = FIELD_SELECTORS[Kind.POD]
    assert selector == "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


def handle(notes, kind, event):
    registry = kopf_handlers.registry(notes, no_login)
    index = list(Kind).index(kind)
    see: Any = registry._watching._handlers[index].fn
    asyncio.run(see(event=event))


def test_an_event_becomes_a_record():
    notes = Notes()
    value = pod(uid="u1", resourceVersion="7")
    handle(notes, Kind.POD, {"type": "ADDED", "object": value})
    ((kind, record),) = notes.seen_records
    assert (kind, record.key, record.version) == (
        Kind.POD,
        ObjectKey("default", "db"),
        ObjectVersion("u1", 7),
    )


def test_the_answer_to_an_own_write_is_not_decoded_once_more():
    notes = Notes()
    notes.cached.add((Kind.POD, ObjectKey("default", "db"), ObjectVersion("u1", 7)))
    handle(notes, Kind.POD, {"type": "MODIFIED", "object": pod(uid="u1", resourceVersion="7")})
    assert notes.seen_records == [(Kind.POD, None)]
    for version, uid in (("8", "u1"), ("6", "u1"), ("7", "u2")):
        handle(notes, Kind.POD, {"type": "MODIFIED", "object": pod(uid=uid, resourceVersion=version)})
        assert notes.seen_records[-1][1].version == ObjectVersion(uid, int(version))


def test_an_object_that_cannot_matter_becomes_a_sign_of_life():
    notes = Notes()
    value = pod()
    value["status"]["qosClass"] = "BestEffort"
    handle(notes, Kind.POD, {"type": None, "object": value})
    assert notes.seen_records == [(Kind.POD, None)]


def test_an_end_is_told_with_name_and_uid():
    notes = Notes()
    value = profile("gone")
    value["metadata"] |= {"uid": "u9", "resourceVersion": "12"}
    handle(notes, Kind.PROFILE, {"type": "DELETED", "object": value})
    assert notes.ended_objects == [(Kind.PROFILE, ObjectKey("", "gone"), ObjectVersion("u9", 12))]
