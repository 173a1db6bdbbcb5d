"""The simulated runtime as the node's side of an agent."""

from collections.abc import Callable
from pathlib import Path

from podnuma.agent.apiserver import paths
from podnuma.agent.cgroups.layout import Driver, Layout, detect
from podnuma.agent.discover.machine import Machine
from podnuma.agent.runtimes.backend import Hook, NodeBackend
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.runtimes.simulated.runtime import SimulatedRuntime
from podnuma.allocator import cpuset, nodeset


def simulated_backend(
    node: str, cgroup_root: Path, machine: Machine, hook: Hook, changed: Callable[[], None]
) -> NodeBackend:
    """Make the fake tree below `cgroup_root` if it is not there, and a runtime in it."""
    layout = detect(cgroup_root) or Layout(Driver.SYSTEMD)
    topology = machine.topology
    with_memory = nodeset.of(numa.id for numa in topology.nodes if numa.memory)
    kernel = FakeKernel(cgroup_root, cpuset.render(topology.all_cpus), nodeset.render(with_memory))
    runtime = SimulatedRuntime(kernel, layout, hook, changed)
    runtime.boot()
    return NodeBackend(
        layout=layout,
        runtime=runtime,
        mechanisms=(runtime,),
        describe=lambda: (runtime.name, "simulated"),
        sources=((paths.pods_source(node), runtime.take_pods),),
    )
