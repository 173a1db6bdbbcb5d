"""What kubectl prints while it watches."""

import json

from testbed.e2e.cluster import _documents

EVENTS = [
    {"type": "ADDED", "object": {"spec": {"a": {}}, "status": {}}},
    {"type": "DELETED", "object": {"spec": {"b": "}"}}},
]


def test_objects_are_read_as_soon_as_they_are_complete_on_one_line_or_on_several():
    for indent in (None, 4):
        lines = "".join(json.dumps(event, indent=indent) + "\n" for event in EVENTS).splitlines(keepends=True)
        assert list(_documents(lines)) == EVENTS
        assert next(_documents(iter(lines))) == EVENTS[0]
    assert list(_documents(['{"cut": {}\n'])) == []
