"""Pods for a test cluster, made from realistic ones: the same shape, a program that needs nothing.

Every container first prints the CPUs and memory nodes it may use, then waits; init containers print
and end. Memory is divided, since a test machine has little; CPUs stay as they are. What a cluster would
have to provide (devices, volumes, image registries, service accounts, runtime classes) is left out.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.api import Json

FIRST_WORDS = "grep allowed_list /proc/self/status"
WAIT = f"{FIRST_WORDS}; trap 'exit 0' TERM; sleep 1000000 & wait"
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def load(path: Path, image: str, memory_divisor: int = 16) -> Json:
    """Read a pod manifest and make it runnable anywhere that has `image`."""
    pod: Json = next(iter(yaml.safe_load_all(path.read_text())))
    return runnable(pod, image, memory_divisor)


def runnable(pod: Json, image: str, memory_divisor: int = 16) -> Json:
    """Return the pod with programs that wait, in namespace default, with 1/`memory_divisor` of its memory."""
    spec = copy.deepcopy(pod["spec"])
    kept = {
        key: spec[key]
        for key in ("resources", "restartPolicy", "initContainers", "containers")
        if key in spec
    }
    kept["terminationGracePeriodSeconds"] = 1
    kept["tolerations"] = [{"operator": "Exists"}]
    _divide_memory(kept.get("resources", {}), memory_divisor)
    for group in ("initContainers", "containers"):
        kept[group] = [
            _container(entry, image, memory_divisor, waits=group == "containers")
            for entry in kept.get(group, [])
        ]
    if not kept["initContainers"]:
        del kept["initContainers"]
    name = pod["metadata"].get("name") or pod["metadata"]["generateName"].rstrip("-")
    labels = pod["metadata"].get("labels", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": kept}


def _container(entry: Json, image: str, memory_divisor: int, *, waits: bool) -> Json:
    waits = waits or entry.get("restartPolicy") == "Always"
    kept = {key: entry[key] for key in ("name", "resources", "restartPolicy") if key in entry}
    _divide_memory(kept.get("resources", {}), memory_divisor)
    return kept | {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", WAIT if waits else FIRST_WORDS],
    }


def _divide_memory(resources: Json, divisor: int) -> None:
    for amounts in resources.values():
        for name in [name for name in amounts if name not in ("cpu", "memory")]:
            del amounts[name]
        if "memory" in amounts:
            amounts["memory"] = str(_bytes(str(amounts["memory"])) // divisor)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti)?", text)
    if found is None:
        raise ValueError(f"{text!r} is not a whole number of bytes, Ki, Mi, Gi or Ti")
    return int(found[1]) * _UNITS.get(found[2] or "", 1)
