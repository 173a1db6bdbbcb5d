"""The map of a node: a picture of every NUMA node, then who holds what, in words.

Columns are cores, rows their threads, gaps separate the cores of different last-level
caches. Every CPU is one letter, so that nothing is lost where there is no colour:

    R  reserved for the system     A  exclusive, of pod A     a  the pool that pod A shares
    ·  node shared pool            !  held by two pods: an error
    I  isolated: never shared      ?  held by pods that the reader may not see
    -  outside the cgroup of all pods

Letters are given to pods in the order of their names and start again after Z; the words
below each NUMA node always name the pod.
"""

from collections.abc import Iterator, Sequence

from podnuma.allocator import cpuset
from podnuma.api.decoding import printable
from podnuma.cli.render import palette, wording
from podnuma.cli.render.node_map import Cache, Holder, NodeMap, Zone
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

# Longer CPU lists (ids that alternate between NUMA nodes) are cut to first…last.
_LABEL_WIDTH = 22
_INDENT = 2
_KIND_WIDTH = 13
_AMOUNT_WIDTH = 7
_LIST_WIDTH = 60
_BEFORE_LIST = _INDENT + _KIND_WIDTH + _AMOUNT_WIDTH + 8


def render_terminal(node: NodeMap, *, in_use: bool = False) -> RenderableType:
    """Draw one node, or of it only the NUMA nodes where a pod holds something."""
    parts: list[RenderableType] = [_title(node)]
    for zone in (zone for zone in node.zones if zone.in_use or not in_use):
        parts += [Text(), _heading(zone)]
        if zone.caches:
            parts.append(_Cores(node, zone))
        parts.append(_Holders(node, zone))
    if node.offline:
        parts += [Text(), Text(f"offline CPUs: {cpuset.render(node.offline)}", style="dim")]
    parts += [
        Text(f"{kind} cores: CPUs {cpuset.render(cpus)}", style="dim") for kind, cpus in node.kinds.items()
    ]
    parts += [Text(printable(remark), style="bold red") for remark in node.remarks]
    return Group(*parts)


def _title(node: NodeMap) -> Text:
    facts = (
        wording.count(len(node.sockets), "socket"),
        wording.count(len(node.zones), "NUMA node"),
        wording.count(node.cores, "core"),
        wording.count(len(node.holders), "CPU"),
        wording.count(len(node.pods), "pod"),
    )
    return Text.assemble((node.name, "bold"), "  ", " · ".join(facts))


def _heading(zone: Zone) -> Text:
    facts = [f"socket {', '.join(map(str, zone.sockets))}"] if zone.sockets else ["memory only"]
    if zone.caches:
        facts.append(wording.count(sum(len(cache.cores) for cache in zone.caches), "core"))
        facts.append(wording.count(zone.cpus.bit_count(), "CPU"))
    caches = [cache for cache in zone.caches if cache.id is not None]
    if len(zone.caches) > 1 and caches:
        facts.append(wording.count(len(caches), "L3 cache"))
    text = " · ".join(facts) + wording.memory_suffix(zone.capacity)
    return Text.assemble((f"NUMA node {zone.id}", "bold"), "  ", text)


class _Cores:
    """The cores of a zone, as wide as the console allows; whole caches per line where possible."""

    def __init__(self, node: NodeMap, zone: Zone) -> None:
        self._node = node
        self._zone = zone

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        caches = self._zone.caches
        room = max(options.max_width - _LABEL_WIDTH - _INDENT - 2, 8)
        widest = sum(len(cache.cores) for cache in caches)
        cell = 2 if widest * 2 + len(caches) <= room else 1
        rows = [
            (line, thread)
            for line in _lines(caches, room, cell)
            for thread in range(max(cache.threads for cache in line))
        ]
        labels = [_label(line, thread) for line, thread in rows]
        width = max(map(len, labels))
        for (line, thread), label in zip(rows, labels, strict=True):
            yield self._row(line, thread, cell, f"{label:>{width}}")

    def _row(self, caches: Sequence[Cache], thread: int, cell: int, label: str) -> Text:
        text = Text(f"{'':{_INDENT}}{label}  ", no_wrap=True)
        for position, cache in enumerate(caches):
            if position:
                text.append(" ")
            for core in cache.cores:
                if thread >= len(core):
                    text.append(" " * cell)
                    continue
                holder = self._node.holders[core[thread]]
                text.append(f"{palette.sign(self._node, holder):{cell}}", style=_style(self._node, holder))
        return text


def _lines(caches: Sequence[Cache], room: int, cell: int) -> Iterator[list[Cache]]:
    line: list[Cache] = []
    used = 0
    for cache in caches:
        for part in _cut(cache, room // cell):
            width = len(part.cores) * cell + 1
            if line and used + width > room + 1:
                yield line
                line, used = [], 0
            line.append(part)
            used += width
    if line:
        yield line


def _cut(cache: Cache, columns: int) -> Iterator[Cache]:
    for start in range(0, len(cache.cores), columns):
        yield Cache(cache.id, cache.cores[start : start + columns])


def _label(caches: Sequence[Cache], thread: int) -> str:
    cpus = [core[thread] for cache in caches for core in cache.cores if thread < len(core)]
    text = cpuset.render(cpuset.of(cpus))
    return text if len(text) <= _LABEL_WIDTH else f"{min(cpus)}…{max(cpus)}"


def _style(node: NodeMap, holder: Holder) -> str:
    colours = palette.colours(node, holder)
    return f"{colours.text or 'default'} on {colours.ground or 'default'}"


class _Holders:
    """Who holds what of a zone, in words: one line a holder, long CPU lists broken at commas."""

    def __init__(self, node: NodeMap, zone: Zone) -> None:
        self._node = node
        self._zone = zone

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shares = [(share, _who(share.holder)) for share in self._zone.shares]
        names = max(
            [len(who) for _, who in shares]
            + [len(share.pod) for share in self._zone.memory]
            + [len(one.who) for one in self._zone.devices],
            default=0,
        )
        lists = min(max(options.max_width - _BEFORE_LIST - names - 2, _LABEL_WIDTH), _LIST_WIDTH)
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_INDENT - 1)
        table.add_column(no_wrap=True, width=1)
        table.add_column(no_wrap=True, width=_KIND_WIDTH)
        table.add_column(no_wrap=True, width=_AMOUNT_WIDTH, justify="right")
        table.add_column(no_wrap=True, min_width=_LABEL_WIDTH)
        table.add_column(overflow="fold")
        for share, who in shares:
            cpus = wording.wrap_list(cpuset.render(share.cpus), lists)
            sign = Text(palette.sign(self._node, share.holder), style=_style(self._node, share.holder))
            table.add_row("", sign, share.holder.hold.value, str(share.cpus.bit_count()), cpus, who)
        for held in self._zone.memory:
            size, across = wording.rounded(held.block.size), wording.across(held.block.nodes)
            table.add_row("", "", held.block.resource, size, across, held.pod)
        for pages in self._zone.pages_in_use:
            table.add_row(
                "", "", pages.resource, wording.rounded(pages.size), "", wording.ungranted(pages.pod_uid)
            )
        for one in self._zone.devices:
            name = f"{one.device.resource} {one.device.name}"
            cut = name if len(name) <= lists else f"{name[: lists - 1]}…"
            table.add_row("", "", "device", "", cut, one.who)
        yield table


def _who(holder: Holder) -> str:
    return f"{holder.pod}: {', '.join(holder.containers)}" if holder.containers else holder.pod
