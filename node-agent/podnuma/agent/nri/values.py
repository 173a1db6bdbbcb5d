"""What a plugin receives and what it answers, free of protobuf.

Always true: times are Unix nanoseconds with 0 for "not yet"; CPU and NUMA node lists are kernel
list strings ("0-3,8"); quota and period are microseconds; amounts of memory are bytes. None
means "not set" when read and "leave as it is" when sent. An empty list is never sent: runtimes
read it as "no change", which is not what its writer meant.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DEFAULT_REGISTRATION_TIMEOUT: Final = 5.0  # of runtimes that do not send theirs (NRI before 0.6)
DEFAULT_REQUEST_TIMEOUT: Final = 2.0

# From 0.12.1 on the runtime takes no lock of its own around an unsolicited update (nri #301).
SAFE_UPDATES_SINCE: Final = (0, 12, 1)

# Before, a runtime skips the field as one that it does not know.
FAILURE_POLICY_SINCE: Final = (0, 12, 4)


class NriContainerState(enum.Enum):
    """State of a container; UNKNOWN includes states of later versions."""

    UNKNOWN = 0
    CREATED = 1
    PAUSED = 2
    RUNNING = 3
    STOPPED = 4


class NriEvent(enum.IntEnum):
    """What a plugin can subscribe to; the numbers are those of the wire."""

    RUN_POD_SANDBOX = 1
    STOP_POD_SANDBOX = 2
    REMOVE_POD_SANDBOX = 3
    CREATE_CONTAINER = 4
    POST_CREATE_CONTAINER = 5
    START_CONTAINER = 6
    POST_START_CONTAINER = 7
    UPDATE_CONTAINER = 8
    POST_UPDATE_CONTAINER = 9
    STOP_CONTAINER = 10
    REMOVE_CONTAINER = 11
    UPDATE_POD_SANDBOX = 12
    POST_UPDATE_POD_SANDBOX = 13


_FIRST_EVENTS: Final = frozenset(event for event in NriEvent if event <= NriEvent.REMOVE_CONTAINER)


@dataclass(frozen=True, slots=True)
class LinuxResources:
    """Linux resources of a container, or the part of them that is to change.

    `cpu_quota` -1 is no quota. `hugepage_limits` goes by page size ("2MB"), `unified` by cgroup v2 file.
    """

    cpus: str | None = None
    mems: str | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_shares: int | None = None
    memory_limit: int | None = None
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("cpus", self.cpus), ("mems", self.mems)):
            if value == "":
                raise ValueError(
                    f"{name} is empty, which a runtime reads as no change; use None to leave it alone"
                )


@dataclass(frozen=True, slots=True)
class PodSandbox:
    """A pod as the runtime knows it: no requests, no limits, no container kinds."""

    id: str
    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""
    cgroup_parent: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class NriContainer:
    """A container as the runtime knows it.

    `pod_uid` is empty if the runtime sent neither pod nor label; `cgroups_path` has the form
    of the runtime's cgroup driver ("slice:prefix:id" or a path); `pid` is 0 before the start.
    """

    id: str
    pod_sandbox_id: str
    pod_uid: str
    name: str
    state: NriContainerState = NriContainerState.UNKNOWN
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroups_path: str = ""
    resources: LinuxResources = field(default_factory=LinuxResources)
    pid: int = 0
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class ContainerUpdate:
    """A change to a container that exists. With `ignore_failure` a failure is neither reported nor fatal."""

    container_id: str
    resources: LinuxResources
    ignore_failure: bool = False


@dataclass(frozen=True, slots=True)
class CreateContainerResponse:
    """What to do to a container that is about to be created, and to others before it exists."""

    adjust: LinuxResources | None = None
    updates: tuple[ContainerUpdate, ...] = ()


class FailurePolicy(enum.Enum):
    """What a runtime does with a request that gets no answer in time, in the words of admission webhooks.

    FAIL is both of NRI's flags, fail_request and keep_connected. With the first one alone the runtime drops
    the plugin after it was late once, and whatever starts next starts without it.
    """

    IGNORE = "Ignore"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The runtime that configured us. `nri_version` is None before NRI 0.11, which did not send it.

    Timeouts are in seconds. The runtime drops a plugin that lets one pass and goes on without it.
    """

    name: str
    version: str
    nri_version: tuple[int, int, int] | None = None
    registration_timeout: float = DEFAULT_REGISTRATION_TIMEOUT
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT

    @property
    def events(self) -> frozenset[NriEvent]:
        """The events that it knows: one that is asked for others refuses the plugin.

        The later ones came a version before 0.11; a runtime of that version goes without.
        """
        return frozenset(NriEvent) if self.nri_version is not None else _FIRST_EVENTS

    @property
    def unsolicited_updates_are_safe(self) -> bool:
        """Whether an update outside a hook cannot deadlock the runtime with a hook."""
        return self.nri_version is not None and self.nri_version >= SAFE_UPDATES_SINCE

    @property
    def honours_failure_policy(self) -> bool:
        """Whether the runtime does as a plugin's FailurePolicy says."""
        return self.nri_version is not None and self.nri_version >= FAILURE_POLICY_SINCE
