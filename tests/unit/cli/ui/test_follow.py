"""Lists, watches, and what happens when they break."""

import asyncio

import pytest
from podnuma.cli.objects import queries
from podnuma.cli.ui import follow as module
from podnuma.cli.ui.follow import follow_objects
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Version

from tests.unit.cli.builders import topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def topology(name, version):
    value = topology_object(EPYC, name=name)
    value["metadata"]["resourceVersion"] = version
    return value


class Reader:
    """Plays lists and watches; the last watch never ends."""

    def __init__(self, lists, watches):
        self.lists, self.watches = list(lists), list(watches)
        self.watched = []
        self.done = asyncio.Event()

    async def pages(self, *_, **__):
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        yield found, Version("10")

    async def watch(self, *_, version, **__):
        self.watched.append(version)
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF", Backoff(first=0.001, limit=0.002))


async def played(lists, watches):
    live, reader = LiveObjects(), Reader(lists, watches)
    task = asyncio.create_task(follow_objects(reader, queries.node_topologies(), live))
    await asyncio.wait_for(reader.done.wait(), 10)
    task.cancel()
    return live, reader


async def test_events_change_what_is_known():
    added, gone = topology("b", "11"), topology("a", "12")
    live, reader = await played(
        [[topology("a", "5")]], [[{"type": "ADDED", "object": added}, {"type": "DELETED", "object": gone}]]
    )
    assert list(live.topologies) == ["b"]
    assert reader.watched == ["10", "12"]


async def test_a_bookmark_moves_the_version_alone():
    mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}}
    live, reader = await played([[topology("a", "5")]], [[mark]])
    assert list(live.topologies) == ["a"]
    assert reader.watched == ["10", "40"]


async def test_a_version_that_is_too_old_is_listed_again():
    live, reader = await played(
        [[topology("a", "5")], [topology("b", "9")]], [[errors.GoneError(410, "Expired", "")]]
    )
    assert list(live.topologies) == ["b"]
    assert reader.watched == ["10", "10"]


async def test_a_lost_connection_keeps_what_is_known_and_goes_on_from_there():
    live, reader = await played([[topology("a", "5")]], [[errors.UncertainError(0, "NoAnswer", "reset")]])
    assert list(live.topologies) == ["a"]
    assert reader.watched == ["10", "10"]
    assert live.problems == {"nodetopologies.podnuma.dev": ""}


async def test_a_right_that_is_missing_is_said_until_it_is_there():
    refused = errors.RefusedError(403, "Forbidden", "you may not list")
    live = LiveObjects()
    reader = Reader([refused, []], [])
    task = asyncio.create_task(follow_objects(reader, queries.node_topologies(), live))
    with live.subscribed() as changes:
        await asyncio.wait_for(changes.wait(), 5)
        said = list(live.problems.values())
    await asyncio.wait_for(reader.done.wait(), 5)
    task.cancel()
    assert said == ["nodetopologies.podnuma.dev: you may not list"]
    assert live.problems == {"nodetopologies.podnuma.dev": ""}
