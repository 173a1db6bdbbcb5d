"""The simulated runtime as the backend of a node."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from podnuma.agent.apiserver import paths
from podnuma.agent.cgroups.layout import Driver, Layout, detect
from podnuma.agent.discover.machine import Machine
from podnuma.agent.runtimes.backend import NodeBackend
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.runtimes.simulated.runtime import SimulatedRuntime
from podnuma.allocator import cpuset, nodeset


def simulated_backend(
    node: str, cgroup_root: Path, machine: Machine, changed: Callable[[], None]
) -> NodeBackend:
    """Make the fake tree below `cgroup_root` if it is not there, and a runtime in it."""
    layout = detect(cgroup_root) or Layout(Driver.SYSTEMD)
    topology = machine.topology
    with_memory = nodeset.of(numa.id for numa in topology.nodes if numa.memory)
    kernel = FakeKernel(cgroup_root, cpuset.render(topology.all_cpus), nodeset.render(with_memory))
    runtime = SimulatedRuntime(kernel, layout, changed)
    runtime.boot()
    return NodeBackend(
        layout=layout,
        runtime=runtime,
        mechanisms=(runtime,),
        describe=lambda: (runtime.name, "simulated"),
        sources=lambda hook: ((paths.pods_source(node), partial(runtime.take_pods, hook)),),
    )
