"""An aiohttp session that retries, for libraries whose watches give up too soon.

An API server that restarts refuses connections, then answers 403 until it has loaded its roles,
or 404 until it serves the custom resources; a rotated token gives 401. None of that is a reason
for a watch to die. The middleware repeats such a request with back-off until it succeeds or is
cancelled, each time with the current authorization. 410, and every other answer that the caller
can act on, passes through.
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

_TRANSIENT: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})


class RetryMiddleware:
    """Repeats a request that met a transient failure. `authorization` returns the header's current value."""

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
        """Send a request until it gets an answer that the caller can act on."""
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
                if response.status not in _TRANSIENT:
                    self._log_change(None)
                    return response
                problem = f"{response.status} for {request.url.path}"
                response.release()
            failures += 1
            self._log_change(problem)
            await asyncio.sleep(self._backoff.delay(failures, self._rng))

    def _log_change(self, problem: str | None) -> None:
        if problem == self._failing:
            return
        if problem is None:
            logger.info("the API server answers again")
        elif self._failing is None:
            logger.warning("waiting for the API server: %s", problem)
        self._failing = problem
