"""The settings of an operator process.

The command line reads them once, at the start; nothing else here reads arguments or the
environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api.names import OPERATOR_LEASE

if TYPE_CHECKING:
    from pathlib import Path

    from podnuma.plumbing.serving_certificate import ServingCertificate


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease by which replicas elect one writer. Durations in seconds.

    A leader that has not renewed for `duration` has lost the Lease: a standby takes over at most
    `duration + retry` after the last renewal. The leader itself stops writing `margin`
    before that, and no write is allowed to take longer than what is left.
    """

    name: str = OPERATOR_LEASE
    duration: float = 10.0
    retry: float = 2.0
    margin: float = 1.5

    def __post_init__(self) -> None:
        if not self.retry + self.margin < self.duration:
            raise ValueError(
                f"lease duration {self.duration} s leaves no time to renew: "
                f"it must exceed retry ({self.retry} s) and margin ({self.margin} s) together"
            )


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """How one operator process runs.

    `kubeconfig` None means the service account of the pod. `namespace` is where the
    Lease lives. `lease` None runs without one: only for a single process under a
    supervisor that never runs two. `placement`: pods that carry podnuma's scheduling gate are placed;
    for that pods without a node, and what all pods request, are known. `metrics_host` is empty for all
    addresses, of IPv4 and of IPv6. `metrics_port` 0 takes a free port, None opens none.
    `metrics_certificate`: the port speaks TLS, and metrics are for those whom the API server lets read them;
    None: neither.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = "podnuma-system"
    identity: str = "podnuma-operator"
    lease: LeaseSettings | None = LeaseSettings()
    metrics_host: str = ""
    metrics_port: int | None = 8080
    metrics_certificate: ServingCertificate | None = None
    page_size: int = 500
    settle: float = 0.05
    concurrency: int = 16
    resync: float = 300.0
    status_interval: float = 1.0
    write_deadline: float = 5.0
    export_resource_topologies: bool = False
    placement: bool = False
