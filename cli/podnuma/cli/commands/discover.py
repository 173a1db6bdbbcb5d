"""`podnuma discover`: the hardware of this machine as a NodeTopology, without a cluster or an agent.

What it prints can be saved and given to `podnuma plan --from` or `podnuma map --from`: so a
machine can be tried before it joins a cluster.
"""

import platform
from pathlib import Path

from podnuma.agent.discover.machine import Discovered, Machine, discover
from podnuma.api import names
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.cli import output, reading
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.picture import paint
from podnuma.cli.render import map as terminal
from podnuma.cli.sources import Json


def answer(sys_root: Path, proc_root: Path, name: str, form: Form) -> None:
    """Print the machine, and on standard error what of it could not be read."""
    found = discover(sys_root, proc_root)
    lines = [str(finding) for finding in found.findings]
    if found.machine is None:
        raise Failure(Exit.INPUT, *lines)
    for line in lines:
        output.note(line)
    topology = as_topology(found.machine, found, name or platform.node())
    if form.for_programs:
        output.dump(topology, form)
    else:
        output.show(terminal.render(paint(reading.machine_of(reading.topology_of(topology)), [])))


def as_topology(machine: Machine, found: Discovered, name: str) -> Json:
    """Return the NodeTopology that an agent on this machine would fill in."""
    problems = tuple(str(finding) for finding in found.findings)
    hardware = Hardware(machine.topology, machine.offline, machine.isolated, problems)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_TOPOLOGY.kind,
        "metadata": {"name": name},
        "spec": {},
        "status": {"hardware": render_hardware(hardware)},
    }
