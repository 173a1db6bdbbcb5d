"""The configuration of a plugin: who it is, what it subscribes to, how long it waits."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podnuma.agent.nri.values import NriEvent

DEFAULT_SOCKET: Final = Path("/var/run/nri/nri.sock")

_NAME: Final = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_INDEX: Final = re.compile(r"[0-9]{2}")


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """Identity, subscription and timeouts of a plugin; raises ValueError on what a runtime would refuse.

    Of `events` it is sent those that the runtime knows, see `values.RuntimeInfo.events`.
    `index` orders plugins, "00" is asked first. `answer_share` is the part of the runtime's
    request timeout after which a callback is cancelled and answered for. `registration_timeout`
    is how long to wait for the runtime to configure us, in seconds; runtimes register one plugin
    at a time, so it covers others in front of us. `synchronization_timeout` is how long, after that, to wait
    for all of what there is; runtimes wait for containers that are ending. Both double each time that they
    were too short, up to eight times. `write_timeout` is how long a runtime may read nothing, in seconds.
    `concurrent_calls` bounds callbacks at a time.
    """

    name: str
    index: str
    events: AbstractSet[NriEvent]
    socket: Path = DEFAULT_SOCKET
    answer_share: float = 0.75
    registration_timeout: float = 15.0
    synchronization_timeout: float = 60.0
    write_timeout: float = 10.0
    concurrent_calls: int = 128

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: a plugin name has 1 to 64 letters, digits or ._+-")
        if not _INDEX.fullmatch(self.index):
            raise ValueError(f"index {self.index!r}: a plugin index is two digits, 00 to 99")
        if not self.events:
            raise ValueError(
                "events: a plugin that subscribes to none would be sent all; name those it wants"
            )
        if not 0 < self.answer_share < 1:
            raise ValueError(
                f"answer_share {self.answer_share}: the share of the runtime's timeout lies in (0, 1)"
            )
