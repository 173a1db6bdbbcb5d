"""Pods that are resized in place on a real API server, and what a kubelet reports of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.api import Api, Json

MEMORY = "4Gi"
FEATURES = ("InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pod asks for: CPUs of its budget (none: no budget), and of its containers by name.

    CPUs are both request and limit, "1:2" a request and a limit; a container without asks for nothing. All
    have a memory of 1Gi, the budget `memory`. `sidecars` start before `init`, which runs before the others.
    """

    budget: str
    containers: Mapping[str, str]
    memory: str = MEMORY
    sidecars: Mapping[str, str] = field(default_factory=dict)
    init: Mapping[str, str] = field(default_factory=dict)

    def pod(self, name: str, node: str = "n1") -> Json:
        always = {"restartPolicy": "Always"}
        spec: Json = {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "initContainers": [
                *(entry(one, cpu) | {"image": "x"} | always for one, cpu in self.sidecars.items()),
                *(entry(one, cpu) | {"image": "x"} for one, cpu in self.init.items()),
            ],
            "containers": [entry(one, cpu) | {"image": "x"} for one, cpu in self.containers.items()],
        }
        if self.budget:
            spec["resources"] = amounts(self.budget, self.memory)
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    def patch(self) -> Json:
        """Return what makes a pod this shape."""
        started = [*self.sidecars.items(), *self.init.items()]
        spec: Json = {
            "initContainers": [entry(one, cpu) for one, cpu in started if cpu],
            "containers": [entry(one, cpu) for one, cpu in self.containers.items() if cpu],
        }
        if self.budget:
            spec["resources"] = amounts(self.budget, self.memory)
        return {"spec": spec}

    def status(self) -> Json:
        """What a kubelet reports that has allocated this; init containers run still."""
        found: Json = {
            "phase": "Pending" if self.init else "Running",
            "initContainerStatuses": [state(*one) for one in (*self.sidecars.items(), *self.init.items())],
            "containerStatuses": [] if self.init else [state(*one) for one in self.containers.items()],
        }
        if self.budget:
            found["allocatedResources"] = amounts(self.budget, self.memory)["requests"]
        return found


def entry(name: str, cpu: str) -> Json:
    return {"name": name, "resources": amounts(cpu)} if cpu else {"name": name}


def state(name: str, cpu: str) -> Json:
    resources = amounts(cpu) if cpu else {}
    return {
        "name": name,
        "image": "x",
        "imageID": "x",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {}},
        "resources": resources,
        **({"allocatedResources": resources["requests"]} if cpu else {}),
    }


def amounts(cpu: str, memory: str = "1Gi") -> Json:
    request, _, limit = cpu.partition(":")
    return {
        "requests": {"cpu": request, "memory": memory},
        "limits": {"cpu": limit or request, "memory": memory},
    }


def budget(whole: str, own: str, memory: str = MEMORY) -> Shape:
    return Shape(whole, {"db": own, "log": ""}, memory)


def declare(api: Api, node: str, features: Sequence[str] = FEATURES) -> None:
    """Declare what the API server wants of a node before it lets budgets and init containers be resized."""
    api.merge(f"/api/v1/nodes/{node}/status", {"status": {"declaredFeatures": list(features)}})


def resize(api: Api, namespace: str, name: str, patch: Json) -> None:
    """Resize a pod, as `kubectl patch --subresource resize` does."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/resize"
    api.request("PATCH", path, patch, content_type="application/strategic-merge-patch+json")


def report(api: Api, namespace: str, name: str, allocated: Shape, **more: Any) -> None:
    """Do what a kubelet does that has allocated something."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    api.merge(path, {"status": {**allocated.status(), **more}})
