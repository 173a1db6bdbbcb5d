"""Write those files of the chart that say again what stands elsewhere.

    files/crds     copies of crds/: a package has no links out of itself
    README.md      its tables of values: names and comments of values.yaml, types of values.schema.json
    Chart.yaml     its icon: icon.svg as a data URI, since no place serves it

Run as `python deploy/chart_files.py` (`make manifests` does) after a change of any of these; a test compares.
"""

import base64
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "chart" / "podnuma"
ICON = CHART.with_name("icon.svg")

_TABLES = re.compile(r"(<!-- values: begin.*-->\n).*(<!-- values: end -->\n)", re.DOTALL)
_ICON = re.compile(r"^icon: .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart. `section` is set for a group of values, which has no default of its own."""

    path: str
    about: str
    type: str
    default: str
    section: bool = False


def generated() -> dict[Path, str]:
    """Return what each file must be."""
    definitions = (ROOT / "crds").glob("*.yaml")
    files = {CHART / "files" / "crds" / file.name: file.read_text() for file in definitions}
    readme, chart = CHART / "README.md", CHART / "Chart.yaml"
    tables = _tables(list(values()))
    files[readme] = _TABLES.sub(lambda marks: f"{marks[1]}{tables}{marks[2]}", readme.read_text())
    files[chart] = _ICON.sub(f"icon: {icon()}", chart.read_text())
    return files


def icon() -> str:
    """Return the icon as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(ICON.read_bytes()).decode()}"


def values() -> Iterator[Value]:
    """Return all values in the order of values.yaml; a group comes before its members."""
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    yield from _values(node, yaml.safe_load(text), schema, text.splitlines(), schema["$defs"], "")


def _values(
    node: Any, data: Mapping[str, Any], schema: Mapping[str, Any], lines: list[str], defs: Any, path: str
) -> Iterator[Value]:
    for key, inner in node.value:
        name, about = key.value, _comment(lines, key.start_mark.line)
        known = _resolved(schema["properties"][name], defs)
        # Only a map with members of the chart's own is a group; labels, resources and the like are one value.
        section = "properties" in known and known is not defs["resources"]
        yield Value(path + name, about, _type(known), json.dumps(data[name]), section)
        if section:
            yield from _values(inner, data[name], known, lines, defs, f"{path}{name}.")


def _comment(lines: list[str], line: int) -> str:
    """Return the comment that stands right above a line, as one line."""
    indentation = len(lines[line]) - len(lines[line].lstrip())
    found: list[str] = []
    while line and re.match(rf" {{{indentation}}}#", lines[line - 1]):
        line -= 1
        found.insert(0, lines[line].strip(" #"))
    return " ".join(found)


def _resolved(schema: Mapping[str, Any], defs: Any) -> Any:
    reference = schema.get("$ref")
    return defs[reference.rpartition("/")[2]] if reference else schema


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    found = schema["type"]
    return found if isinstance(found, str) else " or ".join(found)


def _tables(all_values: list[Value]) -> str:
    """Return a table per value or group of the first level; single values share the table "general"."""
    rows: dict[str, list[Value]] = {}
    sections = {value.path: value for value in all_values if value.section}
    for value in all_values:
        top = value.path.partition(".")[0]
        rows.setdefault(top if top in sections else "general", []).append(value)
    return "\n".join(_table(name, sections.get(name), members) for name, members in rows.items())


def _table(name: str, section: Value | None, members: list[Value]) -> str:
    about = f"{section.about}\n\n" if section and section.about else ""
    head = "| value | type | default | |\n| --- | --- | --- | --- |\n"
    rows = "".join(_row(value, members) for value in members if not value.section)
    return f"### {name}\n\n{about}{head}{rows}"


def _row(value: Value, members: list[Value]) -> str:
    above = {one.path: one.about for one in members if one.section and "." in one.path}
    about = value.about
    if value.path.endswith((".enabled", ".create")) and not about:
        about = above.get(value.path.rpartition(".")[0], "")
    cells = (f"`{value.path}`", value.type, f"`{value.default}`", about)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n".replace("|  |", "| |")


def main() -> int:
    """Write the files and name those that were out of date."""
    wanted = generated()
    for path, text in wanted.items():
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
