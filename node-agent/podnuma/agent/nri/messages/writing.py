"""Values into protobuf. What is None is left out: the runtime keeps its own value."""

from collections.abc import Iterable

from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.values import Answer, Event, Resources, Update


def event_mask(events: Iterable[Event]) -> int:
    """Set bit `event - 1` per event; raises ValueError if there is none, as 0 would mean all."""
    mask = sum(1 << (event - 1) for event in set(events))
    if mask == 0:
        raise ValueError(
            "a plugin that subscribes to no event would be sent all of them; name those it wants"
        )
    return mask


def resources(values: Resources) -> pb.LinuxResources:
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


def update(value: Update) -> pb.ContainerUpdate:
    """Write an update of a container that exists."""
    return pb.ContainerUpdate(
        container_id=value.container_id,
        linux=pb.LinuxContainerUpdate(resources=resources(value.resources)),
        ignore_failure=value.ignore_failure,
    )


def updates(values: Iterable[Update]) -> list[pb.ContainerUpdate]:
    """Write updates in the order in which the runtime is to apply them."""
    return [update(value) for value in values]


def answer(value: Answer) -> pb.CreateContainerResponse:
    """Write the answer to CreateContainer."""
    message = pb.CreateContainerResponse(update=updates(value.updates))
    if value.adjust is not None:
        message.adjust.linux.resources.CopyFrom(resources(value.adjust))
    return message
