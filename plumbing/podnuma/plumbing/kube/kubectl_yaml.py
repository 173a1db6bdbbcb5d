"""YAML as kubectl reads it: the JSON that it would send for a document.

kubectl turns YAML into JSON with sigs.k8s.io/yaml, whose rules are those of go-yaml v2. They are neither
YAML 1.1 as PyYAML has it nor YAML 1.2. For a plain scalar:

    yes, no, on, off, y, n, true, false   a boolean (with a capital or in capitals as well)
    ~, null, nothing                      null
    12, 1_000, 0x1F, 0o17, 017, 0b11      a whole number of 64 bits; 08 is no octal number and so 8
    1.5, .5, 1e3                          a number; a whole one is sent without its fraction: 1e3 is 1000
    2026-04-01, 22:30, =, 1.2.3           the text itself: there are no dates, no base 60, no "="

A key is always sent as text: `yes:` as "true", `0x10:` as "16". The last of equal keys counts, and "<<"
overrides keys before it. A number that JSON does not have (.nan, .inf) voids the document.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import yaml

_PLAIN: Final = "plain"
_NAMESPACE: Final = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT = _NAMESPACE + "str", _NAMESPACE + "int", _NAMESPACE + "float"
_BOOL, _NULL, _BINARY = _NAMESPACE + "bool", _NAMESPACE + "null", _NAMESPACE + "binary"
_MERGE, _TIMESTAMP = _NAMESPACE + "merge", _NAMESPACE + "timestamp"

_LINE_BREAKS: Final = "\x85\u2028\u2029"

# Expanded, a document may have as many nodes; aliases of aliases make more out of a few lines.
_MOST_NODES: Final = 4_000_000


def _spellings(*words: str) -> frozenset[str]:
    return frozenset(form for word in words for form in (word, word.capitalize(), word.upper()))


_TRUE: Final = _spellings("y", "yes", "true", "on")
_FALSE: Final = _spellings("n", "no", "false", "off")
_NOTHING: Final = _spellings("null") | {"", "~"}
_NO_JSON: Final = frozenset(
    sign + word
    for word in (".inf", ".Inf", ".INF")
    for sign in ("", "+", "-")
) | {".nan", ".NaN", ".NAN"}  # fmt: skip

_WHOLE: Final = re.compile(
    r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))", re.ASCII
)
_FRACTION: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_POINT: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)?", re.ASCII)


class _Loader(yaml.CSafeLoader):
    """Composes nodes; the tag of a scalar without quotes and without a tag of its own is "plain"."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's signature
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return _NAMESPACE


