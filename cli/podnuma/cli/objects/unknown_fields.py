"""Fields of a manifest that the Kubernetes API does not know: most often a slip of the pen.

The API's own types are taken from the `kubernetes` package, so that there is no second list to
keep. Only shapes are looked at: a field of the right name and a wrong value is another module's.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes.client import models

_LIST = re.compile(r"[Ll]ist\[(.+)\]")
_MAP = re.compile(r"Dict\[str, (.+)\]")
_DEEPEST = 32


def unknown_fields(kind: str, value: Any) -> Iterator[str]:
    """Yield one sentence for each unknown field of an object of a built-in kind, with its path."""
    model = getattr(models, _MODELS[kind], None)
    if model is not None:
        yield from _walk(model, value, "", _DEEPEST)


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
        yield from _walk(getattr(models, kind, None), value, path, depth)
