"""Requests that wait an API server out: for sessions of libraries that give up too soon.

A server that restarts refuses connections, then answers 403 until it has read its roles, or
404 until it serves the custom resources; a token that was rotated gives 401. None of that is
a reason for a watch to die. `Patience` is a middleware of an aiohttp session that repeats
such a request, at a growing pace, until it is answered or cancelled; it puts the present
authorization into each attempt. 410 and everything a caller can act on is passed on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

_PASSING: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})


class Patience:
    """The middleware. `authorization` returns the header's present value, None without one."""

    def __init__(
        self,
        authorization: Callable[[], Awaitable[str | None]],
        *,
        backoff: Backoff,
        rng: random.Random,
    ) -> None:
        self._authorization = authorization
        self._backoff = backoff
        self._rng = rng
        self._failing: str | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request until it is answered."""
        failures = 0
        while True:
            problem: str
            try:
                if value := await self._authorization():
                    request.headers["Authorization"] = value
                response = await handler(request)
            except (aiohttp.ClientConnectionError, OSError) as error:
                problem = type(error).__name__
            else:
                if response.status not in _PASSING:
                    self._tell(None)
                    return response
                problem = f"{response.status} for {request.url.path}"
                response.release()
            failures += 1
            self._tell(problem)
            await asyncio.sleep(self._backoff.delay(failures, self._rng))

    def _tell(self, problem: str | None) -> None:
        if problem == self._failing:
            return
        if problem is None:
            logger.info("the API server answers again")
        elif self._failing is None:
            logger.warning("waiting for the API server: %s", problem)
        self._failing = problem