def load_all(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each document with the number of its first line. Raises yaml.YAMLError or RecursionError."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node: Any = loader.get_node()
            yield node.start_mark.line + 1, _Converter().value(node)
    finally:
        loader.dispose()


class _Dumper(yaml.SafeDumper):
    """Writes JSON values: no aliases, and quotes where kubectl needs them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None
        if any(mark in text for mark in _LINE_BREAKS):
            style = '"'  # in other styles they would be folded
        elif not text or _resolve(text) != (_STR, text):
            style = "'"
        return self.represent_scalar(_STR, text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def dump_yaml(value: Any) -> str:
    """Return JSON values as YAML, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Converter:
    """Turns the nodes of one document into JSON values. An anchor's value is made once."""

    def __init__(self) -> None:
        self._made: dict[yaml.Node, tuple[Any, int]] = {}
        self._open: set[yaml.Node] = set()

    def value(self, node: yaml.Node) -> Any:
        return self._convert(node)[0]

    def _convert(self, node: yaml.Node) -> tuple[Any, int]:
        """Return the value of a node, and how many nodes it has when aliases are expanded."""
        if isinstance(node, yaml.ScalarNode):
            return _json_value(node), 1
        if node in self._made:
            return self._made[node]
        if node in self._open:
            raise _error(node, "this anchor's value contains itself")
        self._open.add(node)
        made = self._sequence(node) if isinstance(node, yaml.SequenceNode) else self._mapping(node)
        self._open.remove(node)
        if made[1] > _MOST_NODES:
            raise _error(node, "document contains excessive aliasing")
        self._made[node] = made
        return made

    def _sequence(self, node: yaml.SequenceNode) -> tuple[list[Any], int]:
        items = [self._convert(item) for item in node.value]
        return [value for value, _ in items], 1 + sum(size for _, size in items)

    def _mapping(self, node: yaml.Node) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        count = 1
        for key, item in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.tag in (_PLAIN, _MERGE):
                count += self._merge(item, found)
                continue
            value, size = self._convert(item)
            found[_key(key)] = value
            count += size
        return found, count

    def _merge(self, node: yaml.Node, into: dict[str, Any]) -> int:
        """Add the keys of a mapping, or of several, of which the first wins."""
        # Mappings may be aliases, the list of them may not.
        listed = isinstance(node, yaml.SequenceNode) and node not in self._made
        several = node.value[::-1] if listed else [node]
        count = 0
        for one in several:
            if not isinstance(one, yaml.MappingNode):
                raise _error(one, "map merge requires map or sequence of maps as the value")
            found, size = self._convert(one)
            into.update(found)
            count += size
        return count


def _json_value(node: yaml.ScalarNode) -> Any:
    value = _scalar(node)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _error(node, f"{node.value} is not a number that JSON has; put it in quotes for text")
        # JSON is written by Go, which writes 1.0 as 1.
        return int(Decimal(repr(value))) if value.is_integer() and abs(value) < 1e21 else value  # noqa: PLR2004
    return value


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(node, "a key cannot be an object or a list")
    match _scalar(node):
        case str() as text:
            return text
        case bool() as truth:
            return "true" if truth else "false"
        case int() as whole if whole < 2**63:
            return str(whole)
        case float() as number:
            return _float_key(number)
        case _:
            raise _error(node, f"{node.value or 'nothing'} cannot be a key; put it in quotes")


def _float_key(number: float) -> str:
    """Write a float as Go does with 32 bits: the fewest digits that tell it, an exponent from 6 digits on."""
    if not math.isfinite(number):
        return ".nan" if math.isnan(number) else ".inf" if number > 0 else "-.inf"
    narrow = _narrowed(number)
    if math.isinf(narrow):
        return ".inf" if number > 0 else "-.inf"
    digits = next(text for places in range(9) if _narrowed(float(text := f"{narrow:.{places}e}")) == narrow)
    mantissa, exponent = digits.split("e")
    if -4 <= int(exponent) < 6:  # noqa: PLR2004
        return f"{Decimal(digits):f}"
    return f"{mantissa}e{exponent}"


def _narrowed(number: float) -> float:
    """Return the nearest number of 32 bits."""
    try:
        narrow: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return narrow


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return a scalar's value; one with a tag must be what the tag says. Unknown tags make text."""
    tag, text = node.tag, node.value
    if tag == _PLAIN:
        # A lone "!" before text in quotes counts as no tag.
        return text if node.style else _resolve(text)[1]
    if tag == _BINARY:
        try:
            return base64.b64decode(text, validate=False).decode("utf-8", "replace")
        except binascii.Error as error:
            raise _error(node, "!!binary value contains invalid base64 data") from error
    if tag not in (_INT, _FLOAT, _BOOL, _NULL):
        return text
    found, value = _resolve(text)
    if tag == _FLOAT and found == _INT:
        return float(value)
    if found != tag:
        raise _error(node, f"cannot decode {text!r} as a {tag.removeprefix(_NAMESPACE)}")
    return value


def _resolve(text: str) -> tuple[str, Any]:
    """Return the tag and the value of a plain scalar."""
    if text in _TRUE or text in _FALSE:
        return _BOOL, text in _TRUE
    if text in _NOTHING:
        return _NULL, None
    if text in _NO_JSON:
        return _FLOAT, float(text.replace(".", ""))
    if text[0] in "+-0123456789":
        return _number(text.replace("_", "")) or (_STR, text)
    if _POINT.fullmatch(text):
        return _finite(text) or (_STR, text)
    return _STR, text


def _number(text: str) -> tuple[str, Any] | None:
    if found := _WHOLE.fullmatch(text):
        sign, *bases = found.groups()
        digits, base = next((part, base) for part, base in zip(bases, (16, 2, 8, 10), strict=True) if part)
        # An integer of a million digits is not turned into a number first.
        value = int(sign + "1" * (len(digits) > 70) + digits[:70], base)  # noqa: PLR2004
        if -(2**63) <= value < (2**63 if sign else 2**64):
            return _INT, value
    return _finite(text) if _FRACTION.fullmatch(text) else None


def _finite(text: str) -> tuple[str, float] | None:
    number = float(text)
    return None if math.isinf(number) else (_FLOAT, number)


def _error(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
