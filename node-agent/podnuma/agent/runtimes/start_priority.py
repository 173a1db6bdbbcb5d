"""An update from outside never blocks a container that is starting.

Runtimes answer NRI hooks and carry out updates under one lock. An update sent while a hook is under way waits
for the hook; a hook that needs the plan waits for the pass that sent the update. So an update gives way: it
is not sent while a hook is under way, and is no longer waited for when one begins. What it wanted is
due again with the next pass, or piggybacks on the hook's answer.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from podnuma.agent.cgroups.writers.refusals import NotAnswered, Postponed, WriteRefused

logger = logging.getLogger(__name__)

T = TypeVar("T")


class StartPriority:
    """Knows whether a hook is under way."""

    def __init__(self) -> None:
        self._hooks = 0
        self._began = asyncio.Event()
        self._left: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Mark a hook as under way."""
        self._hooks += 1
        self._began.set()
        try:
            yield
        finally:
            self._hooks -= 1
            if not self._hooks:
                self._began.clear()

    async def update(self, what: str, call: Coroutine[Any, Any, T]) -> T:
        """Await a call to the runtime. Raises WriteRefused when a starting container goes first."""
        if self._hooks:
            call.close()
            raise Postponed(what, "update", "a container is starting and goes first")
        task = asyncio.ensure_future(call)
        began = asyncio.ensure_future(self._began.wait())
        try:
            await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
            if task.cancelled():
                raise NotAnswered(what, "update", "the connection to the runtime ended")
            if task.done():
                return task.result()
        finally:
            began.cancel()
            if not task.done():
                self._leave(task)
        raise WriteRefused(what, "update", "a container began to start and goes first", under_way=task)

    def _leave(self, task: "asyncio.Task[Any]") -> None:
        # The runtime has the request and will carry it out; it is just not waited for any more.
        self._left.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._left.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("an update that was postponed for a starting container failed: %s", task.exception())
