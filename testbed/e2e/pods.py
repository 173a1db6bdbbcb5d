"""Pods for a test cluster, made from realistic ones: the same shape, with a program that needs nothing.

Every container first prints the CPUs and memory nodes it may use, then waits; init containers print
and end. Memory is divided, since a test machine has little; CPUs stay as they are. What a cluster would
have to provide (devices, volumes, image registries, service accounts, runtime classes) is left out, and
so is a pod network, whose set-up takes seconds under emulation.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.api import Json

FIRST_WORDS = "grep allowed_list /proc/self/status"
WAIT = f"{FIRST_WORDS}; trap 'exit 0' TERM; sleep 1000000 & wait"
# Less than this and the runtime's own start is killed for want of memory.
_LEAST_MEMORY = 32 * 2**20
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def load(path: Path, image: str, memory_divisor: int = 16) -> Json:
    """Read a pod manifest and make it runnable anywhere that has `image`."""
    pod: Json = next(iter(yaml.safe_load_all(path.read_text())))
    return runnable(pod, image, memory_divisor)


def pod(
    name: str,
    image: str,
    containers: Mapping[str, str | None],
    *,
    budget: str | None = None,
    sidecars: Sequence[str] = (),
    inits: Sequence[str] = (),
) -> Json:
    """Make a pod from container names and their CPUs, as both request and limit; None asks for nothing.

    `budget`: the CPUs of the pod as a whole, in spec.resources. 64 MiB go with every amount of CPUs of
    a container and 256 MiB with a budget, so that amounts make a container or pod Guaranteed. Sidecars
    and init containers ask for nothing; the latter end after 50 ms.
    """
    started = [_entry(each, image, f"{FIRST_WORDS}; usleep 50000") for each in inits]
    beside = [_entry(each, image, WAIT) | {"restartPolicy": "Always"} for each in sidecars]
    spec: Json = {"initContainers": started + beside, "containers": []}
    for container, cpus in containers.items():
        resources = {} if cpus is None else {"resources": _amounts(cpus, "64Mi")}
        spec["containers"].append(_entry(container, image, WAIT) | resources)
    if budget is not None:
        spec["resources"] = _amounts(budget, "256Mi")
    return runnable_as_it_is({"metadata": {"name": name}, "spec": spec})


def doing(pod: Json, command: str) -> Json:
    """Return the pod with another command in all its app containers."""
    containers = [entry | {"command": ["sh", "-c", command]} for entry in pod["spec"]["containers"]]
    return pod | {"spec": pod["spec"] | {"containers": containers}}


def _entry(name: str, image: str, command: str) -> Json:
    return {"name": name, "image": image, "command": ["sh", "-c", command]}


def runnable_as_it_is(pod: Json) -> Json:
    """Return a pod with what all pods of the suite have in common."""
    spec = pod["spec"] | {
        "terminationGracePeriodSeconds": 1,
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
    }
    for group in ("initContainers", "containers"):
        for container in spec.get(group, []):
            container.setdefault("imagePullPolicy", "IfNotPresent")
    return {"apiVersion": "v1", "kind": "Pod"} | pod | {"spec": spec}


def _amounts(cpus: str, memory: str) -> Json:
    both = {"cpu": cpus, "memory": memory}
    return {"requests": both, "limits": both}


def runnable(pod: Json, image: str, memory_divisor: int = 16) -> Json:
    """Return the pod with programs that wait, in namespace default, with 1/`memory_divisor` of its memory."""
    spec = copy.deepcopy(pod["spec"])
    kept = {
        key: spec[key]
        for key in ("resources", "restartPolicy", "initContainers", "containers")
        if key in spec
    }
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
    return runnable_as_it_is({"metadata": {"name": name, "labels": labels}, "spec": kept})


def _container(entry: Json, image: str, memory_divisor: int, *, waits: bool) -> Json:
    waits = waits or entry.get("restartPolicy") == "Always"
    kept = {key: entry[key] for key in ("name", "resources", "restartPolicy") if key in entry}
    _divide_memory(kept.get("resources", {}), memory_divisor)
    return kept | {
        "image": image,
        "command": ["sh", "-c", WAIT if waits else FIRST_WORDS],
    }


def _divide_memory(resources: Json, divisor: int) -> None:
    for amounts in resources.values():
        for name in [name for name in amounts if name not in ("cpu", "memory")]:
            del amounts[name]
        if "memory" in amounts:
            amounts["memory"] = str(max(_bytes(str(amounts["memory"])) // divisor, _LEAST_MEMORY))


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti)?", text)
    if found is None:
        raise ValueError(f"{text!r} is not a whole number of bytes, Ki, Mi, Gi or Ti")
    return int(found[1]) * _UNITS.get(found[2] or "", 1)
