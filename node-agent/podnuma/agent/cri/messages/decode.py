"""Protobuf into values. Unknown enum numbers of later versions become UNKNOWN, never an error."""

import json
from collections.abc import Mapping
from typing import Any, Final

from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.values import (
    ContainerEvent,
    CriContainer,
    CriContainerState,
    CriContainerStatus,
    EventKind,
    LinuxContainerResources,
    RuntimeVersion,
)

# Set by the kubelet on every container.
POD_UID_LABEL: Final = "io.kubernetes.pod.uid"
POD_NAMESPACE_LABEL: Final = "io.kubernetes.pod.namespace"
POD_NAME_LABEL: Final = "io.kubernetes.pod.name"

_STATES: Final = {state.value: state for state in CriContainerState}
_EVENTS: Final = {kind.value: kind for kind in EventKind}


def runtime_version(message: pb.VersionResponse) -> RuntimeVersion:
    """Read who answers."""
    return RuntimeVersion(message.runtime_name, message.runtime_version, message.runtime_api_version)


def cri_container(message: pb.Container) -> CriContainer:
    """Read a container of a list."""
    labels = dict(message.labels)
    return CriContainer(
        id=message.id,
        pod_sandbox_id=message.pod_sandbox_id,
        pod_uid=labels.get(POD_UID_LABEL, ""),
        pod_namespace=labels.get(POD_NAMESPACE_LABEL, ""),
        pod_name=labels.get(POD_NAME_LABEL, ""),
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=_STATES.get(message.state, CriContainerState.UNKNOWN),
        created_at=message.created_at,
        labels=labels,
        annotations=dict(message.annotations),
    )


def container_status(message: pb.ContainerStatusResponse) -> CriContainerStatus:
    """Read one container in detail."""
    of = message.status
    pid, cgroups_path = _process(message.info)
    return CriContainerStatus(
        id=of.id,
        name=of.metadata.name,
        state=_STATES.get(of.state, CriContainerState.UNKNOWN),
        created_at=of.created_at,
        started_at=of.started_at,
        finished_at=of.finished_at,
        exit_code=of.exit_code,
        resources=container_resources(of.resources.linux) if of.resources.HasField("linux") else None,
        pid=pid,
        cgroups_path=cgroups_path,
        labels=dict(of.labels),
        annotations=dict(of.annotations),
    )


def container_resources(message: pb.LinuxContainerResources) -> LinuxContainerResources:
    """Read resources; zero and empty are how CRI says not set."""
    return LinuxContainerResources(
        cpus=message.cpuset_cpus or None,
        mems=message.cpuset_mems or None,
        cpu_quota=message.cpu_quota or None,
        cpu_period=message.cpu_period or None,
        cpu_shares=message.cpu_shares or None,
        memory_limit=message.memory_limit_in_bytes or None,
        unified=dict(message.unified),
    )


def container_event(message: pb.ContainerEventResponse) -> ContainerEvent | None:
    """Read an event; None for kinds of later versions."""
    kind = _EVENTS.get(message.container_event_type)
    if kind is None:
        return None
    uid = message.pod_sandbox_status.metadata.uid
    return ContainerEvent(kind, message.container_id, uid, message.created_at)


def _process(info: Mapping[str, str]) -> tuple[int | None, str | None]:
    # Free text by the standard; containerd and CRI-O agree on JSON with pid and runtimeSpec.
    try:
        parsed = json.loads(info.get("info", "null"))
    except (ValueError, RecursionError):
        return None, None
    pid = _member(parsed, "pid")
    path = _member(_member(_member(parsed, "runtimeSpec"), "linux"), "cgroupsPath")
    is_pid = isinstance(pid, int) and not isinstance(pid, bool) and pid > 0
    return pid if is_pid else None, path if isinstance(path, str) and path else None


def _member(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None
