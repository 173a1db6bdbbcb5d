"""Objects of dynamic resource allocation, as a driver and its users write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION: Final = "resource.k8s.io/v1"
COLLECTION: Final = f"/apis/{API_VERSION}"
NUMA_NODE: Final = "resource.kubernetes.io/numaNode"

Json = dict[str, Any]


def device_class(driver: str) -> Json:
    """Return the class of all devices of a driver; it has the driver's name."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": driver},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{driver}"'}}]},
    }


def resource_slice(driver: str, node: str, devices: Mapping[str, int | None], generation: int = 1) -> Json:
    """Return what a driver publishes of a node: its devices and their NUMA nodes (None: not known)."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-{driver}-{generation}"},
        "spec": {
            "driver": driver,
            "nodeName": node,
            "pool": {"name": node, "generation": generation, "resourceSliceCount": 1},
            "devices": [
                {"name": name, "attributes": {} if numa is None else {NUMA_NODE: {"int": numa}}}
                for name, numa in devices.items()
            ],
        },
    }


def resource_claim(name: str, namespace: str, driver: str, count: int = 1) -> Json:
    """Return a claim for devices of a driver."""
    exactly = {"deviceClassName": driver, "allocationMode": "ExactCount", "count": count}
    return {
        "apiVersion": API_VERSION,
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"devices": {"requests": [{"name": "device", "exactly": exactly}]}},
    }


def claim_at(name: str, namespace: str, driver: str, at: Mapping[int, int]) -> Json:
    """Return a claim for devices of a driver by NUMA node: of each so many."""
    claim = resource_claim(name, namespace, driver)
    claim["spec"]["devices"]["requests"] = [
        {
            "name": f"node-{numa}",
            "exactly": {
                "deviceClassName": driver,
                "allocationMode": "ExactCount",
                "count": count,
                "selectors": [
                    {"cel": {"expression": f'device.attributes["resource.kubernetes.io"].numaNode == {numa}'}}
                ],
            },
        }
        for numa, count in at.items()
    ]
    return claim


def use_claim(pod: Json, claim: str, container: int = 0) -> Json:
    """Return a pod one of whose containers uses a claim."""
    spec = pod["spec"]
    containers = [dict(one) for one in spec["containers"]]
    resources = containers[container].get("resources", {})
    containers[container]["resources"] = {**resources, "claims": [{"name": claim}]}
    named = [*spec.get("resourceClaims", []), {"name": claim, "resourceClaimName": claim}]
    return {**pod, "spec": {**spec, "containers": containers, "resourceClaims": named}}
