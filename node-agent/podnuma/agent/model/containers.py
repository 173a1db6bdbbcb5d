"""What every runtime reports about containers that exist and about one that is to start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CpuMax


@dataclass(frozen=True, slots=True)
class Container:
    """A container that exists now, or `ended` a moment ago.

    `pod_uid` is the UID that names the pod's cgroup. `started` is in seconds since the epoch, by the
    node's clock; None while it is not known. `pid` is its main process on the node; None if that is not told.
    """

    pod_uid: str
    namespace: str
    pod_name: str
    name: str
    id: str
    started: float | None
    ended: bool = False
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class StartingContainer:
    """A container that is about to be created. `cpu_max` is what the kubelet asks for it, None if unknown.

    `local`: the pod comes from a file on the node, not from the API server.
    `annotated`: an annotation gives the pod a budget that makes it Guaranteed, which the kubelet ignores.
    """

    cgroup: ContainerCgroup
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_max: CpuMax | None = None
    local: bool = False
    annotated: bool = False


class StartRefused(Exception):  # noqa: N818 - the text is what the kubelet shows
    """The container must not start now; the kubelet tries again and shows the text on the pod."""


@dataclass(frozen=True, slots=True)
class RuntimeDescription:
    """What containers are written with first, and the runtime with its version.

    failure_policy: what the runtime does with a container start that the agent does not answer, Ignore or
    Fail; "" where it asks nobody.
    """

    mechanism: str
    runtime: str = ""
    failure_policy: str = ""
