"""A list that is kept up to date by a watch, in a thread of its own.

    list -> Listed     everything there is; what was known before and is not in it is gone
    watch -> Changed   one object, from the list's version on
    a watch that the server ended in time goes on where it was (bookmarks keep that place fresh);
    any other end (cut, garbage, silence, version too old) leads to a new list after a back-off; a list that
    nothing follows is no success: the pauses grow while one watch after another fails

What arrives is handed to `deliver` in the thread; it must be quick and safe to call from there.
"""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from podnuma.agent.apiserver.client import Json
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors

logger = logging.getLogger(__name__)


class WatchEventType(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects there are."""

    items: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One object that changed; of a deleted one its last state."""

    kind: WatchEventType
    item: Json


WatchEvent: TypeAlias = Listed | Changed


@dataclass(frozen=True, slots=True)
class WatchSource:
    """What is watched: a collection's path and the selectors that narrow it."""

    name: str
    path: str
    query: Mapping[str, str]


class ListerWatcher(Protocol):
    """What a watch needs of an API server; every failure is a KubeError."""

    def pages(self, path: str, query: Mapping[str, str]) -> tuple[list[Json], str]:
        """Return all items, and the version to watch from."""
        ...

    def watch(self, path: str, query: Mapping[str, str], seconds: float) -> Generator[Json]:
        """Yield events until the server ends the watch, after `seconds` at the latest."""
        ...

    def abort(self) -> None:
        """End a watch that another thread is waiting in."""
        ...

    def close(self) -> None: ...


_IN_VAIN = Backoff(0.5, 30.0)  # a full list each time, on every node
_FEW = 3  # watches in a row may fail before that is trouble: the list before each of them was good


class Watch:
    """Keeps one source delivered until stopped.

    `moved`: when something last happened, be it a failure (monotonic); a thread that hangs stops moving.
    `trouble`: why nothing is delivered at the moment, None while all is well.
    `failed`: called with the source's name at each failure.
    """

    def __init__(  # noqa: PLR0913 - what it works with, passed in once
        self,
        source: WatchSource,
        connect: Callable[[], ListerWatcher],
        deliver: Callable[[WatchEvent], None],
        *,
        rng: random.Random,
        backoff: Backoff = Backoff(0.2, 10.0),  # noqa: B008 - a frozen value
        in_vain: Backoff = _IN_VAIN,
        seconds: float = 240.0,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._connect = connect
        self._deliver = deliver
        self._rng = rng
        self._backoff = backoff
        self._in_vain = in_vain
        self._seconds = seconds
        self._count_failure = failed
        self._stopping = threading.Event()
        self._server: ListerWatcher | None = None
        # A daemon: nothing has to be finished here, and a blocked read cannot hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name=f"watch {source.name}", daemon=True)
        self._failures = 0
        self._lists_in_vain = 0  # good lists in a row after which the watch failed before anything came
        self.moved = time.monotonic()
        self.trouble: str | None = "no list yet"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more and end the connection."""
        self._stopping.set()
        if self._server is not None:
            self._server.abort()

    def wait(self, seconds: float) -> None:
        """Wait until a stopped watch has ended."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Connections are made anew: the endpoint may have moved with its certificate.
            try:
                with contextlib.closing(self._connect()) as self._server:
                    self._follow(self._server)
            except errors.KubeError as error:
                self._failed(error)
            except Exception as error:
                logger.exception("watching %s", self._source.name)
                self._failed(error)
            if self._lists_in_vain:
                pause = self._in_vain.delay(self._lists_in_vain, self._rng)
            else:
                pause = self._backoff.delay(self._failures, self._rng)
            self._stopping.wait(pause)

    def _follow(self, api: ListerWatcher) -> None:
        """List once, then watch from there until something other than a timely end happens."""
        items, version = api.pages(self._source.path, self._source.query)
        if self._lists_in_vain < _FEW:
            self._answered()
        self.moved = time.monotonic()
        self._deliver(Listed(tuple(items)))
        self._lists_in_vain += 1
        while not self._stopping.is_set():
            began = time.monotonic()
            seconds = self._seconds * self._rng.uniform(0.8, 1.0)
            query = {**self._source.query, "resourceVersion": version}
            with contextlib.closing(api.watch(self._source.path, query, seconds)) as events:
                for event in events:
                    if self._stopping.is_set():
                        return
                    version = self._take(event, version)
                    self._lists_in_vain = 0
                    self._answered()
            if self._stopping.is_set():
                return
            if time.monotonic() - began < min(1.0, seconds / 2):
                raise errors.UncertainError(0, "WatchClosed", "the watch ended at once")
            self._lists_in_vain = 0
            self._answered()

    def _take(self, event: Json, version: str) -> str:
        item = event.get("object")
        if event.get("type") == "ERROR" or not isinstance(item, dict):
            code = int(item.get("code") or 0) if isinstance(item, dict) else 0
            message = str(item.get("message") if isinstance(item, dict) else event)[:300]
            raise errors.GoneError(code, "WatchError", message)
        if event.get("type") in WatchEventType.__members__:
            self._deliver(Changed(WatchEventType(event["type"]), item))
        metadata = item.get("metadata")
        return str((metadata or {}).get("resourceVersion") or version)

    def _answered(self) -> None:
        self.moved = time.monotonic()
        if self._failures:
            logger.info("watching %s again", self._source.name)
        self._failures = 0
        self.trouble = None

    def _failed(self, error: Exception) -> None:
        if self._stopping.is_set():
            return
        self.moved = time.monotonic()
        self._failures += 1
        self._count_failure(self._source.name)
        text = f"watching {self._source.name}: {error}"
        # One line per state change, not one per attempt.
        logger.log(
            logging.WARNING if self.trouble is None or self._failures == 1 else logging.DEBUG, "%s", text
        )
        self.trouble = text
