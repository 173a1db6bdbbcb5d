"""Resident memory of ten thousand nodes of 128 CPUs with thirty pods each: `python -m benchmarks.memory`.

All nodes are the same machine with the same settings, as in a cluster of equal servers, and share
what is derived from these; each node holds its own grants. A pod has a budget of 4 CPUs, one
exclusive container and two that share.
"""

import resource
import sys
import time
from dataclasses import dataclass, replace

from podnuma.allocator import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.cli.objects.scenarios import read_scenario, read_settings

from benchmarks import admissions, shapes

NODES, PODS = 10_000, 30


@dataclass(frozen=True, slots=True)
class Held:
    """What holding the pods cost."""

    pods: int
    mebibytes: int
    seconds: float


def fill(nodes: int = NODES) -> Held:
    """Decide and hold the pods of all nodes; the peak of memory is that of the process."""
    scenario = shapes.scenarios()[0]
    read = read_scenario(scenario)
    first = NodeAllocator.empty(read_settings(read.kubelet), read.topology)
    (shape,) = (step["pod"] for step in scenario["steps"] if step["pod"]["metadata"]["name"] == "budget")
    pod = admissions.read_shape(shape)
    empty, start = _resident(), time.process_time()
    allocators = [NodeAllocator(first.rules) for _ in range(nodes)]
    for place, node in enumerate(allocators):
        for serial in range(PODS):
            uid = f"{place:08}-0000-4000-8000-{serial:012}"
            decision = node.decide(replace(pod, uid=uid, name=f"app-{serial}"))
            if isinstance(decision, Admitted):
                node.hold(decision)
    took = time.process_time() - start
    held = sum(len(node.grants) for node in allocators)
    return Held(held, _resident() - empty, took)


def main() -> int:
    """Fill the nodes and print the peak."""
    held = fill()
    sys.stdout.write(
        f"{NODES:,} nodes of 128 CPUs hold {held.pods:,} pods in {held.mebibytes} MiB, "
        f"decided and held in {held.seconds:.0f} s\n"
    )
    return 0


def _resident() -> int:
    """Return the peak resident set in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
