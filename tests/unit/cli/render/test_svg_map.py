"""The SVG picture is well formed, complete, and safe to open."""

import re
import xml.etree.ElementTree as ET

import pytest
from podnuma.cli.commands.map import map_of
from podnuma.cli.render.svg_map import render_svg

from tests.unit.cli.builders import MACHINES, allocation_object, container, database, grant, topology_object

NAME = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("machine", sorted(path.stem for path in MACHINES.glob("*.json")))
def test_every_machine_gives_one_square_per_cpu_inside_the_frame(machine):
    topology = topology_object(machine)
    root = ET.fromstring(render_svg(map_of(topology, [])))
    titles = [title.text for title in root.iter(f"{NAME}title") if (title.text or "").startswith("CPU ")]
    cpus = sum(1 for _ in map_of(topology, []).holders)
    assert len(titles) == len(set(titles)) == cpus
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_a_square_says_who_holds_its_cpu():
    root = ET.fromstring(
        render_svg(
            map_of(
                topology_object("epyc7401-2s-8numa-16l3", reserved="0,48"), [allocation_object(database())]
            )
        )
    )
    titles = {title.text for title in root.iter(f"{NAME}title")}
    assert "CPU 1: exclusive shop/database: database" in titles
    assert "CPU 52: pod shared shop/database: backup, metrics" in titles
    assert "CPU 0: reserved" in titles
    assert "CPU 5: node shared" in titles


def test_names_can_not_break_out_of_the_text():
    hostile = allocation_object(grant("a/b", "", container("<script>", "node_exclusive", "1")))
    drawn = render_svg(map_of(topology_object("laptop-hybrid-6p8e"), [hostile]))
    assert "<script>" not in drawn
    ET.fromstring(drawn)


def box_origins(machine):
    """Where the boxes of sockets and of NUMA nodes begin: those of sockets, and by socket its NUMA nodes."""
    root = ET.fromstring(render_svg(map_of(topology_object(machine), [])))
    found: list[tuple[str, int, int, list[tuple[int, int]]]] = []

    def walk(element, x, y, socket):
        for one in element:
            if one.tag == f"{NAME}text" and re.match("Socket |Memory without", one.text or ""):
                found.append((one.text, x, y, []))
            if one.tag == f"{NAME}text" and (one.text or "").startswith("NUMA node"):
                found[-1][3].append((x, y))
            if one.tag == f"{NAME}g":
                dx, dy = map(int, re.findall(r"\d+", one.get("transform", "0 0")))
                walk(one, x + dx, y + dy, socket)

    walk(root, 0, 0, None)
    return found


@pytest.mark.parametrize(
    ("machine", "sockets", "nodes"),
    [
        ("epyc7401-2s-8numa-16l3", 2, 4),
        ("epyc9654-2s-384cpu-24l3", 2, 2),
        ("xeon-2s-snc2-irregular", 2, 4),
        ("xeon-4s-offline-threads", 1, 1),
        ("threadripper3960x-nps4-memoryless", 1, 4),
        ("laptop-hybrid-6p8e", 1, 1),
    ],
)
def test_sockets_are_columns_and_up_to_four_numa_nodes_stand_in_a_row(machine, sockets, nodes):
    boxes = box_origins(machine)
    assert len({x for _, x, _, _ in boxes}) == sockets
    first_row = min(y for *_, inside in boxes for _, y in inside)
    assert sum(y == first_row for *_, inside in boxes for _, y in inside) == nodes


def test_memory_without_cpus_stands_below_the_sockets():
    boxes = box_origins("power9-gpu-memory-nodes")
    assert [text for text, *_ in boxes] == ["Socket 0", "Socket 8", "Memory without CPUs"]
    assert boxes[2][2] > boxes[0][2]


def test_free_cpus_and_memory_are_said_and_the_bar_is_as_long_as_what_is_held():
    drawn = render_svg(
        map_of(topology_object("epyc7401-2s-8numa-16l3", reserved="0"), [allocation_object(database())])
    )
    texts = [one.text for one in ET.fromstring(drawn).iter(f"{NAME}text")]
    assert "3 of 12 CPUs free" in texts
    assert "15.9Gi of 31.9Gi memory free" in texts
    ((held, whole),) = re.findall(
        r'width="([\d.]+)" height="8" fill="#[0-9a-f]{6}"><title>shop/database (.*?)<', drawn
    )
    assert whole == "16Gi"
    (room,) = {int(one) for one in re.findall(r'class="free" width="(\d+)" height="8"', drawn)}
    assert abs(float(held) / room - 16 / 31.9) < 0.01
