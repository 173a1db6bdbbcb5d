"""What one decision adds to the three resource manager counters of the kubelet.

`allocations` and `errors` are keyed by (resource, source), `assignments` by (resource, type);
resource is "cpu" or "memory", source "pod" or "node", type as in decision.AssignmentType
(never node_shared: what nobody assigned is not counted). Specification: section 8.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Increments = Mapping[tuple[str, str], int]
NOTHING: Increments = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counts:
    """Increments of resource_manager_allocations_total, ..._errors_total, ..._container_assignments."""

    allocations: Increments = field(default_factory=lambda: NOTHING)
    errors: Increments = field(default_factory=lambda: NOTHING)
    assignments: Increments = field(default_factory=lambda: NOTHING)


NO_COUNTS = Counts()
