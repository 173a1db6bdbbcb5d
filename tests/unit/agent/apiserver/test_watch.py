"""A watch against a scripted API server: every way in which a watch can end."""

import random
import threading
from typing import Any

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, Watch, WatchEventType, WatchSource
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors

SOURCE = WatchSource("Things", "/things", {"fieldSelector": "a=b"})


def thing(name, version):
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def event(kind, name, version):
    return {"type": kind, "object": thing(name, version)}


class Api:
    """Answers lists and watches from a script; the last entry of it blocks until the test ends."""

    def __init__(self, script, done):
        self.script = script
        self.done = done
        self.asked = []
        self.aborted = threading.Event()

    def pages(self, path, query):
        assert path == SOURCE.path
        self.asked.append(("list", dict(query)))
        answer = self.script.pop(0) if self.script else self._end()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def watch(self, path, query, seconds):
        assert path == SOURCE.path
        self.asked.append(("watch", query["resourceVersion"]))
        if not self.script:
            self._end()
            return
        for answer in self.script.pop(0):
            if isinstance(answer, Exception):
                raise answer
            yield answer
        if seconds < 1:
            threading.Event().wait(seconds)  # as a server that ends a watch in time

    def abort(self):
        self.aborted.set()

    def close(self):
        pass

    def _end(self):
        self.done.set()
        threading.Event().wait(0.05)
        return [], "0"


def run(script, **more):
    done = threading.Event()
    seen: list[Listed | Changed] = []
    api = Api(script, done)
    watch = Watch(
        SOURCE,
        lambda: api,
        seen.append,
        rng=random.Random(1),
        **{"backoff": Backoff(0.001, 0.002), "in_vain": Backoff(0.001, 0.002), **more},
    )
    watch.start()
    assert done.wait(5)
    watch.stop()
    return seen, api.asked, watch


def test_a_watch_goes_on_from_the_version_of_the_list():
    seen, asked, watch = run([([thing("a", 5)], "7"), [event("ADDED", "b", 8)]], seconds=0.01)
    assert seen[:2] == [Listed((thing("a", 5),)), Changed(WatchEventType.ADDED, thing("b", 8))]
    assert asked[:3] == [("list", {"fieldSelector": "a=b"}), ("watch", "7"), ("watch", "8")]
    assert watch.trouble is None


def test_bookmarks_keep_the_place_and_are_delivered_to_nobody():
    seen, asked, _ = run([([], "7"), [{"type": "BOOKMARK", "object": thing("", 90)}]], seconds=0.01)
    assert seen[:1] == [Listed(())]
    assert ("watch", "90") in asked


@pytest.mark.parametrize(
    "end",
    [
        errors.UncertainError(0, "NoAnswer", "connection reset"),
        errors.UncertainError(500, "InternalError", "etcd"),
        {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}},
        {"type": "ERROR", "object": "garbage"},
        ValueError("half a line"),
    ],
)
def test_every_other_end_leads_to_a_new_list(end):
    seen, asked, _ = run([([thing("a", 5)], "7"), [end], ([thing("c", 9)], "10")])
    assert [each for each in seen if isinstance(each, Listed)][:2] == [
        Listed((thing("a", 5),)),
        Listed((thing("c", 9),)),
    ]
    assert [kind for kind, _ in asked[:3]] == ["list", "watch", "list"]


def test_a_watch_that_ends_at_once_does_not_run_hot():
    _, asked, _ = run([([], "7"), [], ([], "8")], seconds=60)
    assert [kind for kind, _ in asked[:3]] == ["list", "watch", "list"]


def test_failures_are_signs_of_life():
    watch = Watch(SOURCE, lambda: Api([], threading.Event()), print, rng=random.Random(1))
    before = watch.moved
    watch._failed(errors.UncertainError(503, "x", "away"))
    assert watch.moved > before
    assert watch.trouble == "watching Things: 503 x: away"


def test_trouble_is_told_until_the_server_answers(caplog):
    refusal = errors.RefusedError(403, "Forbidden", "no list for you")
    seen, _, watch = run([refusal, refusal, refusal, ([], "1")])
    assert Listed(()) in seen
    assert watch.trouble != "watching Things: no list for you"
    told = [record.levelname for record in caplog.records if "no list for you" in record.message]
    assert told.count("WARNING") == 1, "one line per change, not one per attempt"


def test_a_stopped_watch_ends_at_once_and_delivers_nothing_more():
    class Waiting(Api):
        def watch(self, path, query, seconds):
            del path, query, seconds
            self.done.set()
            assert self.aborted.wait(5), "nobody ended the read"
            yield event("ADDED", "late", 9)

    done = threading.Event()
    seen: list[Listed | Changed] = []
    api = Waiting([([], "7")], done)
    watch = Watch(SOURCE, lambda: api, seen.append, rng=random.Random(1))
    watch.start()
    assert done.wait(5)
    watch.stop()
    watch.wait(5)
    assert not watch._thread.is_alive()
    assert seen == [Listed(())]


GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


class Pauses(Backoff):
    """Remembers for which number of failures it was asked."""

    asked: list[int] = []  # noqa: RUF012 - one test

    def delay(self, failures, rng):
        self.asked.append(failures)
        return super().delay(failures, rng)


def test_lists_that_no_watch_follows_come_at_growing_pauses_and_are_told():
    """410 after 410: each list is good, and nothing ever comes of it."""
    Pauses.asked.clear()
    failed: list[str] = []
    vain: list[Any] = [([], "7"), [GONE]]
    script = vain * 6
    _, asked, watch = run(script, in_vain=Pauses(0.001, 0.002), failed=failed.append)
    assert Pauses.asked[:6] == [1, 2, 3, 4, 5, 6]
    assert failed[:6] == ["Things"] * 6
    assert watch.trouble is not None
    assert "too old resource version" in watch.trouble
    assert [kind for kind, _ in asked[:4]] == ["list", "watch", "list", "watch"]


def test_a_watch_that_brought_something_begins_the_pauses_anew():
    Pauses.asked.clear()
    bad: list[Any] = [([], "7"), [GONE]]
    good: list[Any] = [([], "7"), [event("ADDED", "b", 8), GONE]]
    _, _, watch = run([*bad, *bad, *bad, *bad, *good, *bad], in_vain=Pauses(0.001, 0.002))
    assert Pauses.asked[:5] == [1, 2, 3, 4, 1]
    assert watch.trouble is None or "too old" in watch.trouble


def test_pauses_of_lists_in_vain_have_jitter_and_a_bound():
    from podnuma.agent.apiserver.watch import _IN_VAIN

    delays = {_IN_VAIN.delay(20, random.Random(seed)) for seed in range(9)}
    assert len(delays) > 1
    assert max(delays) <= 30
