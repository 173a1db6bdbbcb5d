"""Write the fields that manifests may have, and their types, from the OpenAPI files of Kubernetes.

    python -m testbed.manifest_fields          write cli/podnuma/cli/objects/manifest_fields.json

The source is the module of the newest release in `build.RELEASES`. `podnuma.cli.objects.manifest_fields`
says how a type is written. Only what the kinds there can contain is kept.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from podnuma.cli.objects.manifest_fields import FIELDS_FILE

from testbed import build

Schema = dict[str, Any]

GROUPS = {
    "api__v1": "io.k8s.api.core.v1",
    "apis__apps__v1": "io.k8s.api.apps.v1",
    "apis__batch__v1": "io.k8s.api.batch.v1",
}
KINDS = {
    "Pod": "io.k8s.api.core.v1",
    "ReplicationController": "io.k8s.api.core.v1",
    **dict.fromkeys(("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"), "io.k8s.api.apps.v1"),
    **dict.fromkeys(("Job", "CronJob"), "io.k8s.api.batch.v1"),
}
_SIMPLE = {"string": "text", "boolean": "bool", "integer": "int", "number": "any", "object": "any"}
# Written as text, but a number or nothing at all will do, too.
_FREE = ("Quantity", "IntOrString")


def fields_of(schemas: dict[str, Schema]) -> dict[str, dict[str, str]]:
    """Return the fields of every object that one of KINDS can contain, by the object's short name."""
    found: dict[str, dict[str, str]] = {}
    waiting = [f"{group}.{kind}" for kind, group in KINDS.items()]
    origin: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        short = name.rpartition(".")[2]
        if origin.setdefault(short, name) != name:
            raise ValueError(f"{name} and {origin[short]} have the same short name")
        if short in found:
            continue
        properties = schemas[name].get("properties", {})
        found[short] = {key: _type_of(inner, waiting, schemas) for key, inner in sorted(properties.items())}
    return dict(sorted(found.items()))


def _type_of(schema: Schema, waiting: list[str], schemas: dict[str, Schema]) -> str:
    reference = schema.get("$ref") or next(
        (one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one), None
    )
    if reference:
        name = reference.rpartition("/")[2]
        short = name.rpartition(".")[2]
        if short in _FREE:
            return "any"
        if "properties" not in schemas[name]:
            return _SIMPLE[schemas[name].get("type", "object")]
        waiting.append(name)
        return str(short)
    if schema.get("type") == "array":
        return "[" + _type_of(schema["items"], waiting, schemas)
    if isinstance(values := schema.get("additionalProperties"), dict):
        return "{" + _type_of(values, waiting, schemas)
    return _SIMPLE[schema["type"]]


def shipped_schemas() -> tuple[str, dict[str, Schema]]:
    """Return version and schemas of the newest release that the test bed builds, fetched if need be."""
    module = build.MODULES / list(build.RELEASES.values())[-1]
    # Where the programs were in the cache, nothing has fetched the sources yet.
    asked = [build.find_go(), "-C", str(module), "mod", "download", "-json", "k8s.io/kubernetes"]
    said = json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE).stdout)
    version, folder = said["Version"], said["Dir"]
    schemas: dict[str, Schema] = {}
    for group in GROUPS:
        file = Path(folder) / "api" / "openapi-spec" / "v3" / f"{group}_openapi.json"
        schemas |= json.loads(file.read_text())["components"]["schemas"]
    return version, schemas


def main() -> None:
    """Write the file."""
    version, schemas = shipped_schemas()
    content = {"kubernetes": version, "fields": fields_of(schemas)}
    FIELDS_FILE.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
