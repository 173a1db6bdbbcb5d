"""Fields of a manifest that the API server would refuse: unknown ones, and values of another type.

The known fields and their types are in a file that `make manifest-fields` writes from the OpenAPI files of
Kubernetes. A type there is `text`, `bool`, `int`, `any` (quantities and ports, which may be numbers, and what
has no fixed shape), the name of an object, or one of these after `[` for a list and after `{` for a map.

A number or a boolean where text belongs is most often text that YAML reads otherwise (`version: 1.10`,
`enabled: yes`): the sentence says to put it in quotes.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

FIELDS_FILE: Final = Path(__file__).with_suffix(".json")
KINDS: Final = frozenset(
    {
        "Pod",
        "Deployment",
        "StatefulSet",
        "ReplicaSet",
        "ReplicationController",
        "DaemonSet",
        "Job",
        "CronJob",
    }
)
_DEEPEST = 32

_TYPES: Final = {"text": str, "bool": bool, "int": int}
_WORDS: Final = {"text": "text", "bool": "true or false", "int": "a whole number"}


def field_problems(kind: str, value: Any) -> Iterator[str]:
    """Yield one sentence for each wrong field of an object of one of KINDS, with its path."""
    yield from _walk(_fields()[kind], value, "", _DEEPEST)


@cache
def _fields() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = json.loads(FIELDS_FILE.read_text(encoding="utf-8"))["fields"]
    return found


def _walk(known: Mapping[str, str], value: Any, path: str, depth: int) -> Iterator[str]:
    if value is None or not depth:
        return
    if not isinstance(value, Mapping):
        yield f"{path}: is {_shown(value)}; an object belongs here"
        return
    for key, inner in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            yield f"{where}: unknown field" + (f"; did you mean {close[0]}?" if close else "")
        else:
            yield from _inside(known[key], inner, where, depth - 1)


def _inside(kind: str, value: Any, path: str, depth: int) -> Iterator[str]:
    if value is None or kind == "any":
        return
    if kind.startswith("["):
        if not isinstance(value, list):
            yield f"{path}: is {_shown(value)}; a list belongs here"
            return
        for index, item in enumerate(value):
            yield from _inside(kind[1:], item, f"{path}[{index}]", depth)
    elif kind.startswith("{"):
        if not isinstance(value, Mapping):
            yield f"{path}: is {_shown(value)}; an object belongs here"
            return
        for key, item in value.items():
            yield from _inside(kind[1:], item, f"{path}[{key}]", depth)
    elif (wanted := _TYPES.get(kind)) is not None:
        if type(value) is not wanted:
            quote = "; put it in quotes" if wanted is str and isinstance(value, int | float) else ""
            yield f"{path}: is {_shown(value)}; {_WORDS[kind]} belongs here{quote}"
    else:
        yield from _walk(_fields()[kind], value, path, depth)


def _shown(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
