"""What the package offers, and that every module of it has a test module."""

import ast
import sys
from pathlib import Path

import podnuma.allocator

PACKAGE = Path(podnuma.allocator.__file__).parent
TESTS = Path(__file__).parent


def modules():
    return [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]


def test_every_public_name_exists_and_the_list_is_sorted():
    names = podnuma.allocator.__all__
    assert names == sorted(names)
    assert all(hasattr(podnuma.allocator, name) for name in names)


def test_every_module_has_a_test_module():
    lacking = [str(path) for path in modules() if not (TESTS / path.parent / f"test_{path.name}").exists()]
    assert lacking == []


def test_only_the_standard_library_is_imported_and_neither_input_nor_clock():
    refused = {
        "os",
        "io",
        "socket",
        "subprocess",
        "time",
        "datetime",
        "pathlib",
        "threading",
        "asyncio",
        "random",
    }
    for path in modules():
        for statement in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if isinstance(statement, ast.Import):
                found = {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                found = {(statement.module or "").split(".")[0]}
            else:
                continue
            assert found <= (sys.stdlib_module_names - refused) | {"podnuma"}, path
