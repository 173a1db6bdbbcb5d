"""Write docs/reference/ from crds/: one page per custom resource, fields, columns and rules.

    python -m testbed.crd_reference            write the pages
    python -m testbed.crd_reference --check    exit 1 and name the pages that are out of date

The schemas are the only source: a sentence on a page is a `description` or a rule's `message`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
CRDS = ROOT / "crds"
PAGES = ROOT / "docs" / "reference"

NOTICE = "<!-- Written by `make docs-reference` from crds/; edit it there. -->"

# Shown before the fields.
EXAMPLES = {"NodeProfile": ROOT / "examples" / "profiles" / "databases.yaml"}

Node = dict[str, Any]


def page(definition: Node) -> str:
    """Return the page of one custom resource definition, Markdown."""
    names, (version,) = definition["spec"]["names"], definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [f"# {names['kind']}", _sentence(schema), _facts(definition)]
    if names["kind"] in EXAMPLES:
        parts.append(f"```yaml\n{EXAMPLES[names['kind']].read_text().rstrip()}\n```")
    for part in ("spec", "status"):
        parts += [f"## {part}", _sentence(schema["properties"][part]), _fields(schema["properties"][part])]
    rules = list(_rules(schema, ""))
    if rules:
        told = "\n".join(f"* `{path}`: {_cell(message)}." for path, message in rules)
        parts += ["## Rules", "The API server refuses an object that breaks one of these.", told]
    parts += ["## Columns", _columns(version["additionalPrinterColumns"])]
    return "\n\n".join([NOTICE, *parts]) + "\n"


def pages() -> dict[Path, str]:
    """Return the text of every page by its path."""
    definitions = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    return {
        PAGES / f"{definition['spec']['names']['singular']}.md": page(definition)
        for definition in definitions
    }


def _facts(definition: Node) -> str:
    spec, names = definition["spec"], definition["spec"]["names"]
    rows = [
        ("API version", f"`{spec['group']}/{spec['versions'][0]['name']}`"),
        ("Names for kubectl", ", ".join(f"`{name}`" for name in (names["plural"], *names["shortNames"]))),
        ("Scope", "the cluster" if spec["scope"] == "Cluster" else "a namespace"),
    ]
    fields = [field["jsonPath"].lstrip(".") for field in spec["versions"][0].get("selectableFields", [])]
    if fields:
        rows.append(("Field selectors", ", ".join(f"`{field}`" for field in fields)))
    return _table(("", ""), rows)


def _fields(node: Node) -> str:
    rows = [
        (
            f"`{path}`" + (" *required*" if required else ""),
            _kind(field),
            _default(field),
            _cell(_sentence(field)),
        )
        for path, field, required in _walk(node, "")
    ]
    return _table(("Field", "Type", "Default", "Meaning"), rows)


def _walk(node: Node, prefix: str) -> Iterator[tuple[str, Node, bool]]:
    for name, field in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, field, name in node.get("required", [])
        if "items" in field:
            yield from _walk(field["items"], f"{path}[].")
        else:
            yield from _walk(field, f"{path}.")


def _kind(field: Node) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "items" in field:
        return f"list of {_kind(field['items'])}, at most {field['maxItems']}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map to {_kind(field['additionalProperties'])}"
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field.get("format") == "date-time":
        return "time"
    return str(field["type"])


def _default(field: Node) -> str:
    # Of lists and objects the fields say it.
    default = field.get("default")
    return "" if default is None or isinstance(default, (dict, list)) else f"`{json.dumps(default)}`"


def _rules(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in node.get("x-kubernetes-validations", []):
        yield path + rule.get("fieldPath", ""), rule["message"]
    for name, field in node.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")


def _columns(columns: Sequence[Node]) -> str:
    rows = [
        (
            column["name"].upper(),
            f"`{column['jsonPath'].lstrip('.')}`" + (" with `-o wide`" if column.get("priority") else ""),
            _cell(column.get("description", "")),
        )
        for column in columns
    ]
    return _table(("Column", "Field", "Meaning"), rows)


def _sentence(node: Mapping[str, Any]) -> str:
    return str(node.get("description", "")).strip()


def _cell(text: str) -> str:
    # Markdown would take "hugepages-<size>" for a tag.
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed.crd_reference")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path])
        print(
            f"{path.relative_to(ROOT)}: {'is out of date, run make docs-reference' if check else 'written'}"
        )
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
