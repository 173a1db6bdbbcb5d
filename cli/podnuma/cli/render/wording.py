"""Pieces of text that several commands write in the same words, and kubectl-like columns."""

from collections.abc import Sequence

from podnuma.allocator import nodeset
from podnuma.allocator.nodeset import NodeSet


def count(number: int, noun: str) -> str:
    """Write a number with its noun: "1 CPU", "2 CPUs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rounded(size: int) -> str:
    """Write bytes rounded to three digits, for people: "16Gi", "31.9Gi", "512Mi"."""
    value = float(size)
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if value < 1000 or unit == "Ti":  # noqa: PLR2004 - "1000" is longer than the next unit's "0.98"
            return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"  # noqa: PLR2004
        value /= 1024
    raise AssertionError(size)


def memory_suffix(capacity: int) -> str:
    """Return the end of a list of facts: the amount of memory, if it is known."""
    return f" · {rounded(capacity)} memory" if capacity else ""


def across(nodes: NodeSet) -> str:
    """Name the NUMA nodes of a block of memory, if there is more than one."""
    return f"over NUMA nodes {nodeset.render(nodes)}" if nodes.bit_count() > 1 else ""


def ungranted(pod_uid: str) -> str:
    """Say who uses huge pages that nobody was granted."""
    return f"in use without a grant: pod UID {pod_uid}" if pod_uid else "in use without a grant"


def wrap_list(items: str, width: int, separator: str = ",") -> str:
    """Wrap a list into lines of at most `width` characters, only after separators."""
    lines = [""]
    for item in items.split(separator):
        if lines[-1] and len(lines[-1]) + len(separator) + len(item) > width:
            lines[-1] += separator.rstrip()
            lines.append(item)
        else:
            lines[-1] += f"{separator}{item}" if lines[-1] else item
    return "\n".join(lines)


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool = True) -> str:
    """Set rows under heads as kubectl does: three blanks between columns, nothing cut, "-" for empty."""
    lines = [list(heads)] if headers else []
    lines += ([cell or "-" for cell in row] for row in rows)
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "   ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
