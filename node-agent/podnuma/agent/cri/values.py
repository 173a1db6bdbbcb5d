"""What CRI calls send and return, free of protobuf.

Always true: times are Unix nanoseconds with 0 for "not yet"; CPU and NUMA node lists are kernel
list strings ("0-3,8"); quota and period are microseconds; memory is bytes. None means "not set"
when read and "leave as it is" when sent.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class CriContainerState(enum.Enum):
    """State of a container; UNKNOWN includes states of later versions."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class EventKind(enum.Enum):
    """What happened to a container."""

    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


class UpdateOutcome(enum.Enum):
    """What became of an update: GONE is a container that ended before it, a normal end."""

    UPDATED = "updated"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """A runtime: "containerd", "v2.4.2", API "v1"."""

    runtime_name: str
    runtime_version: str
    api_version: str


@dataclass(frozen=True, slots=True)
class LinuxContainerResources:
    """Linux resources of a container, or the part of them that is to change.

    `cpu_quota` -1 is no quota. CRI has no "set to empty" and no "set to zero".
    """

    cpus: str | None = None
    mems: str | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_shares: int | None = None
    memory_limit: int | None = None
    unified: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cpus", "mems", "cpu_quota", "cpu_period", "cpu_shares", "memory_limit"):
            if getattr(self, name) in ("", 0):
                raise ValueError(
                    f"{name} is empty or zero, which a runtime reads as no change; use None for that"
                )


@dataclass(frozen=True, slots=True)
class CriContainer:
    """A container in a list. Pod fields come from the kubelet's labels and are empty without them."""

    id: str
    pod_sandbox_id: str
    pod_uid: str
    pod_namespace: str
    pod_name: str
    name: str
    attempt: int
    state: CriContainerState
    created_at: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CriContainerStatus:
    """One container in detail.

    `resources` is None where the runtime does not report them. `pid` and `cgroups_path` come
    from the runtime's verbose information and are None where that has another form;
    `cgroups_path` is "slice:prefix:id" with the systemd driver and a path with cgroupfs.
    """

    id: str
    name: str
    state: CriContainerState
    created_at: int
    started_at: int
    finished_at: int
    exit_code: int
    resources: LinuxContainerResources | None
    pid: int | None
    cgroups_path: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to a container, or to the sandbox container of a pod. `pod_uid` may be empty."""

    kind: EventKind
    container_id: str
    pod_uid: str
    created_at: int
