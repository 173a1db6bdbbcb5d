"""A KubeletConfiguration read as a NodeProfile: which of its fields mean the same, and which nothing.

The names are the kubelet's own. Of `kubeReserved` and `systemReserved` only CPUs count for the CPU manager;
memory is reserved per NUMA node, by `reservedMemory`. A field that podnuma has no use for is named, so that
nobody believes it is in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SAME: Final = (
    "cpuManagerPolicy",
    "cpuManagerPolicyOptions",
    "memoryManagerPolicy",
    "topologyManagerPolicy",
    "topologyManagerScope",
    "topologyManagerPolicyOptions",
    "reservedSystemCPUs",
    "reservedMemory",
    "cpuCFSQuota",
    "cpuCFSQuotaPeriod",
)
_AMOUNTS: Final = ("kubeReserved", "systemReserved")
_CPU: Final = "cpu"

CONFIGURED: Final = (*_SAME, *_AMOUNTS)
"""The fields that a NodeProfile takes over, some of them in part."""


@dataclass(frozen=True, slots=True)
class KubeletSettings:
    """What of a kubelet's configuration a NodeProfile takes over, and the fields that mean nothing here."""

    spec: Mapping[str, Any]
    unused: tuple[str, ...]


def kubelet_settings(configuration: Mapping[str, Any]) -> KubeletSettings:
    """Take over what means the same."""
    spec: dict[str, Any] = {field: configuration[field] for field in _SAME if _is_set(configuration, field)}
    unused = [
        field
        for field in sorted(configuration)
        if field not in (*CONFIGURED, "apiVersion", "kind") and _is_set(configuration, field)
    ]
    for field in _AMOUNTS:
        amounts = configuration.get(field)
        if isinstance(amounts, Mapping):
            if _CPU in amounts:
                spec[field] = {_CPU: amounts[_CPU]}
            unused += (f"{field}.{name}" for name in sorted(amounts) if name != _CPU)
    return KubeletSettings(spec, tuple(unused))


def _is_set(configuration: Mapping[str, Any], field: str) -> bool:
    return configuration.get(field) not in (None, "", {}, [])
