"""Protobuf into values. Unknown enum numbers of later versions become UNKNOWN, never an error."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.values import (
    DEFAULT_REGISTRATION_TIMEOUT,
    DEFAULT_REQUEST_TIMEOUT,
    ContainerUpdate,
    LinuxResources,
    NriContainer,
    NriContainerState,
    PodSandbox,
    RuntimeInfo,
)

# Set by the kubelet on every container; the only way to the pod when its sandbox is gone.
POD_UID_LABEL: Final = "io.kubernetes.pod.uid"

_STATES: Final = {state.value: state for state in NriContainerState}
_VERSION: Final = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-)?")


def runtime_info(message: pb.ConfigureRequest) -> RuntimeInfo:
    """Read who is calling; a timeout that is not sent becomes the default of the Go implementation."""
    return RuntimeInfo(
        name=message.runtime_name,
        version=message.runtime_version,
        nri_version=nri_version(message.nri_version),
        registration_timeout=_seconds(message.registration_timeout, DEFAULT_REGISTRATION_TIMEOUT),
        request_timeout=_seconds(message.request_timeout, DEFAULT_REQUEST_TIMEOUT),
    )


def _seconds(milliseconds: int, default: float) -> float:
    return milliseconds / 1000 if milliseconds > 0 else default


def nri_version(text: str) -> tuple[int, int, int] | None:
    """Read the release that `text` is at least: "v0.12.1" is (0, 12, 1), its pre-releases (0, 12, 0)."""
    found = _VERSION.match(text)
    if found is None:
        return None
    major, minor, patch = (int(part) for part in found.groups()[:3])
    return major, minor, max(patch - 1, 0) if found[4] else patch


def pod_sandbox(message: pb.PodSandbox) -> PodSandbox:
    """Read a pod; a field the runtime does not know is empty."""
    return PodSandbox(
        id=message.id,
        uid=message.uid,
        namespace=message.namespace,
        name=message.name,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        runtime_handler=message.runtime_handler,
        cgroup_parent=message.linux.cgroup_parent,
        pid=message.pid,
    )


def nri_container(message: pb.Container, pod_uid: str = "") -> NriContainer:
    """Read a container of the pod with `pod_uid`; the kubelet's label on the container goes first."""
    labels = dict(message.labels)
    return NriContainer(
        id=message.id,
        pod_sandbox_id=message.pod_sandbox_id,
        pod_uid=labels.get(POD_UID_LABEL) or pod_uid,
        name=message.name,
        state=_STATES.get(message.state, NriContainerState.UNKNOWN),
        labels=labels,
        annotations=dict(message.annotations),
        cgroups_path=message.linux.cgroups_path,
        resources=linux_resources(message.linux.resources),
        pid=message.pid,
        created_at=message.created_at,
        started_at=message.started_at,
        finished_at=message.finished_at,
        exit_code=message.exit_code,
    )


def with_pod_uids(containers: Iterable[NriContainer], pods: Iterable[PodSandbox]) -> list[NriContainer]:
    """Fill in the uid of its pod for each container whose own labels do not have it."""
    uids = {pod.id: pod.uid for pod in pods}
    return [
        container if container.pod_uid else replace(container, pod_uid=uids.get(container.pod_sandbox_id, ""))
        for container in containers
    ]


def linux_resources(message: pb.LinuxResources) -> LinuxResources:
    """Read resources; absent and empty values are None."""
    cpu, memory = message.cpu, message.memory
    return LinuxResources(
        cpus=cpu.cpus or None,
        mems=cpu.mems or None,
        cpu_quota=cpu.quota.value if cpu.HasField("quota") else None,
        cpu_period=cpu.period.value if cpu.HasField("period") else None,
        cpu_shares=cpu.shares.value if cpu.HasField("shares") else None,
        memory_limit=memory.limit.value if memory.HasField("limit") else None,
        hugepage_limits={limit.page_size: limit.limit for limit in message.hugepage_limits},
        unified=dict(message.unified),
    )


def container_update(message: pb.ContainerUpdate) -> ContainerUpdate:
    """Read an update, as the runtime hands back those that failed."""
    return ContainerUpdate(
        message.container_id, linux_resources(message.linux.resources), message.ignore_failure
    )
