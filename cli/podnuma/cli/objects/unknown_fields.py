"""Fields of a manifest that the Kubernetes API does not know: most often a typing error.

The known fields are those of the `kubernetes` package, so that there is no second list to maintain.
Only names are checked; wrong values are found where manifests are read.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

_LIST = re.compile(r"[Ll]ist\[(.+)\]")
_MAP = re.compile(r"Dict\[str, (.+)\]")
_DEEPEST = 32


def unknown_fields(kind: str, value: Any) -> Iterator[str]:
    """Yield one sentence for each unknown field of an object of one of KINDS, with its path."""
    yield from _walk(_model(_MODELS[kind]), value, "", _DEEPEST)


_MODELS = {
    "Pod": "V1Pod",
    "Deployment": "V1Deployment",
    "StatefulSet": "V1StatefulSet",
    "ReplicaSet": "V1ReplicaSet",
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
    if types is None or not isinstance(value, Mapping) or not depth:
        return
    spelled: Mapping[str, str] = model.attribute_map
    known = {spelled[attribute]: kind for attribute, kind in types.items()}
    for key, inner in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            yield f"{where}: unknown field" + (f"; did you mean {close[0]}?" if close else "")
        else:
            yield from _inside(known[key], inner, where, depth - 1)


def _inside(kind: str, value: Any, path: str, depth: int) -> Iterator[str]:
    if (found := _LIST.fullmatch(kind)) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _inside(found[1], item, f"{path}[{index}]", depth)
    elif (found := _MAP.fullmatch(kind)) and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(found[1], item, f"{path}[{key}]", depth)
    else:
        yield from _walk(_model(kind), value, path, depth)
