"""What is written can be read: by every reader of the product, and by the schema of the custom resources."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # stubs are a package of their own
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_topology import read_node_topology
from podnuma.api.pod_allocation import read_pod_allocation

from tests.unit.api.objects import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.written.states import Json, Written

READERS: dict[str, Callable[[Any], Any]] = {
    "NodeProfile": read_node_profile,
    "NodeTopology": read_node_topology,
    "PodAllocation": read_pod_allocation,
}
PLURALS = {"NodeProfile": "nodeprofiles", "NodeTopology": "nodetopologies", "PodAllocation": "podallocations"}
_BITS = {"int32": 31, "int64": 63}


def check(written: Written) -> None:
    """Raise AssertionError if it cannot be read back as it was meant, or the schema refuses it."""
    body = json.loads(json.dumps(written.body))
    kind = body["kind"]
    if kind in READERS:
        refused = next(_validator(PLURALS[kind]).iter_errors(body), None)
        assert refused is None, f"the schema of {kind} refuses {refused.json_path}: {refused.message[:300]}"
    compare(written, body)


def compare(written: Written, stored: Any) -> None:
    """Raise AssertionError if what is stored does not read as what was written."""
    kind = written.body["kind"]
    if kind not in READERS:
        return
    found = READERS[kind](stored)
    assert found.unreadable == (), f"{kind} as {written.writer} writes it: {found.unreadable[0]}"
    for name, value in written.values.items():
        told = found.status.phase if name == "phase" else getattr(found, name)
        told = told.topology if name == "hardware" else told
        assert told == value, f"{name} of {kind} is read as {told!r:.300}, written {value!r:.300}"


@cache
def _validator(plural: str) -> Any:
    return jsonschema.Draft202012Validator(_closed(schema(plural)))


def _closed(node: Any) -> Any:
    """Return a schema that refuses what an API server would drop, and numbers wider than their format."""
    if isinstance(node, list):
        return [_closed(child) for child in node]
    if not isinstance(node, dict):
        return node
    made: Json = {
        key: {name: _closed(child) for name, child in value.items()}
        if key == "properties"
        else _closed(value)
        for key, value in node.items()
        if key not in {"description", "default", "format"}
    }
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if (
        "properties" in node
        and "additionalProperties" not in node
        and node["properties"].keys() != {"metadata"}
    ):
        made["additionalProperties"] = False
    if node.get("format") in _BITS:
        width = 2 ** _BITS[node["format"]]
        made["minimum"], made["maximum"] = (
            max(-width, node.get("minimum", -width)),
            min(width - 1, node.get("maximum", width)),
        )
    return made
