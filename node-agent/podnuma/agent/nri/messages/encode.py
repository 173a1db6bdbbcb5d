"""Values into protobuf. What is None is left out: the runtime keeps its own value."""

from collections.abc import Iterable

from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.values import (
    ContainerUpdate,
    CreateContainerResponse,
    FailurePolicy,
    LinuxResources,
    NriEvent,
)


def event_mask(events: Iterable[NriEvent]) -> int:
    """Set bit `event - 1` per event; raises ValueError if there is none, as 0 would mean all."""
    mask = sum(1 << (event - 1) for event in set(events))
    if mask == 0:
        raise ValueError(
            "a plugin that subscribes to no event would be sent all of them; name those it wants"
        )
    return mask


def failure_policy(policy: FailurePolicy) -> pb.FailurePolicy | None:
    """Write a failure policy; None is what a runtime does without one."""
    if policy is FailurePolicy.IGNORE:
        return None
    return pb.FailurePolicy(fail_request=True, keep_connected=True)


def encode_resources(values: LinuxResources) -> pb.LinuxResources:
    """Write resources that are to change."""
    message = pb.LinuxResources(unified=values.unified)
    if values.cpus is not None:
        message.cpu.cpus = values.cpus
    if values.mems is not None:
        message.cpu.mems = values.mems
    if values.cpu_quota is not None:
        message.cpu.quota.value = values.cpu_quota
    if values.cpu_period is not None:
        message.cpu.period.value = values.cpu_period
    if values.cpu_shares is not None:
        message.cpu.shares.value = values.cpu_shares
    if values.memory_limit is not None:
        message.memory.limit.value = values.memory_limit
    for page_size, limit in values.hugepage_limits.items():
        message.hugepage_limits.add(page_size=page_size, limit=limit)
    return message


def encode_update(value: ContainerUpdate) -> pb.ContainerUpdate:
    """Write an update of a container that exists."""
    return pb.ContainerUpdate(
        container_id=value.container_id,
        linux=pb.LinuxContainerUpdate(resources=encode_resources(value.resources)),
        ignore_failure=value.ignore_failure,
    )


def encode_updates(values: Iterable[ContainerUpdate]) -> list[pb.ContainerUpdate]:
    """Write updates in the order in which the runtime is to apply them."""
    return [encode_update(value) for value in values]


def encode_response(value: CreateContainerResponse) -> pb.CreateContainerResponse:
    """Write the answer to CreateContainer."""
    message = pb.CreateContainerResponse(update=encode_updates(value.updates))
    if value.adjust is not None:
        message.adjust.linux.resources.CopyFrom(encode_resources(value.adjust))
    return message
