"""Pictures of `podnuma map --svg` as two renderers draw them: letters are inside their squares."""

import io
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from podnuma.cli.commands.map import map_of
from podnuma.cli.render.svg_map import SQUARE, render_svg

from tests.browser.site import EPYC, training
from tests.unit.cli.builders import MACHINES, allocation_object, container, database, grant, topology_object

SVG = "{http://www.w3.org/2000/svg}"
ZOOM = 2
_SHIFT = re.compile(r"translate\((\d+) (\d+)\)")
# As many pods as there are letters.
LETTERS = 23

SPILLED = """
const out = [];
for (const sign of document.querySelectorAll("text.sign, text.sign-free")) {
  const letter = sign.getBBox(), square = sign.previousElementSibling.getBBox();
  if (letter.x < square.x || letter.y < square.y || letter.x + letter.width > square.x + square.width ||
      letter.y + letter.height > square.y + square.height) out.push(sign.textContent);
}
const page = document.documentElement.getBBox(), box = document.documentElement.viewBox.baseVal;
if (page.width > box.width || page.height > box.height) out.push("the picture");
return [document.querySelectorAll("text.sign, text.sign-free").length, out];
"""


def pictures():
    """A picture per machine, one with pods, and one with all letters."""
    for machine in sorted(path.stem for path in MACHINES.glob("*.json")):
        yield machine, map_of(topology_object(machine, reserved="0"), [])
    pods = [allocation_object(database()), allocation_object(training())]
    yield "pods", map_of(topology_object(EPYC, reserved="0,48"), pods)
    many = [
        allocation_object(
            grant(f"shop/p{index:02}", "", container("c", "node_exclusive", f"{index},{index + 48}"))
        )
        for index in range(LETTERS)
    ]
    yield "letters", map_of(topology_object(EPYC), many)


PICTURES = {name: render_svg(drawn) for name, drawn in pictures()}


@pytest.mark.parametrize("name", PICTURES)
def test_in_chromium_every_letter_is_inside_its_square(chromium, tmp_path, name):
    file = tmp_path / "map.svg"
    file.write_text(PICTURES[name])
    chromium.open(file.as_uri())
    signs, spilled = chromium.script(SPILLED)
    assert signs > 8
    assert spilled == []


def squares(root: ET.Element, x: int = 0, y: int = 0):
    """The corner of every square with a letter."""
    shift = _SHIFT.fullmatch(root.get("transform", "translate(0 0)"))
    assert shift is not None
    x, y = x + int(shift[1]), y + int(shift[2])
    signs = [one for one in root if one.get("class", "").startswith("sign")]
    if signs:
        (rect,) = root.findall(f"{SVG}rect")
        yield x + int(rect.get("x", "0")), y + int(rect.get("y", "0"))
    for one in root.findall(f"{SVG}g"):
        yield from squares(one, x, y)


def drawn(folder: Path, root: ET.Element) -> Image.Image:
    file = folder / "map.svg"
    ET.ElementTree(root).write(file)
    done = subprocess.run(["rsvg-convert", "--zoom", str(ZOOM), file], capture_output=True, check=True)
    return Image.open(io.BytesIO(done.stdout)).convert("RGB")


def without(root: ET.Element, unwanted) -> ET.Element:
    for parent in list(root.iter()):
        for one in [one for one in parent if one.tag == f"{SVG}text" and unwanted(one)]:
            parent.remove(one)
    return root


@pytest.mark.parametrize("name", ["letters", "pods", "power9-gpu-memory-nodes"])
def test_in_librsvg_every_letter_is_seen_and_inside_its_square(tmp_path, name):
    signs = without(ET.fromstring(PICTURES[name]), lambda one: not one.get("class", "").startswith("sign"))
    corners = set(squares(signs))
    with_letters = drawn(tmp_path, signs)
    ink = ImageChops.difference(with_letters, drawn(tmp_path, without(signs, lambda _: True))).convert("L")
    for x, y in corners:
        square = (ZOOM * x, ZOOM * y, ZOOM * (x + SQUARE), ZOOM * (y + SQUARE))
        assert ink.crop(square).getbbox() is not None, f"no letter at {x},{y}"
        ink.paste(0, square)
    assert ink.getbbox() is None, "a letter reaches beyond its square"


def test_the_dark_picture_is_dark_and_readable(chromium, tmp_path):
    file = tmp_path / "map.svg"
    file.write_text(PICTURES["pods"])
    ask = "return ['.ground', 'text.word'].map(one => getComputedStyle(document.querySelector(one)).fill)"
    found = {}
    for scheme in ("dark", "light"):
        chromium.scheme(dark=scheme == "dark")
        chromium.open(file.as_uri())
        found[scheme] = chromium.script(ask)
    assert found == {
        "light": ["rgb(255, 255, 255)", "rgb(22, 25, 29)"],
        "dark": ["rgb(20, 24, 31)", "rgb(231, 234, 238)"],
    }
