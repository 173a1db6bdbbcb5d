"""`podnuma map`: nodes as people think of them, and who holds what."""

from pathlib import Path
from typing import Any

from podnuma.allocator import cpuset
from podnuma.cli import output, reading, wanted
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.picture import Picture, Zone
from podnuma.cli.render import map as terminal
from podnuma.cli.render import svg as drawing
from podnuma.cli.sources import Source
from rich.console import RenderableType
from rich.text import Text


def answer(source: Source, node: str, svg: Path | None, form: Form) -> None:
    """Draw one node, or all of them. Nodes without known hardware are named on standard error."""
    topologies, allocations = source.fetch(wanted.topologies(node), wanted.allocations(node))
    if not topologies:
        raise Failure(
            Exit.NOT_FOUND,
            "there is no NodeTopology: the operator makes one per node that a NodeProfile selects; "
            "see `kubectl get nodeprofiles`",
        )
    pictures = []
    for topology in sorted(topologies, key=lambda found: str(found["metadata"]["name"])):
        try:
            pictures.append(reading.picture_of(topology, allocations))
        except Failure as failure:
            if len(topologies) == 1:
                raise
            for line in failure.lines:
                output.note(line)
    if svg is not None:
        _write(svg, pictures)
    elif form.for_programs:
        output.dump([as_data(picture) for picture in pictures], form)
    else:
        output.show(*_spaced(pictures))


def as_data(picture: Picture) -> dict[str, Any]:
    """Return what a map says, for programs."""
    return {
        "node": picture.name,
        "pods": list(picture.pods),
        "numaNodes": [_zone(zone) for zone in picture.zones],
        "offlineCPUs": cpuset.render(picture.offline),
        "notes": list(picture.notes),
    }


def _zone(zone: Zone) -> dict[str, Any]:
    return {
        "id": zone.id,
        "sockets": list(zone.sockets),
        "caches": [
            {"id": cache.id, "cores": [cpuset.render(cpuset.of(core)) for core in cache.cores]}
            for cache in zone.caches
        ],
        "shares": [
            {
                "hold": share.holder.hold.value,
                "pod": share.holder.pod,
                "containers": list(share.holder.containers),
                "cpus": cpuset.render(share.cpus),
            }
            for share in zone.shares
        ],
        "memoryBytes": zone.capacity,
        "memoryHeld": [
            {"pod": share.pod, "resource": share.block.resource, "bytes": share.block.size}
            for share in zone.memory
        ],
    }


def _write(path: Path, pictures: list[Picture]) -> None:
    if len(pictures) != 1:
        raise Failure(Exit.USAGE, "--svg draws one node: name it, as in `podnuma map NODE --svg FILE`")
    try:
        path.write_text(drawing.render(pictures[0]), encoding="utf-8")
    except OSError as error:
        raise Failure(Exit.INPUT, f"{path}: {error.strerror}") from error


def _spaced(pictures: list[Picture]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for picture in pictures:
        parts += [Text()] if parts else []
        parts.append(terminal.render(picture))
    return parts
