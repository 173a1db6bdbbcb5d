"""Where two answers to one scenario part: the kubelet's and podnuma's, both in the oracle's format.

Answers are compared step by step, and the first step that differs ends the comparison: what
comes after it starts from two different nodes.

What counts as equal although it is spelled differently:

* memory of one kind inside one group of NUMA nodes: the kubelet fills and empties the lowest
  node first, so how much lies on which member depends on the order of old events. It validates
  its own checkpoint by the sum over the group, and so does this module;
* a refusal that names one of several memory types that all fail: the kubelet names any of them;
* numbers the kubelet counts for other purposes: only the three resource_manager_* counters are
  compared, and only of pods that are admitted (the kubelet counts half-done work of refused ones);
* the hint of a container after its pod was admitted: the kubelet drops and remakes it as containers
  stop and processes restart, and no decision looks at it again;
* a page size of which a NUMA node has no pages: to the kubelet it is there if the kernel lists it;
* fields that only one side has: the kubelet's stack on a panic, the complaints of API validation.

Always true: a field that is compared is compared by value; nothing is skipped because it is absent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_ANY_MEMORY_TYPE = re.compile(r"\b(memory|hugepages-\w+)\b")
_EMPTY_POOL = "EmptyPodSharedPoolError"
_COUNTERS = "resource_manager_"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the answers part. `step` is -1 for the start of the node."""

    step: int
    path: str
    kubelet: Any
    podnuma: Any

    def __str__(self) -> str:
        where = "start" if self.step < 0 else f"step {self.step}"
        return f"{where} {self.path}: kubelet {self.kubelet!r}, podnuma {self.podnuma!r}"


def first_difference(kubelet: Json, podnuma: Json) -> Difference | None:
    """Compare two result lines of one scenario; None when they agree to the end."""
    for step, theirs, ours in _parts(kubelet, podnuma):
        if theirs != ours:
            for path, a, b in _unequal(theirs, ours, ""):
                return Difference(step, path, a, b)
    return None


def _parts(kubelet: Json, podnuma: Json) -> Iterator[tuple[int, Json, Json]]:
    yield -1, _start(kubelet), _start(podnuma)
    theirs: Sequence[Json] = kubelet.get("steps") or ()
    ours: Sequence[Json] = podnuma.get("steps") or ()
    for index, (a, b) in enumerate(zip(theirs, ours, strict=False)):
        yield index, _step(a), _step(b)
    if len(theirs) != len(ours):
        yield min(len(theirs), len(ours)), {"steps": len(theirs)}, {"steps": len(ours)}


def _start(result: Json) -> Json:
    return {
        "impossible": "error" in result,
        "ok": bool((result.get("start") or {}).get("ok")),
        "state": comparable_state(result.get("initial")),
    }


def _step(step: Json) -> Json:
    start = step.get("start")
    return {
        "op": step.get("op"),
        "uid": step.get("uid") or "",
        "error": step.get("error"),
        "admitted": step.get("admitted"),
        "reason": step.get("reason") or "",
        "message": _message(step),
        "start": None if start is None else bool(start.get("ok")),
        "readmissions": [
            {"uid": r["uid"], "admitted": r["admitted"], "reason": r.get("reason") or ""}
            for r in step.get("readmissions") or ()
        ],
        "pod": _pod(step),
        "state": comparable_state(step.get("state")),
        "metrics": _metrics(step),
    }


def _pod(step: Json) -> Json | None:
    pod: Json | None = step.get("pod")
    if pod is None or step["op"] == "addPod":
        return pod
    bare = [{key: value for key, value in one.items() if key != "affinity"} for one in pod["containers"]]
    return {**pod, "containers": bare}


def _message(step: Json) -> str:
    text = str(step.get("message") or "")
    return _ANY_MEMORY_TYPE.sub("<memory>", text) if step.get("reason") == _EMPTY_POOL else text


def _metrics(step: Json) -> Json | None:
    if not step.get("admitted"):
        return None
    counted: Json = step.get("metrics") or {}
    return {name: value for name, value in counted.items() if name.startswith(_COUNTERS)}


def comparable_state(state: Json | None) -> Json | None:
    """Return what of a node's state is compared; None without one."""
    if state is None:
        return None
    rows = [_without_empty_sizes(row) for row in state["numa"]]
    return {
        **{key: state[key] for key in ("defaultCPUSet", "cpus", "podCPUs", "memory", "podMemory")},
        "numa": {row["id"]: _row(row) for row in rows},
        "groups": _groups(rows),
    }


def _without_empty_sizes(row: Json) -> Json:
    tables: Json = row["memory"]
    kept = {
        kind: table
        for kind, table in tables.items()
        if kind == "memory" or table["total"] or table["systemReserved"] or table["allocatable"]
    }
    return {**row, "memory": kept}


def _row(row: Json) -> Json:
    fixed = ("total", "systemReserved", "allocatable")
    return {
        "assignments": row["assignments"],
        "cells": row["cells"],
        "memory": {kind: {key: table[key] for key in fixed} for kind, table in row["memory"].items()},
    }


def _groups(rows: Sequence[Json]) -> Json:
    """Sum reserved and free of every memory type over the members of each group."""
    sums: dict[str, dict[str, int]] = {}
    for row in rows:
        group = ",".join(map(str, row["cells"]))
        for kind, table in row["memory"].items():
            total = sums.setdefault(f"{group} {kind}", {"reserved": 0, "free": 0})
            total["reserved"] += table["reserved"]
            total["free"] += table["free"]
    return sums


def _unequal(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _unequal(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _unequal(x, y, f"{path}[{index}]")
    elif a != b:
        yield path, a, b
