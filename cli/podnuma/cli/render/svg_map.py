"""The map of a node as an SVG picture: boxes in boxes, one square per CPU.

    node > NUMA node > last-level cache > core (a column) > CPU (a square)

Text and colours are those of the terminal map. Every square has a title (a tool tip) that
says in words who holds it. The file is self-contained: no script, no font, no reference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from podnuma.allocator import cpuset
from podnuma.cli.render import palette, wording
from podnuma.cli.render.node_map import Cache, Holder, NodeMap, Zone

_SQUARE = 18
_GAP = 3
_PAD = 10
_LINE = 18
_WIDTH = 920
_CORES_PER_ROW = 24
_LIST_WIDTH = 32


@dataclass(frozen=True, slots=True)
class _Block:
    """A piece of the picture with its size in pixels, drawn relative to its own corner."""

    width: int
    height: int
    marks: tuple[str, ...]


def render_svg(node: NodeMap) -> str:
    """Draw one node as a complete SVG document."""
    zones = [_zone(node, zone) for zone in node.zones]
    body, height = [], _PAD + 2 * _LINE
    for block in zones:
        body.append(_at(_PAD, height, block))
        height += block.height + _PAD
    if node.offline:
        body.append(_text(_PAD, height + _LINE // 2, f"offline CPUs: {cpuset.render(node.offline)}"))
        height += _LINE
    for remark in node.remarks:
        body.append(_text(_PAD, height + _LINE // 2, remark))
        height += _LINE
    facts = " · ".join(
        (
            wording.count(len(node.sockets), "socket"),
            wording.count(len(node.zones), "NUMA node"),
            wording.count(node.cores, "core"),
            wording.count(len(node.holders), "CPU"),
            wording.count(len(node.pods), "pod"),
        )
    )
    width = max([_WIDTH, *(block.width for block in zones)]) + 2 * _PAD
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="13"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">',
            f"<title>{escape(node.name)}: who holds which CPU</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            _text(_PAD, _PAD + _LINE, node.name, weight="bold"),
            _text(width - _PAD, _PAD + _LINE, facts, anchor="end"),
            *body,
            "</svg>",
            "",
        )
    )


def _zone(node: NodeMap, zone: Zone) -> _Block:
    socket = f"socket {', '.join(map(str, zone.sockets))}" if zone.sockets else "memory only"
    marks = [
        _text(_PAD, _LINE, f"NUMA node {zone.id}", weight="bold"),
        _text(_WIDTH - _PAD, _LINE, socket + wording.memory_suffix(zone.capacity), anchor="end"),
    ]
    x, y, tallest, right = _PAD, _LINE + _PAD, 0, _WIDTH
    for cache in zone.caches:
        block = _cache(node, cache)
        if x > _PAD and x + block.width > _WIDTH - _PAD:
            x, y, tallest = _PAD, y + tallest + _GAP, 0
        marks.append(_at(x, y, block))
        x += block.width + _GAP
        right = max(right, x + _PAD)
        tallest = max(tallest, block.height)
    y += tallest + _LINE
    for line in _lines(node, zone):
        marks.append(_at(_PAD, y, line))
        y += line.height
    frame = f'<rect width="{right}" height="{y}" rx="6" fill="none" stroke="#767676"/>'
    return _Block(right, y, (frame, *marks))


def _cache(node: NodeMap, cache: Cache) -> _Block:
    step = _SQUARE + 1
    marks = []
    for position, core in enumerate(cache.cores):
        column, row = position % _CORES_PER_ROW, position // _CORES_PER_ROW
        x = _GAP + column * (_SQUARE + _GAP)
        top = _GAP + row * (cache.threads * step + _GAP)
        marks += [_square(node, cpu, x, top + thread * step, _SQUARE) for thread, cpu in enumerate(core)]
    columns = min(len(cache.cores), _CORES_PER_ROW)
    rows = -(-len(cache.cores) // _CORES_PER_ROW)
    width, height = _GAP + columns * (_SQUARE + _GAP), _GAP + rows * (cache.threads * step + _GAP)
    title = "no L3 cache" if cache.id is None else f"L3 cache {cache.id}"
    frame = (
        f'<rect width="{width}" height="{height}" rx="3" fill="#f4f4f4" stroke="#b0b0b0">'
        f"<title>{title}</title></rect>"
    )
    return _Block(width, height, (frame, *marks))


def _square(node: NodeMap, cpu: int, x: int, y: int, size: int) -> str:
    holder = node.holders[cpu]
    return _sign(node, holder, x, y, size, f"CPU {cpu}: {_holder_text(holder)}")


def _sign(node: NodeMap, holder: Holder, x: int, y: int, size: int, title: str) -> str:
    colours = palette.colours(node, holder)
    return (
        f'<g><title>{escape(title)}</title><rect x="{x}" y="{y}" width="{size}" height="{size}" rx="2" '
        f'fill="{colours.ground or "#ffffff"}" stroke="#b0b0b0"/>'
        f'<text x="{x + size // 2}" y="{y + size // 2}" text-anchor="middle" dominant-baseline="central" '
        f'fill="{colours.text or "#595959"}">{escape(palette.sign(node, holder))}</text></g>'
    )


def _lines(node: NodeMap, zone: Zone) -> Iterator[_Block]:
    for share in zone.shares:
        listed = wording.wrap_list(cpuset.render(share.cpus), _LIST_WIDTH).split("\n")
        amount = wording.count(share.cpus.bit_count(), "CPU")
        marks = [
            _sign(node, share.holder, 0, 0, _SQUARE - 3, _holder_text(share.holder)),
            _text(24, 12, share.holder.hold.value),
            _text(180, 12, amount, anchor="end"),
            *(_text(196, 12 + row * _LINE, text) for row, text in enumerate(listed)),
            _text(430, 12, _who(share.holder)),
        ]
        yield _Block(_WIDTH, _LINE * len(listed), tuple(marks))
    for held in zone.memory:
        marks = [
            _text(24, 12, held.block.resource),
            _text(180, 12, wording.rounded(held.block.size), anchor="end"),
            _text(196, 12, wording.across(held.block.nodes)),
            _text(430, 12, held.pod),
        ]
        yield _Block(_WIDTH, _LINE, tuple(marks))
    for one in zone.devices:
        marks = [
            _text(24, 12, "device"),
            _text(196, 12, f"{one.device.resource} {one.device.name}"[:_LIST_WIDTH]),
            _text(430, 12, one.who),
        ]
        yield _Block(_WIDTH, _LINE, tuple(marks))


def _holder_text(holder: Holder) -> str:
    return " ".join(filter(None, (holder.hold.value, _who(holder))))


def _who(holder: Holder) -> str:
    return f"{holder.pod}: {', '.join(holder.containers)}" if holder.containers else holder.pod


def _at(x: int, y: int, block: _Block) -> str:
    return f'<g transform="translate({x} {y})">' + "".join(block.marks) + "</g>"


def _text(x: int, y: int, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
