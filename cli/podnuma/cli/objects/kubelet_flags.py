"""The kubelet's command line: flags that say what fields of its configuration say, and win over these.

Installers keep flags as a list of texts (`cpu-manager-policy=static`, with or without `--`), as a list of
names with values, or as an object.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_TEXTS: Final = {
    "cpu-manager-policy": "cpuManagerPolicy",
    "memory-manager-policy": "memoryManagerPolicy",
    "topology-manager-policy": "topologyManagerPolicy",
    "topology-manager-scope": "topologyManagerScope",
    "reserved-cpus": "reservedSystemCPUs",
    "cpu-cfs-quota-period": "cpuCFSQuotaPeriod",
}
_OBJECTS: Final = {
    "cpu-manager-policy-options": "cpuManagerPolicyOptions",
    "topology-manager-policy-options": "topologyManagerPolicyOptions",
    "kube-reserved": "kubeReserved",
    "system-reserved": "systemReserved",
}
_QUOTA: Final = "cpu-cfs-quota"
_MEMORY: Final = "reserved-memory"


def fields_of_flags(flags: Any) -> dict[str, Any]:
    """Return what flags say, by the names of a configuration; of other flags nothing."""
    found: dict[str, Any] = {}
    for written, value in _flags(flags):
        flag = written.removeprefix("--")
        if flag in _TEXTS:
            found[_TEXTS[flag]] = value
        elif flag in _OBJECTS:
            found[_OBJECTS[flag]] = _pairs(value)
        elif flag == _QUOTA:
            found["cpuCFSQuota"] = value.lower() not in ("0", "f", "false")
        elif flag == _MEMORY:
            found["reservedMemory"] = _reserved_memory(value)
    return found


def _flags(flags: Any) -> Iterator[tuple[str, str]]:
    if isinstance(flags, Mapping):
        yield from ((str(flag), _text(value)) for flag, value in flags.items())
    for one in flags if isinstance(flags, list) else ():
        if isinstance(one, str):
            flag, _, value = one.partition("=")
            yield flag.strip(), value.strip()
        elif isinstance(one, Mapping) and "name" in one:
            yield str(one["name"]), _text(one.get("value"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _pairs(text: str) -> dict[str, str]:
    """Read "a=1,b=2"."""
    parts = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in parts}


def _reserved_memory(text: str) -> list[dict[str, Any]]:
    """Read "0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=1Gi"; a NUMA node that is no number stays as it is."""
    found = []
    for part in text.split(";"):
        node, _, limits = part.partition(":")
        if node.strip():
            number: Any = int(node) if node.strip().isdecimal() else node.strip()
            found.append({"numaNode": number, "limits": _pairs(limits)})
    return found
