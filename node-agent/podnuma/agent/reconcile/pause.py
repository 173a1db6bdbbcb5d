"""Reasons to pause: another program that pins containers on this node, or the kubelet itself.

Two programs that pin the same containers undo each other's values without end. So podnuma applies nothing
while another one is there, and names it in a condition.

Programs are recognized by the names of their containers, which any user can choose. So only containers in the
cluster administrators' namespaces count. A program elsewhere is found by what it writes (`contention`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.model.containers import Container

SYSTEM_NAMESPACES = ("kube-system", "koordinator-system", "katalyst-system")
"""Where the manifests and charts of these programs put them."""

_LONGEST_STATE = 4 * 2**20


def pause_reason(kubelet_root: Path, containers: Sequence[Container]) -> str | None:
    """Return why nothing is to be applied on this node, or None."""
    static = static_kubelet(kubelet_root)
    if static is not None:
        return static
    others = other_managers(found.name for found in containers if found.namespace in SYSTEM_NAMESPACES)
    if others:
        return f"{', '.join(others)} also pins containers on this node; remove it from this node, or podnuma"
    return None


def static_kubelet(kubelet_root: Path) -> str | None:
    """Return why the kubelet pins containers itself, by its state files; None if it does not."""
    for file, policy, field in (
        ("cpu_manager_state", "static", "cpuManagerPolicy: none"),
        ("memory_manager_state", "Static", "memoryManagerPolicy: None"),
    ):
        path = kubelet_root / file
        if policy in _policies(path):
            return (
                f'{path} says policyName "{policy}": the kubelet pins containers itself and would undo every'
                f" value; set {field} in its configuration, remove that file and restart it"
            )
    return None


def _policies(path: Path) -> tuple[object, ...]:
    """Return the policies that a state file names.

    From v1.37 on the content stands in `data`, as JSON in a text. What is beside it is a copy for older
    kubelets, and goes when these are out of support (kubernetes/kubernetes#139069).
    """
    try:
        with path.open("rb") as file:
            state = _object(file.read(_LONGEST_STATE))
    except OSError:
        return ()
    return state.get("policyName"), _object(state.get("data")).get("policyName")


def _object(text: object) -> dict[str, object]:
    """Return the JSON object in a text; an empty one where there is none."""
    try:
        found = json.loads(text) if isinstance(text, (bytes, str)) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class OtherManager:
    """Another program that pins containers, and how it shows on a node: labels of its pods."""

    name: str
    images: tuple[str, ...]


OTHER_MANAGERS = (
    OtherManager("nri-plugins", ("nri-resource-policy-",)),
    OtherManager("koordlet", ("koordlet",)),
    OtherManager("dra-driver-cpu", ("dra-driver-cpu", "dracpu")),
    OtherManager("dra-driver-memory", ("dra-driver-memory", "dramemory")),
    OtherManager("CRI Resource Manager", ("cri-resmgr-agent",)),
    OtherManager("CPU-Pooler", ("cpu-device-plugin", "cpusetter")),
    OtherManager("katalyst-agent", ("katalyst-agent",)),
)


def other_managers(names: Iterable[str]) -> tuple[str, ...]:
    """Return who else pins containers, by the names of the containers that run on this node."""
    running = [name.lower() for name in names]
    found = {
        manager.name
        for manager in OTHER_MANAGERS
        for sign in manager.images
        if any(sign in name for name in running)
    }
    return tuple(sorted(found))
