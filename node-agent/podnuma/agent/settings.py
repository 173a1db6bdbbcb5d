"""Everything this process can be told. Merged once by the command line, frozen, passed down from `app`.

Only the command line reads the environment and the arguments.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from podnuma.plumbing.serving_certificate import ServingCertificate

_MIB = 2**20


class Runtime(Enum):
    """Where containers come from. AUTO: NRI if its socket is there, else CRI."""

    AUTO = "auto"
    NRI = "nri"
    CRI = "cri"
    SIMULATED = "simulated"


class MetricNames(Enum):
    """Whose names the three resource manager metrics have; the kubelet renamed them in v1.37."""

    V1_36 = "v1.36"
    V1_37 = "v1.37"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of one agent.

    kubeconfig: None means the service account of the pod, in `service_account`.
    sys_root, proc_root, cgroup_root, kubelet_root, run_root: where the host's /sys, /proc, /sys/fs/cgroup,
        /var/lib/kubelet and /run are.
    nri_socket, cri_socket: None means the usual places.
    metrics_host: empty for all addresses, of IPv4 and of IPv6.
    metrics_port: 0 takes a free port; None opens none.
    metrics_certificate: the port speaks TLS, and metrics are for those whom the API server lets read them;
        None: neither.
    check_seconds: how often the kernel's values are compared with the targets when nothing else happens.
    heartbeat_seconds: how often the status says that the agent is alive.
    hook_share: part of the runtime's own request timeout that a starting container may wait for its decision.
    defer_seconds: how long starts of an undecided pod are put off in all. A node cannot tell a pod that is
        not decided yet from one that was decided to hold nothing; such a pod must not wait for ever.
    movable_bytes: a running container with more memory than this is not moved to other NUMA nodes; the
        kernel would move all its pages at once and let it wait.
    """

    node_name: str
    kubeconfig: Path | None = None
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    cgroup_root: Path = Path("/sys/fs/cgroup")
    kubelet_root: Path = Path("/var/lib/kubelet")
    run_root: Path = Path("/run")
    runtime: Runtime = Runtime.AUTO
    nri_socket: Path | None = None
    cri_socket: Path | None = None
    metrics_host: str = ""
    metrics_port: int | None = 9465
    metrics_certificate: ServingCertificate | None = None
    metric_names: MetricNames = MetricNames.V1_36
    check_seconds: float = 5.0
    heartbeat_seconds: float = 60.0
    hook_share: float = 0.4
    defer_seconds: float = 120.0
    movable_bytes: int = 64 * _MIB

    def __post_init__(self) -> None:
        if not self.node_name:
            raise ValueError("node_name is empty; pass the name of the Node this agent runs on")
        if not 0 < self.hook_share < 1:
            raise ValueError(
                f"hook_share {self.hook_share}: a part of the runtime's timeout, between 0 and 1"
            )
        if self.check_seconds <= 0 or self.heartbeat_seconds <= 0:
            raise ValueError("check_seconds and heartbeat_seconds are times, above 0")
