"""Writes statuses to the API server at a bounded rate, always the newest.

Only the last status submitted for an object counts, and it takes the place in the queue of the one that it
replaces: whoever has waited longest is written first, so that a stream of changes to some objects never holds
up another. A few requests are under way at once, never two for the same object.

An equal status is not written again for a while, so that a server that drops fields (an old CRD) or another
writer cannot make this loop hot. The server's answer is compared with what was sent, and fields that it
dropped are named. Failures are retried with back-off; an object that is gone is forgotten.

A status whose content the server refuses would leave people with the last one that it took, or none: then the
`substitute` is written that says so, and the status itself is tried again with back-off.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from podnuma.agent.apiserver.client import Json
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.threads import in_thread

logger = logging.getLogger(__name__)

_AGAIN_AFTER = 60.0
_NOT_BEFORE = 0.25
_AT_ONCE = 4  # a status costs the API server milliseconds, and a distant one answers late
_CONTENT_REFUSED = frozenset({400, 413, 422})

Substitute: TypeAlias = Callable[[str], Json]
"""From the server's reason for refusing a status to what is written in its place."""


@dataclass(slots=True)
class _Entry:
    body: Json | None = None  # to be written
    since: float = 0.0  # when the first status was submitted that is not written yet
    under_way: Json | None = None
    written: Json | None = None
    written_at: float = float("-inf")
    failures: int = 0
    due: float = 0.0
    substitute: Substitute | None = None
    substituted: tuple[Json, str] | None = None  # what was refused, and why
    refused: bool = False


class StatusWriter:
    """`write(path, body)` blocks, returns what is stored, raises KubeError; `at_once` threads call it.

    `not_before`: seconds between two writes of one object. `dropped`: fields that the server did not store.
    `waited`: called with the seconds that each status waited until it was stored.
    """

    def __init__(
        self,
        write: Callable[[str, Json], Json],
        *,
        rng: random.Random,
        backoff: Backoff = Backoff(0.5, 30.0),  # noqa: B008 - a frozen value
        not_before: float = _NOT_BEFORE,
        at_once: int = _AT_ONCE,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._write = write
        self._rng = rng
        self._backoff = backoff
        self._not_before = not_before
        self._waited = waited
        self._at_once = at_once
        self._entries: dict[str, _Entry] = {}
        self._wake = asyncio.Event()
        self.trouble: str | None = None
        self.dropped: frozenset[str] = frozenset()

    def submit(
        self, path: str, body: Json, *, again: bool = False, substitute: Substitute | None = None
    ) -> None:
        """Ask for a status to be written.

        `again`: also if it is what was written last, a while ago. `substitute`: what to write if the server
        refuses what is in it.
        """
        now = asyncio.get_running_loop().time()
        entry = self._entries.setdefault(path, _Entry())
        entry.substitute = substitute
        last = entry.written if entry.under_way is None else entry.under_way
        if body == last and not (again and now - entry.written_at > _AGAIN_AFTER):
            entry.body = None
            return
        if entry.body == body:
            return
        if entry.body is None:
            entry.since = now
        entry.body = body
        entry.due = max(now, entry.written_at + self._not_before, entry.due if entry.failures else now)
        self._wake.set()

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Drop what is known about objects that are gone."""
        self._entries = {
            path: entry
            for path, entry in self._entries.items()
            if keep(path) or entry.under_way is not None  # the next write waits for the end of this one
        }

    @property
    def refused(self) -> int:
        """The number of objects whose last status the server refused for what is in it."""
        return sum(entry.refused for entry in self._entries.values())

    def pending(self) -> int:
        return sum(1 for entry in self._entries.values() if entry.body is not None)

    async def run(self) -> None:
        """Write until cancelled."""
        for entry in self._entries.values():
            entry.under_way = None  # of a run that was ended
        free = asyncio.Semaphore(self._at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                path, entry, body = await self._turn()
                entry.under_way, entry.body = body, None
                task = group.create_task(self._one(path, entry, body))
                task.add_done_callback(lambda _: free.release())

    async def _turn(self) -> tuple[str, _Entry, Json]:
        """Wait for an object whose turn has come; of several return the one that has waited longest."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            waiting = [
                (entry.due, entry.since, path)
                for path, entry in self._entries.items()
                if entry.body is not None and entry.under_way is None
            ]
            now = loop.time()
            ready = [(since, path) for due, since, path in waiting if due <= now]
            if ready:
                _, path = min(ready)
                entry = self._entries[path]
                return path, entry, entry.body or {}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(waiting)[0] if waiting else None):
                    await self._wake.wait()

    async def _one(self, path: str, entry: _Entry, body: Json) -> None:
        loop = asyncio.get_running_loop()
        since = entry.since
        try:
            stored = await in_thread(self._write, path, body)
        except errors.NotFoundError:
            self._entries.pop(path, None)
        except errors.KubeError as error:
            entry.failures += 1
            retry = error.retry_after or self._backoff.delay(entry.failures, self._rng)
            entry.due, entry.since = loop.time() + retry, since
            entry.refused = error.status in _CONTENT_REFUSED
            if entry.refused:
                await self._substitute(path, entry, body, str(error))
            if entry.body is None:
                entry.body = body
            if self.trouble is None or entry.failures == 1:
                logger.warning("status of %s not written, retrying in %.1f s: %s", path, retry, error)
            self.trouble = str(error)
        else:
            entry.failures, entry.refused, entry.substituted = 0, False, None
            entry.written, entry.written_at = body, loop.time()
            entry.due = loop.time() + self._not_before
            self.trouble = None
            self._waited(entry.written_at - since)
            self._compare(path, body, stored)
        finally:
            entry.under_way = None
            self._wake.set()

    async def _substitute(self, path: str, entry: _Entry, refused: Json, why: str) -> None:
        if entry.substitute is None or entry.substituted == (refused, why):
            return
        try:
            await in_thread(self._write, path, entry.substitute(why))
        except errors.KubeError as error:
            logger.warning("that the status of %s is refused could not be reported either: %s", path, error)
        else:
            entry.written, entry.substituted = None, (refused, why)

    def _compare(self, path: str, sent: Json, stored: Json) -> None:
        lost = frozenset(lacking(sent.get("status"), stored.get("status"), "status"))
        if lost - self.dropped:
            logger.warning(
                "the API server dropped %s of %s: its custom resource definitions are older than this agent;"
                " apply crds/ of this release",
                ", ".join(sorted(lost)[:10]),
                path,
            )
        # Of one kind of object nothing is known from a write of another.
        self.dropped = (self.dropped | lost) if lost else frozenset()


def lacking(sent: Any, stored: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that were sent, not empty, and are not there; list entries by their names."""
    if isinstance(sent, dict):
        there = stored if isinstance(stored, dict) else {}
        for key, value in sent.items():
            if value in (None, "", [], {}):
                continue
            if key not in there:
                yield f"{path}.{key}"
            else:
                yield from lacking(value, there[key], f"{path}.{key}")
    elif isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        for one, other in zip(sent, stored, strict=True):
            yield from lacking(one, other, f"{path}[]")
