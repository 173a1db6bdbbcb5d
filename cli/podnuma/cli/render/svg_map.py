"""The map of a node as an SVG picture: boxes in boxes, one square per CPU, and a list of who holds what.

    node > socket (a column) > NUMA node > last-level cache > core (a column) > CPU (a square)

Two to four NUMA nodes stand in a row. Each says how many of its CPUs are free and has a bar for its memory.
Letters are those of the terminal map, and so are the colours, in light and in dark. Every square has a title
(a tool tip) that says in words who holds it.

The file is self-contained: no script, no font, no reference. Letters are placed by their base line and are
far smaller than their squares, so that they are inside them whatever the renderer and its fonts; colours are
attributes, which every renderer reads, and the style sheet only changes them for the dark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from podnuma.allocator import cpuset
from podnuma.cli.render import palette, wording
from podnuma.cli.render.node_map import Cache, Hold, Holder, MemoryShare, NodeMap, Zone

SQUARE = 16
LETTER = 11  # font size of the letter in a square
_BASE = 12  # of the letter, from the top of its square
_GAP = 2
_PAD = 10
_LINE = 18
_WIDTH = 980
_BAR = 8
_LIST_WIDTH = 52
_WHO = 560  # where the third column of the list begins
_IN_ROW = 4

# In the dark: what is white, the frames, and text.
_STYLE = """<style>
@media (prefers-color-scheme: dark) {
  .ground { fill: #14181f } .box { fill: #1c222b; stroke: #39424f } .cache { fill: #14181f; stroke: #39424f }
  .free { fill: #2a313c; stroke: #4a5462 } .sign-free, .quiet { fill: #a3adb9 } text.word { fill: #e7eaee }
}
</style>"""


@dataclass(frozen=True, slots=True)
class _Block:
    """A piece of the picture with its size in pixels, drawn relative to its own corner."""

    width: int
    height: int
    marks: tuple[str, ...]


def render_svg(node: NodeMap) -> str:
    """Draw one node as a complete SVG document."""
    blocks = [_heading(node), _sockets(node), _list(node)]
    notes = [f"offline CPUs: {cpuset.render(node.offline)}"] if node.offline else []
    blocks += [_Block(_WIDTH, _LINE, (_text(0, 13, note),)) for note in (*notes, *node.remarks)]
    body = _stacked(blocks)
    width, height = body.width + 2 * _PAD, body.height + 2 * _PAD
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="13"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">',
            f"<title>{escape(node.name)}: who holds which CPU</title>",
            _STYLE,
            f'<rect class="ground" width="{width}" height="{height}" fill="#ffffff"/>',
            _at(_PAD, _PAD, body),
            "</svg>",
            "",
        )
    )


def _heading(node: NodeMap) -> _Block:
    free = node.held(Hold.NODE_SHARED).bit_count()
    facts = " · ".join(
        (
            wording.count(len(node.sockets), "socket"),
            wording.count(len(node.zones), "NUMA node"),
            wording.count(node.cores, "core"),
            wording.count(len(node.holders), "CPU"),
            wording.count(len(node.pods), "pod"),
            f"{free} CPUs free",
        )
    )
    marks = (_text(0, 15, node.name, weight="bold"), _text(_WIDTH, 15, facts, anchor="end"))
    return _Block(_WIDTH, _LINE + 2, marks)


# -- sockets and NUMA nodes ---------------------------------------------------------------------------


def _sockets(node: NodeMap) -> _Block:
    """Return one column per socket, as many beside each other as there is room for NUMA nodes."""
    groups: dict[tuple[int, ...], list[Zone]] = {}
    for zone in node.zones:
        groups.setdefault(zone.sockets, []).append(zone)
    without = groups.pop((), [])
    most = max(map(len, groups.values()))
    beside = min(len(groups), _IN_ROW if most == 1 else 2)
    inside = min(most, _IN_ROW // beside)
    width = (_WIDTH - (beside - 1) * _PAD) // beside
    columns = [
        _box(node, f"Socket {', '.join(map(str, sockets))}", zones, width, inside)
        for sockets, zones in groups.items()
    ]
    rows = [_grid(columns, beside)]
    if without:
        rows.append(_box(node, "Memory without CPUs", without, _WIDTH, _IN_ROW))
    return _stacked(rows)


def _box(node: NodeMap, title: str, zones: Sequence[Zone], width: int, inside: int) -> _Block:
    room = (width - (inside + 1) * _PAD) // inside
    boxes = _grid([_zone(node, zone, room) for zone in zones], inside)
    width, height = max(width, boxes.width + 2 * _PAD), boxes.height + _LINE + 2 * _PAD
    frame = f'<rect class="box" width="{width}" height="{height}" rx="8" fill="#f2f4f7" stroke="#c3c9d1"/>'
    return _Block(
        width, height, (frame, _text(_PAD, _LINE, title, weight="bold"), _at(_PAD, _LINE + _PAD, boxes))
    )


def _zone(node: NodeMap, zone: Zone, width: int) -> _Block:
    free = sum(share.cpus.bit_count() for share in zone.shares if share.holder.hold is Hold.NODE_SHARED)
    said = f"{free} of {zone.cpus.bit_count()} CPUs free" if zone.caches else ""
    head = _Block(
        width,
        _LINE,
        (
            _text(0, 13, f"NUMA node {zone.id}", weight="bold"),
            _text(width, 13, said, anchor="end", look="quiet"),
        ),
    )
    blocks = [head, *([_caches(node, zone, width)] if zone.caches else [])]
    if zone.capacity:
        blocks.append(_memory(node, zone, width))
    return _stacked(blocks, gap=4)


def _caches(node: NodeMap, zone: Zone, width: int) -> _Block:
    columns = max((width - _GAP) // (SQUARE + _GAP), 1)
    rows: list[list[_Block]] = []
    used = width
    for cache in zone.caches:
        block = _cache(node, cache, columns)
        if used + _GAP + block.width > width:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += block.width + _GAP
    return _stacked([_grid(row, len(row), gap=_GAP) for row in rows], gap=_GAP)


def _cache(node: NodeMap, cache: Cache, most: int) -> _Block:
    step = SQUARE + _GAP
    marks = []
    for position, core in enumerate(cache.cores):
        x = _GAP + position % most * step
        top = _GAP + position // most * (cache.threads * step + _GAP)
        marks += [_square(node, cpu, x, top + thread * step) for thread, cpu in enumerate(core)]
    columns, rows = min(len(cache.cores), most), -(-len(cache.cores) // most)
    width, height = _GAP + columns * step, rows * (cache.threads * step + _GAP)
    title = "no L3 cache" if cache.id is None else f"L3 cache {cache.id}"
    frame = (
        f'<rect class="cache" width="{width}" height="{height}" rx="3" fill="#ffffff" stroke="#c3c9d1">'
        f"<title>{title}</title></rect>"
    )
    return _Block(width, height, (frame, *marks))


def _memory(node: NodeMap, zone: Zone, width: int) -> _Block:
    """Return a bar of what pods hold of a NUMA node's memory; of a block over several, an equal part."""
    x, bars, held = 0.0, [], 0.0
    for share in (one for one in zone.memory if one.block.resource == "memory"):
        size = share.block.size / share.block.nodes.bit_count()
        part = min(size / zone.capacity * width, width - x)
        colour = palette.colours(node, Holder(Hold.EXCLUSIVE, share.pod)).ground
        bars.append(
            f'<rect x="{x:.1f}" width="{part:.1f}" height="{_BAR}" fill="{colour}">'
            f"<title>{escape(_memory_text(share))}</title></rect>"
        )
        x, held = x + part, held + size
    ground = f'<rect class="free" width="{width}" height="{_BAR}" rx="2" fill="#ffffff" stroke="#c3c9d1"/>'
    free = wording.rounded(max(int(zone.capacity - held), 0))
    said = f"{free} of {wording.rounded(zone.capacity)} memory free"
    return _Block(
        width, _BAR + _LINE, (ground, *bars, _text(width, _BAR + 14, said, anchor="end", look="quiet"))
    )


def _memory_text(share: MemoryShare) -> str:
    words = (share.pod, wording.rounded(share.block.size), wording.across(share.block.nodes))
    return " ".join(filter(None, words))


# -- squares and words --------------------------------------------------------------------------------


def _square(node: NodeMap, cpu: int, x: int, y: int) -> str:
    holder = node.holders[cpu]
    return _sign(node, holder, x, y, f"CPU {cpu}: {_holder_text(holder)}")


def _sign(node: NodeMap, holder: Holder, x: int, y: int, title: str) -> str:
    colours = palette.colours(node, holder)
    free = colours.ground is None
    return (
        f'<g><title>{escape(title)}</title><rect class="{"free" if free else "held"}" x="{x}" y="{y}" '
        f'width="{SQUARE}" height="{SQUARE}" rx="2" fill="{colours.ground or "#ffffff"}" stroke="#c3c9d1"/>'
        f'<text class="{"sign-free" if free else "sign"}" x="{x + SQUARE // 2}" y="{y + _BASE}" '
        f'font-size="{LETTER}" text-anchor="middle" fill="{colours.text or "#59626d"}">'
        f"{escape(palette.sign(node, holder))}</text></g>"
    )


def _list(node: NodeMap) -> _Block:
    """Return who holds what: a line per holder, below it the memory and the devices of its pod."""
    cpus: dict[Holder, int] = {}
    for cpu, holder in node.holders.items():
        cpus[holder] = cpus.get(holder, 0) | 1 << cpu
    ranked = sorted(cpus, key=lambda one: (list(Hold).index(one.hold), one.pod, one.containers))
    return _stacked([*(_cpus(node, one, cpus[one]) for one in ranked), *_held(node)], gap=0)


def _cpus(node: NodeMap, holder: Holder, cpus: int) -> _Block:
    found = cpuset.CpuSet(cpus)
    listed = wording.wrap_list(cpuset.render(found), _LIST_WIDTH).split("\n")
    marks = [
        _sign(node, holder, 0, 1, _holder_text(holder)),
        _text(24, 13, holder.hold.value),
        _text(186, 13, wording.count(found.bit_count(), "CPU"), anchor="end"),
        *(_text(206, 13 + row * _LINE, text) for row, text in enumerate(listed)),
        _text(_WHO, 13, _who(holder)),
    ]
    return _Block(_WIDTH, _LINE * len(listed) + 2, tuple(marks))


def _held(node: NodeMap) -> Iterator[_Block]:
    shares = dict.fromkeys(share for zone in node.zones for share in zone.memory)
    for share in shares:
        where = wording.across(share.block.nodes) or f"of NUMA node {_first(node, share)}"
        yield _row(share.block.resource, wording.rounded(share.block.size), where, share.pod)
    for pages in (one for zone in node.zones for one in zone.pages_in_use):
        where = f"of NUMA node {pages.node}"
        yield _row(pages.resource, wording.rounded(pages.size), where, wording.ungranted(pages.pod_uid))
    for one in dict.fromkeys(one for zone in node.zones for one in zone.devices):
        name = f"{one.device.resource} {one.device.name}"
        yield _row("device", "", name if len(name) <= _LIST_WIDTH else f"{name[: _LIST_WIDTH - 1]}…", one.who)


def _first(node: NodeMap, share: MemoryShare) -> int:
    return next(zone.id for zone in node.zones if share in zone.memory)


def _row(what: str, amount: str, where: str, who: str) -> _Block:
    marks = (
        _text(24, 13, what),
        _text(186, 13, amount, anchor="end"),
        _text(206, 13, where),
        _text(_WHO, 13, who),
    )
    return _Block(_WIDTH, _LINE + 2, marks)


def _holder_text(holder: Holder) -> str:
    return " ".join(filter(None, (holder.hold.value, _who(holder))))


def _who(holder: Holder) -> str:
    return f"{holder.pod}: {', '.join(holder.containers)}" if holder.containers else holder.pod


# -- placing ------------------------------------------------------------------------------------------


def _grid(blocks: Sequence[_Block], columns: int, gap: int = _PAD) -> _Block:
    """Put blocks into rows of so many columns, each as wide as the widest in it."""
    columns = min(columns, len(blocks))
    widths = [max(block.width for block in blocks[column::columns]) for column in range(columns)]
    marks, y = [], 0
    for start in range(0, len(blocks), columns):
        row = blocks[start : start + columns]
        for column, block in enumerate(row):
            marks.append(_at(sum(widths[:column]) + column * gap, y, block))
        y += max(block.height for block in row) + gap
    return _Block(sum(widths) + (columns - 1) * gap, y - gap, tuple(marks))


def _stacked(blocks: Sequence[_Block], gap: int = _PAD) -> _Block:
    return _grid(blocks, 1, gap) if blocks else _Block(0, 0, ())


def _at(x: int, y: int, block: _Block) -> str:
    return f'<g transform="translate({x} {y})">' + "".join(block.marks) + "</g>"


def _text(
    x: int, y: int, text: str, anchor: str = "start", weight: str = "normal", look: str = "word"
) -> str:
    colour = "#59626d" if look == "quiet" else "#16191d"
    return (
        f'<text class={quoteattr(look)} x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
