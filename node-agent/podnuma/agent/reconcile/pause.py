"""Reasons to pause: another program that pins containers on this node, or the kubelet itself.

Two programs that pin the same containers undo each other's values without end. So podnuma applies nothing
while another one is there, and names it in a condition.

Whether the kubelet pins is in its folder. Distributions have it in several places, and storage drivers make
one where it usually is. The folder of the kubelet that runs has one of each of its pods: where it has none of
those that run, it is another's, and nobody knows what the kubelet does (kubevirt/kubevirt#16346). Nor does
anybody where its files may not be read, as under a policy of SELinux.

Programs are recognized by the names of their containers, which any user can choose. So only containers in the
cluster administrators' namespaces count. A program elsewhere is found by what it writes (`contention`).
"""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.model.containers import Container

logger = logging.getLogger(__name__)

SYSTEM_NAMESPACES = ("kube-system", "koordinator-system", "katalyst-system")
"""Where the manifests and charts of these programs put them."""

_LONGEST_STATE = 4 * 2**20


def pause_reason(
    kubelet_root: Path, containers: Sequence[Container], *, simulated: bool = False
) -> str | None:
    """Return why nothing is to be applied on this node, or None. `simulated`: there is no kubelet."""
    why = static_kubelet(kubelet_root)
    if why is None and not simulated:
        why = _another_folder(kubelet_root, containers)
    if why is not None:
        return why
    others = other_managers(found.name for found in containers if found.namespace in SYSTEM_NAMESPACES)
    if others:
        return f"{', '.join(others)} also pins containers on this node; remove it from this node, or podnuma"
    return None


def static_kubelet(kubelet_root: Path) -> str | None:
    """Return why the kubelet pins containers itself, by its state files, or may; None if it does not."""
    for file, policy, field in (
        ("cpu_manager_state", "static", "cpuManagerPolicy: none"),
        ("memory_manager_state", "Static", "memoryManagerPolicy: None"),
    ):
        path = kubelet_root / file
        try:
            policies = _policies(path)
        except PermissionError as error:
            return (
                f"{path} cannot be read ({error.strerror}), so whether the kubelet pins containers itself is"
                " not known; where SELinux denies it, set agent.seLinuxType of the chart to spc_t"
            )
        if policy in policies:
            return (
                f'{path} says policyName "{policy}": the kubelet pins containers itself and would undo every'
                f" value; set {field} in its configuration, remove that file and restart it"
            )
    return None


def _another_folder(kubelet_root: Path, containers: Iterable[Container]) -> str | None:
    """Return why a folder is not that of the kubelet which runs these containers; None if it may be."""
    running = {found.pod_uid for found in containers if not found.ended}
    pods = kubelet_root / "pods"
    try:
        there = os.listdir(pods)  # noqa: PTH208 - in every pass, and names are all that is asked
    except FileNotFoundError:
        there = []
    except OSError as error:  # as under a policy of SELinux: then it may be the right one
        logger.debug("%s: %s", pods, error)
        return None
    # A link leads out of what is mounted here, as to a larger disk (kubernetes/kubernetes#79093).
    if not running or not running.isdisjoint(there) or (not there and pods.is_symlink()):
        return None
    return (
        f"{pods} has none of the pods that run here, so this is not the folder of this node's kubelet, and"
        " whether that pins containers itself cannot be seen; set agent.kubeletDirectory of the chart to the"
        " kubelet's --root-dir: /var/lib/k0s/kubelet for k0s, /var/snap/microk8s/common/var/lib/kubelet for"
        " MicroK8s"
    )


def _policies(path: Path) -> tuple[object, ...]:
    """Return the policies that a state file names.

    From v1.37 on the content stands in `data`, as JSON in a text. What is beside it is a copy for older
    kubelets, and goes when these are out of support (kubernetes/kubernetes#139069). Raises PermissionError.
    """
    try:
        with path.open("rb") as file:
            state = _object(file.read(_LONGEST_STATE))
    except PermissionError:
        raise
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
