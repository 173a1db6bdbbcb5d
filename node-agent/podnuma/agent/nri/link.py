"""Keep a plugin connected for as long as the process lives.

    DOWN -> CONNECTED -> SYNCHRONIZED -> DOWN -> ...

A runtime restarts, is upgraded, or drops a plugin that was late once: each ends the session, and
containers that start before the next one are not seen by hooks. So the first attempt to come
back is made at once, the next ones after doubling, jittered delays of at most two seconds.
Everything that was missed arrives with the next Synchronize.

A busy runtime takes its time to register a plugin, and one after the other. Who gives up each time before his
turn comes is never registered (containerd/nri#292): so each time that was too short the next one is longer.
"""

import asyncio
import enum
import logging
import random
from collections.abc import Callable, Iterable
from typing import Final

from google.protobuf.message import DecodeError
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.errors import NotConnectedError, NriError, ProtocolError, UnsafeUpdatesError
from podnuma.agent.nri.messages import decode, encode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.plugin import Plugin
from podnuma.agent.nri.service import PluginService
from podnuma.agent.nri.session import Session
from podnuma.agent.nri.values import ContainerUpdate, FailurePolicy, RuntimeInfo

_log = logging.getLogger(__name__)

_FIRST_DELAY: Final = 0.05
_DELAY_MAX: Final = 2.0
_PATIENCE_MAX: Final = 8


class LinkState(enum.Enum):
    """How far the connection has got. Hooks are answered, and updates taken, when SYNCHRONIZED."""

    DOWN = "down"
    CONNECTED = "connected"
    SYNCHRONIZED = "synchronized"


def jittered(attempt: int) -> float:
    """Seconds to wait before the `attempt`th try since the last session that worked, from 0."""
    if attempt == 0:
        return 0.0
    longest = min(_FIRST_DELAY * 2.0 ** min(attempt - 1, 16), _DELAY_MAX)
    return random.uniform(longest / 2, longest)


class Link:
    """A plugin's connection over all its sessions. It alone knows why there is none at the moment."""

    def __init__(
        self,
        config: PluginConfig,
        *,
        delay: Callable[[int], float] = jittered,
    ) -> None:
        self._config = config
        self._delay = delay
        self._service: PluginService | None = None
        self._session: Session | None = None
        self._reason = "not started"
        self._patience = 1
        self._heard = 0

    @property
    def state(self) -> LinkState:
        """How far the current session has got."""
        if self._service is None or not self._service.configured.is_set():
            return LinkState.DOWN
        return LinkState.SYNCHRONIZED if self._service.synchronized.is_set() else LinkState.CONNECTED

    @property
    def runtime(self) -> RuntimeInfo | None:
        """The runtime at the other end, None without one."""
        return None if self._service is None else self._service.runtime

    @property
    def heard(self) -> int:
        """How many calls the runtime has made, in all sessions."""
        return self._heard + (0 if self._service is None else self._service.calls)

    @property
    def failure_policy(self) -> FailurePolicy:
        """What the runtime really does with requests that get no answer."""
        service = self._service
        if service is None or service.runtime is None or not service.runtime.honours_failure_policy:
            return FailurePolicy.IGNORE
        return service.failure_policy

    def register_with(self, policy: FailurePolicy) -> None:
        """Register anew if the runtime would honour this policy and was told another one.

        A policy is part of the registration and cannot be changed later. Everything is synchronized again.
        """
        session, service = self._session, self._service
        if session is None or service is None or service.runtime is None or not service.configured.is_set():
            return  # the next registration asks the plugin
        if service.runtime.honours_failure_policy and service.failure_policy is not policy:
            session.end(f"registering anew, with failure policy {policy.value}")

    def register_anew(self, why: str) -> None:
        """End the session; everything is synchronized again in the next one."""
        if self._session is not None:
            self._session.end(why)

    @property
    def reason(self) -> str:
        """Why there is no session, or why the last one ended."""
        return self._reason

    async def run(self, plugin: Plugin) -> None:
        """Connect, serve the plugin and reconnect until cancelled."""
        attempt = 0
        while True:
            service = PluginService(plugin, self._config)
            reason = await self._run_session(service)
            if reason != self._reason:  # else a runtime that is away would fill the log
                _log.warning("NRI %s: %s", self._config.socket, reason)
            self._reason = reason
            attempt = 0 if service.synchronized.is_set() else attempt + 1
            if service.configured.is_set():
                await self._report_disconnected(plugin, reason)
            await asyncio.sleep(self._delay(attempt))

    async def _run_session(self, service: PluginService) -> str:
        self._service = service
        self._session = running = Session(service, self._config, self._patience)
        # A task of its own: one that is cancelled just as the runtime goes away tells of that alone, and who
        # awaits it would go on for ever (python/cpython#116720).
        session = asyncio.create_task(self._session.run())
        try:
            await asyncio.wait({session})
        except asyncio.CancelledError:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            raise
        finally:
            self._service = self._session = None
            self._heard += service.calls
        self._patience = min(2 * self._patience, _PATIENCE_MAX) if running.gave_up else 1
        return _reason(session)

    async def _report_disconnected(self, plugin: Plugin, reason: str) -> None:
        try:
            await plugin.disconnected(reason)
        except Exception:  # noqa: BLE001  whatever the plugin raises, the link must come back
            _log.exception("NRI: the plugin failed in disconnected")

    async def update_containers(
        self, updates: Iterable[ContainerUpdate], *, within: float = 10.0
    ) -> tuple[ContainerUpdate, ...]:
        """Ask the runtime to change containers now; returns those it failed to change.

        Never from inside a callback, for which the runtime waits with its lock held: there,
        updates are piggybacked on the answer. A container that is gone counts as changed, so only
        the kernel shows whether an update took effect. Raises NotConnectedError, UnsafeUpdatesError
        (use CRI then), CallError, DisconnectedError, or TimeoutError after `within` seconds.
        """
        session, service = self._session, self._service
        if session is None or service is None or not service.synchronized.is_set():
            raise NotConnectedError(f"NRI {self._config.socket}: no synchronized session ({self._reason})")
        if session.serves_here():
            raise RuntimeError(
                "update_containers inside a callback would deadlock the runtime; answer with the updates"
            )
        if service.runtime is None or not service.runtime.unsolicited_updates_are_safe:
            raise UnsafeUpdatesError("the NRI of this runtime is older than 0.12.1 and can deadlock; use CRI")
        request = pb.UpdateContainersRequest(update=encode.encode_updates(updates))
        payload = await session.call("UpdateContainers", request.SerializeToString(), within)
        try:
            response = pb.UpdateContainersResponse.FromString(payload)
        except DecodeError as error:
            raise ProtocolError("UpdateContainers: the response is not protobuf") from error
        return tuple(decode.container_update(failed) for failed in response.failed)


def _reason(session: asyncio.Task[None]) -> str:
    """Return why a session ended. Raises what is no such reason."""
    reason = ""
    try:
        session.result()
    except* NriError as group:
        reason = _first_text(group)
    return reason


def _first_text(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first_text(first)
    return str(first)
