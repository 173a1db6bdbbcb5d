"""The devices of an addPod step of `podnuma replay`: which ones there are, and which the pod has already.

    "devices": {"example.com/gpu": [{"id": "gpu-0", "numaNodes": [0]},
                                    {"id": "gpu-1", "numaNodes": [1], "busy": true},
                                    {"id": "gpu-2", "numaNodes": [1], "container": "main"}]}

A resource of which a container has devices already is a fixed wish; of any other one the limits of the
containers say how many are wanted, out of those that are not busy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from podnuma.allocator import PodRequest, nodeset
from podnuma.allocator.request import ContainerRequest, Device, DeviceRequest
from podnuma.cli.objects.scenarios import ScenarioError, ScenarioJson, expect_object

_MOST_DEVICES = 1024


def with_devices(pod: PodRequest, written: ScenarioJson, devices: Any) -> PodRequest:
    """Return the pod with the wishes that a step describes. Raises ScenarioError."""
    if not devices:
        return pod
    resources = [
        (name, _read_devices(rows, f"devices.{name}"))
        for name, rows in expect_object(devices, "devices").items()
    ]
    limits = _limits(expect_object(written.get("spec"), "pod.spec"))
    containers = tuple(
        replace(container, devices=tuple(_wishes(container, limits.get(container.name, {}), resources)))
        for container in pod.containers
    )
    return replace(pod, containers=containers)


_Rows = Sequence[tuple[Device, ScenarioJson]]


def _wishes(
    container: ContainerRequest, limits: Mapping[str, Any], resources: Sequence[tuple[str, _Rows]]
) -> list[DeviceRequest]:
    found = []
    for name, rows in resources:
        every = tuple(device for device, _ in rows)
        if any(row.get("container") for _, row in rows):
            own = tuple(device for device, row in rows if row.get("container") == container.name)
            if own:
                found.append(DeviceRequest.chosen(name, own, every))
        elif name in limits:
            free = tuple(device for device, row in rows if not row.get("busy"))
            found.append(DeviceRequest(name, _count(limits[name], name), free, every))
    return found


def _read_devices(rows: Any, path: str) -> _Rows:
    if not isinstance(rows, list) or len(rows) > _MOST_DEVICES:
        raise ScenarioError(f"{path}: {rows!r:.60} is not a list of at most {_MOST_DEVICES} devices")
    found = []
    for index, row in enumerate(rows):
        one = expect_object(row, f"{path}[{index}]")
        nodes = one.get("numaNodes") or []
        if not isinstance(nodes, list) or not all(type(node) is int for node in nodes):
            raise ScenarioError(f"{path}[{index}].numaNodes: {nodes!r:.60} is not a list of node ids")
        try:
            found.append((Device(str(one.get("id")), nodeset.of(nodes)), one))
        except ValueError as error:
            raise ScenarioError(f"{path}[{index}].numaNodes: {error}") from error
    return found


def _limits(spec: ScenarioJson) -> dict[str, Mapping[str, Any]]:
    found = {}
    for part in ("initContainers", "containers"):
        for container in spec.get(part) or ():
            resources = container.get("resources") or {}
            found[str(container.get("name"))] = resources.get("limits") or {}
    return found


def _count(amount: Any, name: str) -> int:
    try:
        return int(amount)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"limits.{name}: {amount!r:.60} is not a whole number of devices") from error
