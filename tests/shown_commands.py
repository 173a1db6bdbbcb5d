"""What pages show as typed: lines that begin with "$ " in blocks of the language `console`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^ *\$ (.+?)(?:\s+#.*)?$", re.MULTILINE)


def shown(page: Path, chapter: str = "") -> list[str]:
    """The command lines of a page, or of one chapter, without comments; continued lines are joined."""
    text = page.read_text()
    if chapter:
        text = text.split(f"\n## {chapter}\n")[1].split("\n## ")[0]
    blocks = "\n".join(block for _, block in _BLOCK.findall(text)).replace("\\\n", " ")
    return [line.strip() for line in _COMMAND.findall(blocks)]
