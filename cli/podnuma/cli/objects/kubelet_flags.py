"""The kubelet's command line: flags that say what fields of its configuration say, and win over these.

Installers keep flags as a list of texts (`cpu-manager-policy=static`, with or without `--`), as a list of
names with values, as an object whose values may be objects or lists (Bottlerocket), or within a text: a
command line, the file of a systemd unit or of its environment, a script that starts a node. The kubelet takes
`_` in the name of a flag for `-`.
"""

import re
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
_QUOTAS: Final = ("cpu-cfs-quota", "cpu-cfs-quota-enforced")  # the kubelet's name, and Bottlerocket's
_MEMORY: Final = "reserved-memory"
_KNOWN: Final = "|".join(name.replace("-", "[-_]") for name in (*_TEXTS, *_OBJECTS, *_QUOTAS, _MEMORY))
_VALUE: Final = r"(?:=|[ \t]+)(\"[^\"]*\"|'[^']*'|[^\s\"'\\]+)"
_IN_TEXT: Final = re.compile(rf"--({_KNOWN}){_VALUE}")
_CONFIG: Final = re.compile(rf"--config{_VALUE}")
_COMMENT: Final = re.compile(r"^[ \t]*#.*$", re.MULTILINE)


def fields_of_flags(flags: Any) -> dict[str, Any]:
    """Return what flags say, by the names of a configuration; of other flags nothing."""
    found: dict[str, Any] = {}
    for written, value in _flags(flags):
        flag = written.removeprefix("--").replace("_", "-")
        if flag in _TEXTS:
            found[_TEXTS[flag]] = _text(value)
        elif flag in _OBJECTS:
            found[_OBJECTS[flag]] = pairs(value)
        elif flag in _QUOTAS:
            found["cpuCFSQuota"] = _text(value).lower() not in ("0", "f", "false")
        elif flag == _MEMORY:
            found["reservedMemory"] = _reserved_memory(value)
    return found


def fields_of_text(text: str) -> dict[str, Any]:
    """Return what the flags within a text say; lines of comments are not looked at."""
    found = _IN_TEXT.finditer(_COMMENT.sub("", text))
    return fields_of_flags([{"name": one[1], "value": one[2].strip("\"'")} for one in found])


def configuration_file(text: str) -> str:
    """Return the file that a command line names as the kubelet's configuration; empty if it names none."""
    found = _CONFIG.search(_COMMENT.sub("", text))
    return found[1].strip("\"'") if found else ""


def _flags(flags: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(flags, Mapping):
        yield from ((str(flag), value) for flag, value in flags.items())
    for one in flags if isinstance(flags, list) else ():
        if isinstance(one, str):
            flag, _, value = one.partition("=")
            yield flag.strip(), value.strip()
        elif isinstance(one, Mapping) and "name" in one:
            yield str(one["name"]), one.get("value")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def pairs(value: Any) -> dict[str, str]:
    """Read "a=1,b=2"; of a list what is switched on, of an object its entries."""
    if isinstance(value, Mapping):
        return {str(name): _text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return {str(name): "true" for name in value}
    parts = (part.partition("=") for part in _text(value).split(",") if part.strip())
    return {name.strip(): inner.strip() for name, _, inner in parts}


def _reserved_memory(value: Any) -> list[dict[str, Any]]:
    """Read "0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=1Gi"; a NUMA node that is no number stays as it is."""
    parts = value.items() if isinstance(value, Mapping) else _by_node(_text(value))
    return [
        {"numaNode": int(node) if node.isdecimal() else node, "limits": pairs(limits)}
        for node, limits in ((str(node).strip(), limits) for node, limits in parts)
        if node
    ]


def _by_node(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        node, _, limits = part.partition(":")
        yield node, limits
