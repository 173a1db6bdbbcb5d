"""Names that both sides of the API agree on: group, labels, annotations, field managers."""

from typing import Final

GROUP: Final = "podnuma.dev"
VERSION: Final = "v1alpha1"

NODE_NAME_FIELD: Final = "spec.nodeName"
"""The selectable field of PodAllocations by which an agent watches its own."""

OPERATOR_MANAGER: Final = "podnuma-operator"
AGENT_MANAGER: Final = "podnuma-agent"
"""Field managers for server-side apply."""

OPERATOR_LEASE: Final = "podnuma-operator"
"""The Lease by which replicas of the operator elect the one that writes."""

MANAGED_LABEL: Final = "podnuma.dev/managed"
"""On a pod, with value "true": asks for management where the profile says OptIn."""

RESOURCES_ANNOTATION: Final = "podnuma.dev/resources"
"""On a pod: the JSON of ``spec.resources`` for API servers that drop that field (before v1.34)."""

PLACEMENT_GATE: Final = "podnuma.dev/placement"
"""Scheduling gate: the pod waits for a node that can hold it. Removed by the operator only."""

CGROUP_FINALIZER: Final = "podnuma.dev/cgroup"
"""On a PodAllocation that holds something: it stays until no process can be on its CPUs any more."""

STATIC_POD_HASH_ANNOTATION: Final = "kubernetes.io/config.hash"
"""On the mirror pod of a static pod: the UID under which the node knows that pod."""

STATIC_POD_MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"

_LONGEST_ASIDE: Final = 240  # of 253 characters
_UID_ASIDE: Final = 8  # characters

NOTHING: Final = "-"
"""In display fields: no value. Printer columns are never empty."""


def beginning(name: str, longest: int) -> str:
    """Return the beginning of an object's name, cut so that "-" or "." and more can follow it.

    Each part of a name between two dots begins and ends with a letter or a digit: "a.-b" is refused.
    """
    return name[:longest].rstrip(".-")


def aside(name: str, pod_uid: str) -> str:
    """Return the name for the PodAllocation of a former pod when another pod has its name."""
    return f"{beginning(name, _LONGEST_ASIDE)}-{pod_uid[:_UID_ASIDE]}"


def pod_name(allocation: str, pod_uid: str) -> str:
    """Return the name of the pod that a PodAllocation of this name is about, also where it is set aside."""
    return allocation.removesuffix(f"-{pod_uid[:_UID_ASIDE]}")
