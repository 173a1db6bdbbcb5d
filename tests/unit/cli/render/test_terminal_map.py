"""The map says the same in letters, in words and in colour."""

from dataclasses import replace

import pytest
from podnuma.allocator import GrantedDevice, nodeset
from podnuma.allocator.memory.others import PagesInUse
from podnuma.api.node_topology import AgentReport, render_agent_status
from podnuma.cli.commands.map import render_node
from rich.console import Console

from tests.unit.cli.builders import allocation_object, container, database, grant, topology_object, training

EPYC = "epyc7401-2s-8numa-16l3"


def drawn(topology, allocations, width=100, **console) -> list[str]:
    screen = Console(width=width, **console)
    with screen.capture() as capture:
        screen.print(render_node(topology, allocations))
    return [line.rstrip() for line in capture.get().splitlines()]


def cells(lines: list[str]) -> list[str]:
    """The groups of letters of an empty node, one per cache and line."""
    rows = [line.split()[1:] for line in lines if line.endswith("·")]
    return [group for row in rows for group in row if set(group) == {"·"}]


def test_plain_map_of_a_node_with_two_pods():
    lines = drawn(
        topology_object(EPYC, reserved="0,48"), [allocation_object(database()), allocation_object(training())]
    )
    assert lines[0] == "node-a  2 sockets · 8 NUMA nodes · 48 cores · 96 CPUs · 2 pods"
    assert lines[2:15] == [
        "NUMA node 0  socket 0 · 6 cores · 12 CPUs · 2 L3 caches · 31.9Gi memory",
        "    0-5  R B B  B b ·",
        "  48-53  R B B  B b ·",
        "   R  reserved             2  0,48",
        "   B  exclusive            6  1-3,49-51               shop/database: database",
        "   b  pod shared           2  4,52                    shop/database: backup, metrics",
        "   ·  node shared          2  5,53",
        "      memory            16Gi                          shop/database",
        "",
        "NUMA node 1  socket 0 · 6 cores · 12 CPUs · 2 L3 caches · 32Gi memory",
        "   6-11  A A A  · · ·",
        "  54-59  · · ·  · · ·",
        "   A  exclusive            3  6-8                     ml/training: training",
    ]


def test_huge_pages_that_nobody_was_granted_are_at_their_numa_node():
    topology = topology_object(EPYC)
    in_use = [PagesInUse(0, "hugepages-1Gi", 3 * 2**30), PagesInUse(1, "hugepages-2Mi", 2**21, "u-1")]
    status = render_agent_status(None, AgentReport(), [], in_use)
    topology["status"]["hugepagesInUse"] = status["hugepagesInUse"]
    lines = drawn(topology, [])
    zero, one = (
        number for number, line in enumerate(lines) if line.startswith(("NUMA node 0", "NUMA node 1"))
    )
    assert "      hugepages-1Gi      3Gi                          in use without a grant" in lines[zero:one]
    assert (
        "      hugepages-2Mi      2Mi                          in use without a grant: pod UID u-1"
        in lines[one:]
    )


def test_no_line_is_wider_than_the_terminal():
    topology = topology_object("epyc9654-2s-384cpu-24l3", reserved="0,192")
    everything = allocation_object(grant("a/b", "", container("c", "node_exclusive", "1-95,193-287")))
    for width in (60, 80, 200):
        assert max(map(len, drawn(topology, [everything], width=width))) <= width


def test_every_cpu_has_its_letter_whatever_the_width():
    topology = topology_object("epyc9654-2s-384cpu-24l3")
    for width in (80, 120, 200):
        assert "".join(cells(drawn(topology, [], width=width))).count("·") == 384


def test_a_wide_machine_keeps_a_cache_on_one_line():
    assert set(cells(drawn(topology_object("epyc9654-2s-384cpu-24l3"), [], width=80))) == {"········"}


def test_long_cpu_lists_break_at_commas():
    lines = drawn(topology_object("xeon-2s-snc2-pmem-isolcpus"), [], width=80)
    listed = [line[30:].strip() for line in lines if line.startswith(("   ·", " " * 30))]
    assert "".join(listed[:2]).startswith("0,8,12,16,20,24")
    assert all(part[0].isdigit() for part in listed)


def test_colour_is_an_addition_to_letters_never_instead():
    topology = topology_object(EPYC, reserved="0,48")
    plain = drawn(topology, [allocation_object(database())])
    coloured = drawn(
        topology,
        [allocation_object(database())],
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    assert any("\x1b[" in line for line in coloured)
    assert not any("\x1b[" in line for line in plain)


def test_memory_without_cpus_and_offline_cpus_are_shown():
    lines = drawn(topology_object("power9-gpu-memory-nodes"), [])
    assert any(line.startswith("NUMA node 252  memory only · ") for line in lines)
    offline = drawn(topology_object("xeon-4s-offline-threads"), [])
    assert offline[-1].startswith("offline CPUs: ")


@pytest.mark.parametrize(
    "machine", ["arm64-kunpeng-2s-4numa-clusters", "laptop-hybrid-6p8e", "power-256cpu-sparse-numa"]
)
def test_odd_machines_are_drawn(machine):
    assert len(drawn(topology_object(machine), [])) > 5


def test_numa_nodes_without_a_pod_can_be_left_out():
    node = (topology_object("epyc7401-2s-8numa-16l3"), [allocation_object(database())])
    screen = Console(width=100)
    with screen.capture() as capture:
        screen.print(render_node(*node, in_use=True))
    lines = capture.get().splitlines()
    assert "8 NUMA nodes" in lines[0]
    assert [line[:11] for line in lines if line.startswith("NUMA node")] == ["NUMA node 0"]


def test_devices_stand_at_their_numa_nodes():
    device = GrantedDevice("gpu.example.com", "node-a/gpu-0", nodeset.of([1]))
    main = replace(container("training", "node_exclusive", "6-8"), devices=(device,))
    lines = drawn(
        topology_object(EPYC, reserved="0,48"), [allocation_object(grant("ml/training", "", main))], width=120
    )
    (row,) = [line for line in lines if "gpu-0" in line]
    assert row.split() == ["device", "gpu.example.com", "node-a/gpu-0", "ml/training:", "training"]
    assert lines.index(row) > next(place for place, line in enumerate(lines) if "NUMA node 1" in line)
    assert lines.index(row) < next(place for place, line in enumerate(lines) if "NUMA node 2" in line)
