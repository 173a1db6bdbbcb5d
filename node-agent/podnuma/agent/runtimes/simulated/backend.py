"""The simulated runtime as the backend of a node."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from podnuma.agent.apiserver import sources
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout, detect
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_values import KubepodsCpuset
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.runtimes.backend import NodeBackend
from podnuma.agent.runtimes.restore import Restorer
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.runtimes.simulated.runtime import SimulatedRuntime
from podnuma.allocator import cpuset, nodeset


def simulated_backend(
    node: str, cgroup_root: Path, machine: Machine, changed: Callable[[], None]
) -> NodeBackend:
    """Make the fake tree below `cgroup_root` if it is not there, and a runtime in it."""
    layout = detect(cgroup_root) or CgroupLayout(CgroupDriver.SYSTEMD)
    topology = machine.topology
    with_memory = nodeset.of(numa.id for numa in topology.nodes if numa.memory)
    kernel = FakeKernel(cgroup_root, cpuset.render(topology.all_cpus), nodeset.render(with_memory))
    runtime = SimulatedRuntime(kernel, layout, changed)
    runtime.boot()
    reader = CgroupReader(cgroup_root, layout)

    def kubepods() -> KubepodsCpuset | None:
        # The fake tree gets no CPUs that are switched on later, so what is written counts.
        values = reader.at(cgroup_root / layout.kubepods)
        return None if values is None else KubepodsCpuset(str(layout.kubepods), values.cpus, values.mems)

    return NodeBackend(
        reader=reader,
        runtime=runtime,
        mechanisms=(runtime,),
        describe=lambda: RuntimeDescription(runtime.name, "simulated"),
        kubepods=kubepods,
        sources=lambda hook: ((sources.pods_source(node), partial(runtime.take_pods, hook)),),
    )


@contextlib.contextmanager
def simulated_restorer(reader: CgroupReader) -> Iterator[Restorer]:
    """Give a restorer of plain files; the fake kernel works out the effective sets at the end."""
    yield Restorer(reader, None, None, CgroupfsWriter(reader.root, reader.layout))
    machine = reader.at(reader.root)
    if machine is not None and machine.effective_cpus and machine.effective_mems:
        cpus, mems = cpuset.render(machine.effective_cpus), nodeset.render(machine.effective_mems)
        FakeKernel(reader.root, cpus, mems).settle(PurePosixPath())
