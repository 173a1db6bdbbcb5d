"""How containers are counted: by assignment type, and for the kubelet's three resource manager metrics.

`count_assignments` says how many containers have which assignment now; `tally` says what one
decision adds to the counters.

`allocations` and `errors` are keyed by (resource, source), `assignments` by (resource, type);
resource is "cpu" or "memory", source "pod" (from a bubble) or "node". The counters leave out
node-shared containers, which were assigned nothing. Memory from the node counts one allocation
per memory resource, everything else one per container. In the kubelet: pkg/kubelet/metrics/metrics.go.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

Increments = Mapping[tuple[str, str], int]
NOTHING: Increments = MappingProxyType({})


class AssignmentType(Enum):
    """Whose resource a container runs on, as the assignment metric spells it."""

    __hash__ = object.__hash__  # an Enum's own is Python, and these are keys of every decision

    NODE_EXCLUSIVE = "node_exclusive"
    POD_EXCLUSIVE = "pod_exclusive"
    POD_SHARED = "pod_shared"
    NODE_SHARED = "node_shared"


@dataclass(frozen=True, slots=True)
class Counts:
    """Increments of resource_manager_allocations_total, ..._errors_total, ..._container_assignments."""

    allocations: Increments = field(default_factory=lambda: NOTHING)
    errors: Increments = field(default_factory=lambda: NOTHING)
    assignments: Increments = field(default_factory=lambda: NOTHING)


Assigned = tuple[str, AssignmentType, int]
"""(resource, type, how many memory resources; 1 for CPUs) of one container."""


AssignmentCounts = Mapping[tuple[str, AssignmentType], int]
"""Numbers of containers by ("cpu" or "memory", assignment type)."""


def count_assignments(assigned: Iterable[Assigned]) -> AssignmentCounts:
    """Count containers by resource and assignment type, node-shared ones too."""
    return Counter((resource, kind) for resource, kind, _ in assigned)


def tally(assigned: Iterable[Assigned], error: tuple[str, str] | None = None) -> Counts:
    """Count assignments, and the error (resource, source) that ended a decision, if any."""
    allocations: Counter[tuple[str, str]] = Counter()
    assignments: Counter[tuple[str, str]] = Counter()
    for resource, kind, amount in assigned:
        if kind is AssignmentType.NODE_SHARED:
            continue
        if kind is AssignmentType.NODE_EXCLUSIVE:
            allocations[resource, "node"] += amount
        else:
            allocations[resource, "pod"] += 1
        assignments[resource, kind.value] += 1
    return Counts(allocations, {error: 1} if error else NOTHING, assignments)
