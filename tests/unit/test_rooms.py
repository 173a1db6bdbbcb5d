"""Who may live where: arrows between the parts, what a pure part may import, and modules nobody tests.

The arrows are the same as in pyproject.toml, where `make lint` checks them with everything that is
imported along the way. Here they are read from the text of each module, so that a test run alone
already says no, and without installing a linter.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "allocator": "allocator",
    "api": "api",
    "plumbing": "plumbing",
    "operator": "operator",
    "agent": "node-agent",
    "cli": "cli",
}
MAY_IMPORT = {
    "allocator": set(),
    "plumbing": set(),
    "api": {"allocator"},
    "operator": {"allocator", "api", "plumbing"},
    "agent": {"allocator", "api", "plumbing"},
    "cli": {"allocator", "api", "plumbing", "operator", "agent"},
}
# Of the standard library: values, numbers, iteration. No files, no time, no processes, no network.
PURE = {
    "abc", "bisect", "collections", "dataclasses", "difflib", "enum", "functools", "heapq", "itertools",
    "math", "operator", "re", "types", "typing", "__future__",
}  # fmt: skip
# The API package also reads and writes JSON, times and digests.
FORMATS = PURE | {"json", "marshal", "datetime", "contextlib", "hashlib"}


def modules(part: str) -> Iterator[Path]:
    folder = ROOT / FOLDERS[part] / "podnuma" / part
    for path in sorted(folder.rglob("*.py")):
        if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")):
            yield path


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported in a file, wherever it stands, as absolute names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("part", FOLDERS)
def test_every_part_imports_only_parts_below_it(part):
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(part)
        for name in imports(path)
        if name.startswith("podnuma.") and name.split(".")[1] not in MAY_IMPORT[part] | {part}
    ]
    assert wrong == []


@pytest.mark.parametrize("part", FOLDERS)
def test_imports_name_the_room(part):
    hidden = [str(path) for path in modules(part) for name in imports(path) if name.startswith(".")]
    assert hidden == []


@pytest.mark.parametrize("part", FOLDERS)
def test_the_product_never_imports_the_test_bed(part):
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(part)
        for name in imports(path)
        if name.split(".")[0] in {"testbed", "tests", "deploy"}
    ]
    assert wrong == []


@pytest.mark.parametrize(("part", "allowed"), [("allocator", PURE), ("api", FORMATS)])
def test_pure_parts_import_values_only(part, allowed):
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(part)
        for name in imports(path)
        if name.split(".")[0] not in allowed | {"podnuma"}
    ]
    assert wrong == []
    assert sys.stdlib_module_names >= allowed


# What a leaf of the agent may know beside itself: sets of CPUs and NUMA nodes, and the values that all speak.
SETS = ("podnuma.allocator.cpuset", "podnuma.allocator.nodeset", "podnuma.allocator.topology")
LEAVES = {
    "model": (*SETS, "podnuma.allocator.request"),
    "cgroups": (*SETS, "podnuma.allocator.request", "podnuma.agent.model"),
    "apiserver": ("podnuma.api", "podnuma.plumbing"),
    "discover": (*SETS, "podnuma.agent.model", "podnuma.plumbing"),
    "nri": (),
    "cri": (),
    "podresources": (),
}


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_of_the_agent_know_nothing_else_of_podnuma(leaf):
    rooms = (f"podnuma.agent.{leaf}", *LEAVES[leaf])
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("agent")
        if path.is_relative_to(ROOT / "node-agent" / "podnuma" / "agent" / leaf)
        for name in imports(path)
        if name.startswith("podnuma.") and not name.startswith(rooms)
    ]
    assert wrong == []


# The agent's rooms in the order of the data: each knows only those before it.
AGENT_ROOMS = ("desired", "plan", "reconcile", "start", "status", "runtimes")


@pytest.mark.parametrize("room", AGENT_ROOMS)
def test_rooms_of_the_agent_know_only_those_before_them(room):
    later = AGENT_ROOMS[AGENT_ROOMS.index(room) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("agent")
        if path.is_relative_to(ROOT / "node-agent" / "podnuma" / "agent" / room)
        for name in imports(path)
        if name.startswith(tuple(f"podnuma.agent.{other}." for other in later))
    ]
    assert wrong == []


# The operator's rooms, and which others each may know.
OPERATOR_ROOMS = {
    "cache": set(),
    "watch": {"cache"},
    "write": {"cache", "watch"},
    "node": {"cache", "watch", "write"},
}


@pytest.mark.parametrize("room", OPERATOR_ROOMS)
def test_rooms_of_the_operator_know_only_those_below_them(room):
    folder = ROOT / "operator" / "podnuma" / "operator"
    allowed = OPERATOR_ROOMS[room] | {room, "metrics", "settings"}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("operator")
        if path.is_relative_to(folder / room)
        for name in imports(path)
        if name.startswith("podnuma.operator.") and name.split(".")[2] not in allowed
    ]
    assert wrong == []


# Rooms of the command line, and what each may know of the others.
CLI_ROOMS = {
    "objects": set(),
    "render": set(),
    "ui": {"objects", "render"},
    "commands": {"objects", "render", "ui"},
}


@pytest.mark.parametrize("room", CLI_ROOMS)
def test_rooms_of_the_command_line_import_only_rooms_below_them(room):
    folder = ROOT / "cli" / "podnuma" / "cli"
    allowed = CLI_ROOMS[room] | {room, "exits"}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("cli")
        if path.is_relative_to(folder / room)
        for name in imports(path)
        if name.startswith("podnuma.cli.") and name.split(".")[2] not in allowed
    ]
    assert wrong == []


# What a drawing may import of the standard library beside what is pure.
DRAWING = PURE | {"xml"}


def test_drawing_is_pure():
    render = ROOT / "cli" / "podnuma" / "cli" / "render"
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("cli")
        if path.is_relative_to(render)
        for name in imports(path)
        if not name.startswith(("podnuma.allocator", "podnuma.api", "podnuma.cli.render", "rich."))
        and name.split(".")[0] not in DRAWING
    ]
    assert wrong == []


def test_the_namespace_has_no_init_file():
    found = [
        path.relative_to(ROOT)
        for folder in FOLDERS.values()
        for path in (ROOT / folder / "__init__.py", ROOT / folder / "podnuma" / "__init__.py")
        if path.exists()
    ]
    assert found == []


def test_every_package_says_who_may_live_there():
    silent = [
        str(path.relative_to(ROOT))
        for part in FOLDERS
        for path in modules(part)
        if path.name == "__init__.py"
        and path.parent.name != "messages"
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_module_is_reached_by_a_test():
    """By a test file of its name, or by one that imports it, or imports what imports it."""
    named = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    everything = {_dotted(path): path for part in FOLDERS for path in modules(part)}
    waiting = [name for path in (ROOT / "tests").rglob("*.py") for name in imports(path)]
    waiting += [dotted for dotted in everything if dotted.rpartition(".")[2] in named]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        # `from room import thing` names a module or something in one.
        for module in (name, name.rpartition(".")[0]):
            if module in everything and module not in reached:
                reached.add(module)
                waiting += imports(everything[module])
    assert sorted(everything.keys() - reached) == []


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts[path.parts.index("podnuma", len(ROOT.parts)) :]
    return ".".join(parts).removesuffix(".__init__")


def test_every_package_names_all_of_its_modules():
    unnamed = []
    for folder in (path.parent for part in FOLDERS for path in modules(part) if path.name == "__init__.py"):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        words = set(re.findall(r"[a-z_]+", said))
        inside = {path.stem for path in folder.glob("*.py") if not path.stem.endswith(("_pb2", "_pb2_grpc"))}
        rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
        unnamed += [str(folder / name) for name in sorted((inside | rooms) - words - {"__init__"})]
    assert unnamed == []
