"""Fields of a manifest that the API server would refuse: unknown ones, and values of another type.

The known fields and their types are those of the `kubernetes` package, so that there is no second list
to maintain. A number or a boolean where text belongs is most often text that YAML reads otherwise
(`version: 1.10`, `enabled: yes`): the sentence says to put it in quotes. Quantities may be numbers; what
is wrong with them is found where pods are read.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

_LIST = re.compile(r"[Ll]ist\[(.+)\]")
_MAP = re.compile(r"Dict\[str, (.+)\]")
_DEEPEST = 32

# Fields whose texts are quantities; the package does not tell them from other texts.
_QUANTITIES: Final = frozenset(
    {"limits", "requests", "overhead", "sizeLimit", "divisor", "capacity", "allocatedResources"}
)

_WORDS: Final = {str: "text", bool: "true or false", int: "a whole number"}
_TYPES: Final = {"str": str, "datetime": str, "bool": bool, "int": int}


def field_problems(kind: str, value: Any) -> Iterator[str]:
    """Yield one sentence for each wrong field of an object of one of KINDS, with its path."""
    yield from _walk(_model(_MODELS[kind]), value, "", _DEEPEST)


_MODELS = {
    "Pod": "V1Pod",
    "Deployment": "V1Deployment",
    "StatefulSet": "V1StatefulSet",
    "ReplicaSet": "V1ReplicaSet",
    "ReplicationController": "V1ReplicationController",
    "DaemonSet": "V1DaemonSet",
    "Job": "V1Job",
    "CronJob": "V1CronJob",
}
KINDS = frozenset(_MODELS)


@cache
def _model(name: str) -> Any:
    from kubernetes.client import models  # noqa: PLC0415 - slow to load: not for --help

    return getattr(models, name, None)


def _walk(model: Any, value: Any, path: str, depth: int) -> Iterator[str]:
    types: Mapping[str, str] | None = getattr(model, "openapi_types", None)
    if types is None or value is None or not depth:
        return
    if not isinstance(value, Mapping):
        yield f"{path}: is {_shown(value)}; an object belongs here"
        return
    spelled: Mapping[str, str] = model.attribute_map
    known = {spelled[attribute]: kind for attribute, kind in types.items()}
    for key, inner in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            yield f"{where}: unknown field" + (f"; did you mean {close[0]}?" if close else "")
        elif key not in _QUANTITIES:
            yield from _inside(known[key], inner, where, depth - 1)


def _inside(kind: str, value: Any, path: str, depth: int) -> Iterator[str]:
    if value is None:
        return
    if found := _LIST.fullmatch(kind):
        if not isinstance(value, list):
            yield f"{path}: is {_shown(value)}; a list belongs here"
            return
        for index, item in enumerate(value):
            yield from _inside(found[1], item, f"{path}[{index}]", depth)
    elif found := _MAP.fullmatch(kind):
        if not isinstance(value, Mapping):
            yield f"{path}: is {_shown(value)}; an object belongs here"
            return
        for key, item in value.items():
            yield from _inside(found[1], item, f"{path}[{key}]", depth)
    elif (wanted := _TYPES.get(kind)) is not None:
        if type(value) is not wanted:
            quote = "; put it in quotes" if wanted is str and isinstance(value, int | float) else ""
            yield f"{path}: is {_shown(value)}; {_WORDS[wanted]} belongs here{quote}"
    else:
        yield from _walk(_model(kind), value, path, depth)


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
