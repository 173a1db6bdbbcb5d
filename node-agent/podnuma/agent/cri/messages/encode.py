"""Values into protobuf. What is None is left out: the runtime keeps its own value."""

from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.values import LinuxContainerResources


def encode_container_resources(values: LinuxContainerResources) -> pb.LinuxContainerResources:
    """Write resources that are to change."""
    return pb.LinuxContainerResources(
        cpuset_cpus=values.cpus or "",
        cpuset_mems=values.mems or "",
        cpu_quota=values.cpu_quota or 0,
        cpu_period=values.cpu_period or 0,
        cpu_shares=values.cpu_shares or 0,
        memory_limit_in_bytes=values.memory_limit or 0,
        unified=values.unified,
    )
