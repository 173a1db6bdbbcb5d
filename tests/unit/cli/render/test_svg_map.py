"""The SVG picture is well formed, complete, and safe to open."""

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
