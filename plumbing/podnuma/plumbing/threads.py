"""Blocking calls in threads that the end of the process does not wait for.

asyncio and concurrent.futures join their threads before a process may end, however long these still wait for
a server that does not answer (python/cpython#111358). Nothing here has to be finished, so these threads are
daemons: they end with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns, which runs in a thread of its own, where it goes on if it is given up."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            found = call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - passed to who awaits it
            tell(partial(answer.set_exception, error))
        else:
            tell(partial(answer.set_result, found))

    def tell(outcome: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; so does the process
            loop.call_soon_threadsafe(settle, outcome)

    def settle(outcome: Callable[[], None]) -> None:
        if not answer.done():  # given up
            outcome()

    threading.Thread(target=run, name=getattr(call, "__name__", "call"), daemon=True).start()
    return await answer


class OneThread:
    """Runs calls one after the other, so that of those that hang, and are given up, there is never but one.

    A call that is given up before its turn is not made.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns."""
        await self._turn.acquire()
        running = asyncio.ensure_future(in_thread(call, *args, **kwargs))
        # Not when it is given up: it goes on.
        running.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(running)
