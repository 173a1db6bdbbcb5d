"""What kubectl takes for the text of a manifest: its encoding, and whether it is JSON or YAML.

A text is UTF-8, or UTF-16 with a byte order mark, as a Windows shell writes it. A mark may also stand at the
start of a later document: files are joined. A text that begins with "{" is JSON if it can be read as such;
then several objects may follow each other, with or without "---" between them. Else it is YAML, of which JSON
is no part: its escapes name halves of characters (U+D83D, U+DE00), which YAML refuses. PyYAML is loaded for
the first text that needs it.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARK: Final = "\ufeff"
_LATER_MARK: Final = re.compile(rf"^(---[^\n]*\n){_MARK}", re.MULTILINE)
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]|^---[ \t\r]*$)*", re.MULTILINE)
_LARGEST_WHOLE: Final = 1e21  # Go writes larger ones with an exponent


class ManifestError(ValueError):
    """A text is neither JSON nor YAML: what is wrong, on which line and column, 0 if that is not known."""

    def __init__(self, text: str, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(text)
        self.problem = problem
        self.line = line
        self.column = column


def decode_manifest(data: bytes) -> str:
    """Return the text of a file. Raises UnicodeDecodeError."""
    text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8").removeprefix(_MARK)
    return _LATER_MARK.sub(r"\1", text) if _MARK in text else text


def load_values(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each document with the number of its first line. Raises ManifestError or RecursionError."""
    if text.lstrip()[:1] == "{" and (found := _read_json(text)) is not None:
        yield from found
    else:
        yield from _read_yaml(text)


def first_value(text: str) -> Any:
    """Return the first document, None of a text without any. Raises ManifestError or RecursionError."""
    return next((value for _, value in load_values(text)), None)


def _read_yaml(text: str) -> Iterator[tuple[int, Any]]:
    import yaml  # noqa: PLC0415 - takes as long to load as to draw a map, and JSON needs none of it
    from podnuma.plumbing.kube.kubectl_yaml import load_all  # noqa: PLC0415

    try:
        yield from load_all(text)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        raise ManifestError(str(error), str(problem or error), *place) from error


def _read_json(text: str) -> list[tuple[int, Any]] | None:
    """Return the objects of a text that is JSON throughout, else None."""
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_number)
    found: list[tuple[int, Any]] = []
    at = _after(text, 0)
    line, counted = 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return None
        found.append((line, _whole_characters(value)))
        at = _after(text, at)
    return found


def _after(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    return between.end() if between else at


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")


def _number(written: str) -> int | float:
    number = float(written)
    if math.isinf(number):
        raise ValueError(f"{written} is beyond what a number may be")
    return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number


def _whole_characters(value: Any) -> Any:
    """Replace halves of characters without their other half, as Go does: they can be written nowhere."""
    written = json.dumps(value, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value
