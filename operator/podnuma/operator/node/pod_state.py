"""What the operator remembers of one pod of a node, beside the decision about it.

Nothing here is stored in the cluster: after a restart it is found out again. A record goes when its pod is
neither present nor decided any more (`NodeState.forget_absent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podnuma.api.pod_allocation import PendingResize
    from podnuma.operator.node.devices import LocatedDevices
    from podnuma.plumbing.kube.errors import UncertainError


@dataclass(frozen=True, slots=True)
class ResizeTry:
    """A resize that did not fit: the node's revision then, the allocator's words, what the pod is told."""

    node: int
    message: str
    pending: PendingResize


@dataclass(frozen=True, slots=True)
class FailedWrite:
    """That the API server answered the write of a decision with an error of its own, so often in a row.

    `until`: when it is tried again, in seconds of the operator's clock; 0 as long as it is repeated at once.
    """

    times: int
    error: UncertainError
    until: float = 0.0


@dataclass(slots=True)
class PodState:
    """What is remembered of one pod.

    `rejected_at`: the node's revision when the pod was last rejected, so that it is tried again only after a
    change. `resize_tried`: the last resize that did not fit. `idle`: the revision of the pod's resources with
    which it asks for nothing exclusive. `evicted`: it was evicted, or never can be. `warning`: reason and
    message of the last event about it. `devices` of its claims, once all are allocated, and how many
    `device_lookups` found one that was not. `waiting_since`: when its decision began to wait for devices of
    device plugins, in seconds of the operator's clock. `failed_write`: how the last write of a decision about
    it ended, if not well.
    """

    rejected_at: int | None = None
    resize_tried: ResizeTry | None = None
    idle: str | None = None
    evicted: bool = False
    warning: tuple[str, str] | None = None
    devices: LocatedDevices | None = None
    device_lookups: int = 0
    waiting_since: float | None = None
    failed_write: FailedWrite | None = None
