"""The hardware of a machine as a NodeTopology, or every reason why there is none."""

import pytest
from podnuma.agent.discover.pci import PciDevice
from podnuma.api.hardware import Hardware
from podnuma.api.node_topology import read_node_topology
from podnuma.cli import main
from podnuma.cli.commands.discover import devices_text, node_topology
from podnuma.cli.exits import Exit

from tests.unit.cli.builders import topology


def test_the_topology_reads_back_as_the_same_hardware():
    found = topology("epyc7401-2s-8numa-16l3")
    read = read_node_topology(node_topology("node-a", Hardware(found)))
    assert read.hardware is not None
    assert (read.name, read.hardware.topology) == ("node-a", found)


def test_a_folder_that_is_no_sysfs_is_an_input_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main.run(["discover", "--sys-root", str(tmp_path), "--proc-root", str(tmp_path)])
    assert end.value.code == Exit.INPUT
    assert capsys.readouterr().err


def test_devices_are_listed_with_the_cpus_near_them():
    devices = [
        PciDevice("0000:17:00.0", "display", "0x10de", "0x2330", 1),
        PciDevice("0000:31:00.1", "network", "0x8086", "0x159b", None),
    ]
    lines = devices_text(devices, topology("epyc7401-2s-8numa-16l3")).splitlines()
    assert lines[2].split() == ["0000:17:00.0", "display", "0x10de:0x2330", "1", "6-11,54-59"]
    assert lines[3].split()[-3:] == ["not", "told", "any"]


def test_a_machine_without_devices_has_no_table():
    assert devices_text([], topology("epyc7401-2s-8numa-16l3")) == ""
