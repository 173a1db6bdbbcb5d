"""What a kubelet writes when it resizes a pod in place, which is neither drift nor contention.

It writes the quota of the pod's own cgroup itself, and has the runtime write those of containers. The
decision that follows comes moments later, as a new target of the cgroup.
"""

from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite

RESIZE = 10.0  # seconds from what the kubelet writes to the decision that follows


def only_quota(write: CgroupWrite) -> bool:
    """Tell whether nothing but the quota differs."""
    return write.cpus is None and write.mems is None


def quota_of_pod(write: CgroupWrite) -> bool:
    """Tell whether only the quota of a pod's own cgroup differs, which the kubelet writes at each resize."""
    return isinstance(write.cgroup, PodCgroup) and only_quota(write)


def recent(now: float, at: float) -> bool:
    """Tell whether the decision may still come; a clock that was set back ends the wait."""
    return 0 <= now - at < RESIZE
