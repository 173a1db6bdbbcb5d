"""Events inform; they never hold anything up."""

import asyncio

from podnuma.api.events import EventType, Involved
from podnuma.operator.write.event_recorder import EventRecorder
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.virtual import virtual

POD = Involved("v1", "Pod", "default", "db", "uid-1")


def announcer(cluster):
    dropped = []
    found = EventRecorder(cluster, cluster.now, lambda: dropped.append(1))
    asyncio.create_task(found.run())  # noqa: RUF006 - ends with the test's loop
    return found, dropped


@virtual
async def test_the_same_thing_told_twice_is_one_event():
    cluster = FakeCluster()
    found, dropped = announcer(cluster)
    for _ in range(3):
        found.record(POD, EventType.WARNING, "Reason", "message")
    await asyncio.sleep(1)
    assert len(cluster.events) == 1
    assert dropped == []


@virtual
async def test_an_event_that_fails_for_a_while_is_posted_later():
    cluster = FakeCluster()
    failures = iter([True, True, False])

    def fault(moment, _):
        if moment == "before" and next(failures, False):
            raise errors.BusyError(429, "TooManyRequests", "later")

    cluster.fault = fault
    found, dropped = announcer(cluster)
    found.record(POD, EventType.WARNING, "Reason", "message")
    await asyncio.sleep(10)
    assert len(cluster.events) == 1
    assert dropped == []


@virtual
async def test_a_refused_event_is_dropped_and_the_next_one_told():
    cluster = FakeCluster()
    refuse = iter([True])

    def fault(moment, _):
        if moment == "before" and next(refuse, False):
            raise errors.RefusedError(403, "Forbidden", "namespace is being terminated")

    cluster.fault = fault
    found, dropped = announcer(cluster)
    found.record(POD, EventType.WARNING, "First", "message")
    found.record(POD, EventType.WARNING, "Second", "message")
    await asyncio.sleep(1)
    assert [event["reason"] for event in cluster.events] == ["Second"]
    assert dropped == [1]


@virtual
async def test_a_flood_is_cut_and_counted():
    cluster = FakeCluster()
    found, dropped = announcer(cluster)
    for number in range(6000):
        found.record(POD, EventType.NORMAL, "Reason", f"message {number}")
    assert len(dropped) == 1000
