"""`podnuma discover`: the hardware of this machine as a NodeTopology, without a cluster or an agent.

Its output can be saved and given to `podnuma plan --from` or `podnuma map --from`, to try a machine
before it joins a cluster.
"""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from podnuma.agent.discover import machine
from podnuma.agent.discover.pci import PciDevice, read_pci_devices
from podnuma.agent.discover.tree import Tree
from podnuma.allocator import Topology, cpuset, nodeset
from podnuma.allocator.device_hints import near_cpus
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.cli.commands import output
from podnuma.cli.commands.map import render_node
from podnuma.cli.commands.options import Output, OutputFormat, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.queries import Json
from podnuma.cli.render.wording import columns

app = new_app()


@app.command(
    "discover",
    epilog=examples(
        "podnuma discover",
        "podnuma discover -o text",
    ),
)
def discover_hardware(
    name: Annotated[str, typer.Option(help="name of the NodeTopology; the host name if left out")] = "",
    sys_root: Annotated[Path, typer.Option(help="a mounted /sys", file_okay=False)] = Path("/sys"),
    proc_root: Annotated[Path, typer.Option(help="a mounted /proc", file_okay=False)] = Path("/proc"),
    form: Output = OutputFormat.YAML,
) -> None:
    """Print the hardware of this machine as a NodeTopology (with -o text: as a map, and PCI devices)."""
    found = machine.discover(sys_root, proc_root)
    problems = [str(finding) for finding in found.findings]
    if found.machine is None:
        raise Failure(Exit.INPUT, *problems)
    for line in problems:
        output.note(line)
    seen = found.machine
    hardware = Hardware(seen.topology, tuple(problems))
    topology = node_topology(name or platform.node(), hardware)
    if form.structured:
        output.dump(topology, form)
    else:
        output.show(render_node(topology, []))
        output.write(devices_text(read_pci_devices(Tree(sys_root)), seen.topology))


def node_topology(name: str, hardware: Hardware) -> Json:
    """Return the NodeTopology that an agent on this machine would fill in."""
    return {
        **NODE_TOPOLOGY.type_meta,
        "metadata": {"name": name},
        "spec": {},
        "status": {"hardware": render_hardware(hardware)},
    }


def devices_text(devices: Sequence[PciDevice], topology: Topology) -> str:
    """Write where devices are, and which CPUs are near them."""
    if not devices:
        return ""
    rows = [(one.address, one.kind, f"{one.vendor}:{one.device}", *_near(one, topology)) for one in devices]
    return "\n" + columns(("PCI ADDRESS", "KIND", "ID", "NUMA", "CPUS NEAR"), rows)


def _near(device: PciDevice, topology: Topology) -> tuple[str, str]:
    if device.numa_node is None:
        return "not told", "any"
    if device.numa_node > nodeset.MAX_ID:
        return str(device.numa_node), ""
    return str(device.numa_node), cpuset.render(
        topology.cpus_on(near_cpus(topology, nodeset.of([device.numa_node])))
    )
