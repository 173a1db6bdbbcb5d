"""The one way in which answers leave: text for people, JSON or YAML for programs.

Text is coloured on a terminal and plain when piped; NO_COLOR is respected. A reader that closes
the pipe early (`| head`) ends the process quietly.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import yaml
from podnuma.cli.forms import Form
from rich.console import Console, RenderableType

# Wide enough for a map of 96 cores a line; pagers and editors cut or wrap as they like.
_PIPED_WIDTH = 132


def show(*parts: RenderableType) -> None:
    """Print for people."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _PIPED_WIDTH, highlight=False, soft_wrap=False)
    if terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as capture:
        console.print(*parts, sep="\n")
    # Rich fills lines up to the width of a table; nobody wants that in a file.
    write("".join(line.rstrip() + "\n" for line in capture.get().splitlines()))


def dump(value: Any, form: Form) -> None:
    """Print for programs."""
    if form is Form.YAML:
        write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False))
    else:
        write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows under heads as kubectl does: three blanks between, nothing cut, "-" for nothing."""
    lines = [list(heads), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "   ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def write(text: str) -> None:
    """Write to standard output; a closed pipe ends the process without a complaint."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more on its way out and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def note(line: str) -> None:
    """Tell people something that is not part of the answer."""
    sys.stderr.write(line + "\n")
