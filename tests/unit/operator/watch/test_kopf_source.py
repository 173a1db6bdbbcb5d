"""What is handed over from Kopf's thread, and which kinds have to be listed."""

import asyncio
import random
import threading
from types import SimpleNamespace

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.credentials import ClientCredentials
from podnuma.operator.watch.kopf_source import KopfSource
from yarl import URL

from tests.unit.operator.rig import pod
from tests.unit.operator.virtual import virtual


class Sink:
    def __init__(self):
        self.news = []

    def on_update(self, record):
        self.news.append(("see", record))

    def on_delete(self, kind, key, version):
        self.news.append(("lose", kind, key, version))

    def is_cached(self, *_):
        return False


def watches(sink=None, clock=lambda: 0.0, **more):
    found = KopfSource(
        ClientCredentials(), sink or Sink(), page_size=500, clock=clock, rng=random.Random(1), **more
    )
    found._loop = asyncio.get_running_loop()
    return found


def begin(found, *kinds):
    for kind in kinds:
        found._watch_established(kind)


@virtual
async def test_a_kind_is_to_be_listed_once_its_watch_watch_established():
    found = watches()
    assert found.missing == frozenset(Kind)
    begin(found, Kind.POD)
    assert await found.unlisted() == {Kind.POD}
    assert Kind.POD not in found.missing


@virtual
async def test_a_watch_that_goes_on_needs_no_list():
    found = watches()
    begin(found, Kind.POD)
    await found.unlisted()
    begin(found, Kind.POD)  # the finite watch was opened anew
    waiting = asyncio.create_task(found.unlisted())
    await asyncio.sleep(10)
    assert not waiting.done()


@virtual
async def test_a_watch_that_could_not_go_on_needs_a_list_when_it_stands_again():
    found = watches()
    begin(found, *Kind)
    await found.unlisted()
    found._list_begins(Kind.POD)
    assert found.missing == {Kind.POD}
    waiting = asyncio.create_task(found.unlisted())
    await asyncio.sleep(10)
    assert not waiting.done()
    begin(found, Kind.POD)
    assert await waiting == {Kind.POD}


@virtual
async def test_kinds_that_could_not_be_listed_are_asked_for_again():
    found = watches()
    begin(found, Kind.POD, Kind.NODE)
    kinds = await found.unlisted()
    found.list_again(kinds)
    assert await found.unlisted() == {Kind.POD, Kind.NODE}


@virtual
async def test_age_is_that_of_the_quietest_watch():
    now = [0.0]
    found = watches(clock=lambda: now[0])
    now[0] = 100.0
    for kind in Kind:
        if kind is not Kind.PROFILE:
            found.updated(kind, None)
    assert found.age() == 100.0


async def test_news_from_another_thread_arrives_in_order_and_completely():
    sink = Sink()
    found = watches(sink)
    value = pod()

    def thread():
        from podnuma.operator.cache import decode

        for number in range(5000):
            record = decode.decode_bound_pod(
                {**value, "metadata": {**value["metadata"], "resourceVersion": str(number)}}
            )
            found.updated(Kind.POD, record)

    worker = threading.Thread(target=thread)
    worker.start()
    async with asyncio.timeout(30):
        while len(sink.news) < 5000:  # noqa: ASYNC110 - news of another thread, not of an event
            await asyncio.sleep(0.01)
    worker.join()
    assert [record.version.resource_version for _, record in sink.news] == list(range(5000))


class _Query:
    """As much of a request of Kopf as the source looks at."""

    def __init__(self, kind, *, watch):
        self.url = URL(f"http://api{kind.value.path()}").with_query({"watch": "true"} if watch else {})
        self.response = SimpleNamespace(status=200)


async def _nothing(_request):
    return None


@virtual
async def test_watches_that_fail_again_and_again_are_begun_at_growing_pauses():
    loop = asyncio.get_running_loop()
    anew: list[object] = []
    found = watches(clock=loop.time, begins_anew=anew.append)
    pauses = []
    for _ in range(10):
        before = loop.time()
        await found._empty_lists(_Query(Kind.POD, watch=False), _nothing)
        pauses.append(loop.time() - before)
        await found._answered(None, None, _Query(Kind.POD, watch=True))
    assert pauses[:2] == [0.0, pytest.approx(0.375, abs=0.13)]
    assert all(15.0 <= pause <= 30.0 for pause in pauses[7:])
    assert (anew, found.in_vain) == ([Kind.POD] * 9, {Kind.POD: 9})
    await asyncio.sleep(40)
    assert found.in_vain == {}, "the watch has lasted, though nothing was told on it"
    await found._answered(None, None, _Query(Kind.POD, watch=True))  # the finite watch is opened anew
    assert found.in_vain == {}
    before = loop.time()
    await found._empty_lists(_Query(Kind.POD, watch=False), _nothing)
    assert loop.time() == before, "after one that lasted the list comes at once"
