"""Fields of a manifest that the API server would refuse: unknown, of another type, wrong labels and names.

The known fields and their types are in a file that `make manifest-fields` writes from the OpenAPI files of
Kubernetes. A type there is `text`, `bool`, `int`, `any` (quantities and ports, which may be numbers, and what
has no fixed shape), the name of an object, or one of these after `[` for a list and after `{` for a map.

A number or a boolean where text belongs is most often text that YAML reads otherwise (`version: 1.10`,
`enabled: yes`): the sentence says to put it in quotes. Of what a text may say only labels, selectors of
nodes, and the names of the object and of its containers are checked; the API server checks more.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from podnuma.api.selector import is_label_key, is_label_value

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

_LABELS: Final = ("labels", "matchLabels", "nodeSelector")
_NAMED: Final = re.compile(r"metadata\.name|.*[cC]ontainers\[\d+\]\.name", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_LONGEST_LABEL: Final = 63

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
            meant = _further_below(known, str(key)) or next(
                iter(difflib.get_close_matches(str(key), known, n=1)), ""
            )
            yield f"{where}: unknown field" + (f"; did you mean {meant}?" if meant else "")
        else:
            yield from _inside(known[key], inner, where, depth - 1)


def _further_below(known: Mapping[str, str], name: str) -> str:
    """Return where a field of this name belongs in the objects below, the nearest place; empty if nowhere."""
    level = {key: kind for key, kind in known.items() if key != "status"}
    seen: set[str] = set()
    while level:
        objects = {path: kind for path, kind in level.items() if kind in _fields() and kind not in seen}
        for path, kind in objects.items():
            if name in _fields()[kind]:
                return f"{path}.{name}"
        seen.update(objects.values())
        level = {
            f"{path}.{key}": inner for path, kind in objects.items() for key, inner in _fields()[kind].items()
        }
    return ""


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
            yield from _label(path, key, item)
    elif kind in _TYPES:
        yield from _scalar(kind, value, path)
    else:
        yield from _walk(_fields()[kind], value, path, depth)


def _scalar(kind: str, value: Any, path: str) -> Iterator[str]:
    wanted = _TYPES[kind]
    if type(value) is not wanted:
        quote = "; put it in quotes" if wanted is str and isinstance(value, int | float) else ""
        yield f"{path}: is {_shown(value)}; {_WORDS[kind]} belongs here{quote}"
    elif (
        isinstance(value, str)
        and _NAMED.fullmatch(path)
        and not _is_name(str(value), subdomain=path.startswith("metadata"))
    ):
        yield f"{path}: {value!r} is not a valid name: use lower case letters, digits and '-'"


def _label(path: str, key: Any, value: Any) -> Iterator[str]:
    """Yield what is wrong with an entry of labels, annotations or a selector, if the map at `path` is one."""
    field = path.rpartition(".")[2]
    if field == "annotations" or field in _LABELS:
        written = str(key)
        if not is_label_key(written.lower() if field == "annotations" else written):
            rule = "use letters, digits, '-', '_' and '.', after a domain and '/' if any"
            yield f"{path}: {written!r} is not a valid key: {rule}"
    if field in _LABELS and isinstance(value, str) and not is_label_value(value):
        rule = "use at most 63 letters, digits, '-', '_' and '.'"
        yield f"{path}[{key}]: {value!r} is not a valid label: {rule}"


def _is_name(text: str, *, subdomain: bool) -> bool:
    """Whether a text is a name of DNS, as one label or with dots between several."""
    labels = text.split(".") if subdomain else [text]
    longest = 253 if subdomain else _LONGEST_LABEL
    return len(text) <= longest and all(_NAME.fullmatch(one) for one in labels)


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
