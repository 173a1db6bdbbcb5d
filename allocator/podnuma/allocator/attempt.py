"""One decision under way: what was handed out so far, to whom, and with which hint.

An attempt belongs to one call of `decide` and is thrown away with it. `assignments` has one entry
per container, in container order. `serving` is the (resource, source) whose error
counter would rise if the decision ended in a refusal now, None where none would.
"""

from collections.abc import Iterator

from podnuma.allocator.counts import Assigned, AssignmentType
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.topology_hint import TopologyHint

Blocks = tuple[MemoryBlock, ...]


class ContainerAssignment:
    """What one container was given. `cpus` None: the node shared pool. `memory` None: nothing recorded."""

    __slots__ = ("cpu_assignment", "cpus", "memory", "memory_assignment")

    def __init__(self) -> None:
        self.cpus: int | None = None
        self.memory: Blocks | None = None
        self.cpu_assignment = AssignmentType.NODE_SHARED
        self.memory_assignment = AssignmentType.NODE_SHARED


class AdmissionAttempt:
    """The outcome so far. `bubble_cpus` None and `bubble_memory` empty: no bubble on that side."""

    __slots__ = ("assignments", "bubble_cpus", "bubble_memory", "hints", "serving")

    hints: dict[str, TopologyHint]

    def __init__(self, containers: int) -> None:
        self.assignments = [ContainerAssignment() for _ in range(containers)]
        self.hints = {}
        self.bubble_cpus: int | None = None
        self.bubble_memory: Blocks = ()
        self.serving: tuple[str, str] | None = None

    def assigned(self) -> Iterator[Assigned]:
        """Yield what was assigned so far, for counting."""
        for assignment in self.assignments:
            yield "cpu", assignment.cpu_assignment, 1
            yield "memory", assignment.memory_assignment, len(assignment.memory or ())
