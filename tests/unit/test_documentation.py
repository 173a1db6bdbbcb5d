"""Links of the documentation lead somewhere, its commands exist, its manifests are good."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from podnuma.api.node_conditions import NodeReason
from podnuma.api.node_profile import read_node_profile
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.main import app
from podnuma.cli.objects.kubelet_configuration import kubelet_settings
from podnuma.cli.objects.manifest_fields import field_problems

from tests.shown_commands import shown

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMANDS = ROOT / "cli" / "podnuma" / "cli" / "commands"
_EXAMPLE = re.compile(r"^        \"((?:kubectl )?podnuma [a-z][^|>;#\"]*)", re.MULTILINE)
_INLINE = re.compile(r"`((?:kubectl )?podnuma [a-z][^`]*)`")


def commands(page: Path) -> list[str]:
    """Every command line that a page shows, those that are joined by && one by one."""
    return [part.strip() for line in shown(page) for part in line.split("&&")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, _ in _LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_merge_was_left_half_done(page):
    assert re.findall(r"^(?:[<>]{7} |={7}$).*", page.read_text(), re.MULTILINE) == []


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = (
            page.parent / target for target, _ in _LINK.findall(page.read_text()) if target.endswith(".md")
        )
        waiting += [link.resolve() for link in links if link.exists()]
    inside = {page for page in PAGES if ".venv" not in page.parts}
    assert sorted(str(page.relative_to(ROOT)) for page in inside - reached) == []


def test_the_fields_that_a_kubelet_has_too_are_named_where_a_profile_is_given_to_one():
    schema = yaml.safe_load((ROOT / "crds/nodeprofiles.yaml").read_text())["spec"]["versions"][0]["schema"]
    fields = schema["openAPIV3Schema"]["properties"]["spec"]["properties"]
    amounts = {"kubeReserved": {"cpu": "1"}, "systemReserved": {"cpu": "1"}}
    shared = kubelet_settings(dict.fromkeys(fields, "set") | amounts).spec
    step = (ROOT / "docs/moving.md").read_text().split("\n2. Give the kubelet")[1].split("\n3. ")[0]
    assert set(re.findall(r"`(\w+)`", step)) - {"spec", "KubeletConfiguration"} == set(shared)


def test_the_tests_of_recorded_cases_exist():
    tests = ROOT / "tests"
    named = re.findall(r"`([a-z_/0-9]+\.py)::(test_\w+)`", (ROOT / "docs/development/cases.md").read_text())
    assert len(named) >= 15
    for path, name in named:
        file = next(file for file in (tests / path, tests / "unit" / path) if file.exists())
        assert re.search(rf"^(async )?def {name}\(", file.read_text(), re.MULTILINE), f"{path}::{name}"


def test_make_targets_of_the_documentation_exist():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z][a-z0-9-]+)", _code(page))}
    assert named
    assert sorted(named - targets) == []


def _code(page: Path) -> str:
    text = page.read_text()
    return "\n".join([*_BLOCK.findall(text), *re.findall(r"`([^`\n]+)`", text)])


def verbs() -> dict[str, set[str]]:
    """The options of each verb."""
    group = typer.main.get_command(app)
    found: dict[str, set[str]] = {}

    def walk(command, words):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, [*words, name])
        else:
            found[" ".join(words)] = {
                option for one in command.params for option in one.opts + one.secondary_opts
            }

    walk(group, [])
    return found


def _podnuma_lines() -> list[str]:
    lines = [line for page in PAGES for line in commands(page)]
    lines += [line for page in PAGES for line in _INLINE.findall(page.read_text())]
    lines += [line for file in COMMANDS.glob("*.py") for line in _EXAMPLE.findall(file.read_text())]
    stripped = {line.removeprefix("kubectl ").replace("\\|", "|") for line in lines}
    return sorted(line for line in stripped if line.startswith("podnuma "))


@pytest.mark.parametrize("line", _podnuma_lines())
def test_every_podnuma_command_of_the_documentation_exists(line):
    known = verbs()
    words = shlex.split(line.replace("[", " ").replace("]", " ").replace("|", " "))[1:]
    verb = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    if verb == "agent":
        return  # spoken of in general
    assert verb in known, line
    for word in words[len(verb.split()) :]:
        if word.startswith("-") and word not in {"-h", "--help", "-o"}:
            assert word.split("=")[0] in known[verb], f"{line}: {word}"


def test_files_that_commands_name_exist():
    for page in PAGES:
        for line in commands(page):
            for word in line.split():
                if word.startswith(("examples/", "deploy/", "crds/", "tests/", "docs/")):
                    assert (ROOT / word.split(":")[0]).exists(), f"{page.name}: {line}"


def test_what_shown_commands_write_into_a_clone_is_ignored_by_git():
    written = {
        file
        for page in PAGES
        for line in shown(page)
        for file in re.findall(r"(?<!2)> ([\w.-]+)(?=\s|$)", line)
    }
    asked = ["git", "-C", str(ROOT), "check-ignore", "--stdin"]
    done = subprocess.run(asked, input="\n".join(written), capture_output=True, text=True, check=False)
    assert "databases.yaml" in written
    assert set(done.stdout.splitlines()) == written


def test_the_two_commands_stand_in_the_first_screen():
    first = "\n".join((ROOT / "README.md").read_text().splitlines()[:35])
    assert "$ make demo" in first
    assert "$ make test" in first


def test_every_dependency_has_its_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = {re.split(r"[^a-z-]", requirement)[0] for requirement in project["dependencies"]}
    assert {name for name in names if name not in page} == set()


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_good(file):
    for manifest in yaml.safe_load_all(file.read_text()):
        if manifest["kind"] == "NodeProfile":
            read_node_profile(manifest)
        elif manifest["kind"] == "Pod":
            assert list(field_problems("Pod", manifest)) == []
            read_pod(with_api_defaults(manifest))


def _room_exists(path: str) -> bool:
    part, _, room = path.partition("/")
    folder = {"agent": "node-agent"}.get(part, part)
    place = ROOT / folder / "podnuma" / part / room
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_every_reason_why_a_node_is_not_ready_has_its_line():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert [reason for reason in NodeReason if reason != NodeReason.READY and f"`{reason}`" not in page] == []


def test_every_room_and_module_that_the_architecture_page_names_exists():
    text = (ROOT / "docs" / "architecture.md").read_text()
    part = "(?:allocator|api|plumbing|operator|agent|cli)"
    named = set(re.findall(rf"`({part}/(?!podnuma)[a-z_/]+?)/?`", text))
    assert len(named) > 40
    assert sorted(path for path in named if not _room_exists(path)) == []
