"""Small amounts of text that several drawings need in the same words."""

from podnuma.allocator import nodeset
from podnuma.allocator.nodeset import NodeSet


def count(number: int, noun: str) -> str:
    """Give a number its noun: "1 CPU", "2 CPUs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def about(size: int) -> str:
    """Render bytes for reading, to three digits: "16Gi", "31.9Gi", "512Mi". Not exact: for people only."""
    value = float(size)
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if value < 1000 or unit == "Ti":  # noqa: PLR2004 - four digits read worse than the next unit
            return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"  # noqa: PLR2004
        value /= 1024
    raise AssertionError(size)


def memory(capacity: int) -> str:
    """End a list of facts with an amount of memory, unless none is known."""
    return f" · {about(capacity)} memory" if capacity else ""


def across(nodes: NodeSet) -> str:
    """Say over which NUMA nodes a block lies, if it is more than one."""
    return f"over NUMA nodes {nodeset.render(nodes)}" if nodes.bit_count() > 1 else ""


def broken(items: str, width: int) -> str:
    """Break a comma list into lines of at most `width` characters, at commas only."""
    lines = [""]
    for item in items.split(","):
        if lines[-1] and len(lines[-1]) + 1 + len(item) > width:
            lines[-1] += ","
            lines.append(item)
        else:
            lines[-1] += f",{item}" if lines[-1] else item
    return "\n".join(lines)
