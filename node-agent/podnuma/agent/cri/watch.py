"""An endless watch of the node's containers: periodic lists, and events in between where there are any.

    ContainersListed  at every (re)connect, again a second later, then at a slow pace
    ContainerEvent    at once, where the runtime streams events to every listener
    RuntimeLost       once per outage, with the reason

Lists are the truth; events only bring it earlier. Where a runtime streams nothing (CRI-O unless
configured to; cri-dockerd, which refuses; containerd before 2.0 shares one stream) lists come at the fast
pace instead.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from podnuma.agent.cri.client import CriClient
from podnuma.agent.cri.errors import CriError, UnreachableError
from podnuma.agent.cri.values import ContainerEvent, CriContainer, RuntimeVersion

_OLD_CONTAINERD: Final = re.compile(r"v?[01]\.")


@dataclass(frozen=True, slots=True)
class ContainersListed:
    """All containers the runtime has at the moment."""

    containers: tuple[CriContainer, ...]


@dataclass(frozen=True, slots=True)
class RuntimeLost:
    """The runtime does not answer; a list follows when it does again."""

    reason: str


@dataclass(frozen=True, slots=True)
class ListPace:
    """Seconds between lists: `slow` beside a stream of events, `fast` without one and in an outage."""

    slow: float = 30.0
    fast: float = 1.0


ContainerWatchEvent = ContainersListed | ContainerEvent | RuntimeLost


async def watch(client: CriClient, pace: ListPace = ListPace()) -> AsyncGenerator[ContainerWatchEvent]:
    """Yield what is seen, until the consumer stops. Raises nothing of its own."""
    lost = False
    while True:
        try:
            streams = streams_to_all(await client.version())
            async with aclosing(_follow(client, pace) if streams else _poll(client, pace)) as source:
                async for seen in source:
                    lost = False
                    yield seen
        except CriError as error:
            if not lost:
                lost = True
                yield RuntimeLost(str(error))
        await asyncio.sleep(pace.fast)


def streams_to_all(version: RuntimeVersion) -> bool:
    """Whether listening for events takes none away from the kubelet."""
    return version.runtime_name != "containerd" or _OLD_CONTAINERD.match(version.runtime_version) is None


async def _poll(client: CriClient, pace: ListPace) -> AsyncGenerator[ContainerWatchEvent]:
    while True:
        yield ContainersListed(await client.containers())
        await asyncio.sleep(pace.fast)


async def _follow(client: CriClient, pace: ListPace) -> AsyncGenerator[ContainerWatchEvent]:
    """Events and slow lists until the stream ends; fast lists from then on if it brought nothing."""
    stream = client.events()
    coming = asyncio.ensure_future(anext(stream, None))
    try:
        # The stream may start after the first list was made, hence a second one soon.
        wait, brought_any = pace.fast, False
        yield ContainersListed(await client.containers())
        while True:
            done, _ = await asyncio.wait({coming}, timeout=wait)
            if not done:
                wait = pace.slow
                yield ContainersListed(await client.containers())
                continue
            event = _result(coming)
            if event is None:
                break
            brought_any = True
            yield event
            coming = asyncio.ensure_future(anext(stream, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await stream.aclose()
    if not brought_any:
        async for seen in _poll(client, pace):
            yield seen


def _result(coming: "asyncio.Future[ContainerEvent | None]") -> ContainerEvent | None:
    """Return what the stream brought; None when it has ended. Raises CriError if the runtime has gone.

    A refusal is an end: there will be no events, and lists say all the same what there is.
    """
    try:
        return coming.result()
    except UnreachableError:
        raise
    except CriError:
        return None
