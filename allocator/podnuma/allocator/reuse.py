"""What later containers of a pod can reuse of its standard init containers, outside bubbles.

They end before the others start, so their CPUs and memory are used again. Sidecars keep what
they have.

Always true: `cpus` are CPUs of ended init containers that no running container has; the sizes
recorded for all containers of a pod add up to what the node is charged.
In the kubelet: `updateCPUsToReuse` and `updatePodReusableMemory`.
"""

from podnuma.allocator.attempt import Blocks, ContainerAssignment
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.request import ContainerKind


class ReusableResources:
    """What can be used again: a CPU set, and bytes by (node set, resource)."""

    __slots__ = ("cpus", "memory")

    def __init__(self) -> None:
        self.cpus = 0
        self.memory: dict[tuple[int, str], int] = {}

    def note_cpus(self, kind: ContainerKind, cpus: int) -> None:
        """Take note of a container's CPUs."""
        if kind is ContainerKind.INIT:
            self.cpus |= cpus
        else:
            self.cpus &= ~cpus

    def note_memory(self, kind: ContainerKind, blocks: Blocks) -> None:
        """Take note of a container's memory."""
        for block in blocks:
            key = (block.nodes, block.resource)
            have = self.memory.get(key, 0)
            if kind is ContainerKind.INIT:
                self.memory[key] = max(have, block.size)
            else:
                self.memory[key] = max(0, have - block.size)


def shrink(inits: list[ContainerAssignment], blocks: Blocks) -> None:
    """Lower the recorded sizes of earlier standard init containers by what `blocks` takes over."""
    for block in blocks:
        left = block.size
        for assignment in inits:
            if left and assignment.memory:
                assignment.memory, left = _lowered(assignment.memory, block, left)


def _lowered(blocks: Blocks, taker: MemoryBlock, left: int) -> tuple[Blocks, int]:
    lowered = []
    for block in blocks:
        if block.resource == taker.resource and block.nodes == taker.nodes:
            taken = min(block.size, left)
            left -= taken
            lowered.append(MemoryBlock(block.resource, block.nodes, block.size - taken))
        else:
            lowered.append(block)
    return tuple(lowered), left
