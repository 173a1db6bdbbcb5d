"""Every command that a page shows is run by a test, which is named here; a new line fails until it has one.

A test either takes the commands of a page, or of a chapter, from the page itself and runs all of them, or it
runs one that stands here word by word. What shows that it does is text of its file. What no test can run is
here with the reason.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shown_commands import shown

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "examples", "deploy", "findings", "testbed", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
EVERYTHING = ""
PLUGIN = "kubectl-podnuma-0.1.0-linux-amd64.tar.gz"


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs commands: a test "file::name" or another file, and what its text has where it does so."""

    by: str
    seen: str


WALK = "tests/integration/test_deploy_walk.py"
QUESTIONS = "tests/integration/test_questions.py"
WALKS = "tests/integration/test_walks.py"
PLACEMENT = "tests/integration/test_operator_placement.py"
RELEASES = "tests/integration/test_deploy_releases.py"
DEMO = Run("tests/integration/test_demo.py::test_demo_shows_its_pods_and_checks_them", "shown_by_the_readme")

# Of a page: chapters whose commands a test takes from there; "" is all of it.
CHAPTERS: dict[str, dict[str, Run]] = {
    "README.md": {"Install": Run(f"{WALK}::test_the_walk_of_the_readme", 'shown(README, "Install")')},
    "deploy/chart/podnuma/README.md": {
        EVERYTHING: Run(f"{RELEASES}::test_the_commands_of_the_charts_page", 'shown(CHART / "README.md")')
    },
    "docs/command-line.md": {
        "An administrator": Run(
            f"{QUESTIONS}::test_commands_of_an_administrator_and_of_troubleshooting_answer",
            'chapter("An administrator")',
        ),
        "A tenant": Run(f"{WALKS}::test_the_walk_of_a_tenant", 'chapter("A tenant")'),
        "CI without a cluster": Run(
            f"{WALKS}::test_the_walk_of_ci_without_a_cluster", 'chapter("CI without a cluster")'
        ),
    },
    "docs/resize.md": {
        EVERYTHING: Run(f"{QUESTIONS}::test_a_resize_is_what_the_api_server_takes", '"resize.md"')
    },
    "docs/troubleshooting.md": {
        EVERYTHING: Run(
            f"{QUESTIONS}::test_commands_of_an_administrator_and_of_troubleshooting_answer",
            '"troubleshooting.md"',
        )
    },
    "examples/gitops/README.md": {
        EVERYTHING: Run(f"{QUESTIONS}::test_a_profile_is_checked_and_waited_for", '"gitops"')
    },
}

LINES: dict[str, dict[str, Run]] = {
    "README.md": {
        "make demo": DEMO,
        "kubectl get podallocations": DEMO,
        "kubectl podnuma map node-1 --in-use": DEMO,
        "make test": Run(".ci/run", "exec make test"),
        "pipx install .": Run("tests/integration/test_command_alone.py", "*to, wheel"),
        f"kubectl krew install --manifest=podnuma.yaml --archive={PLUGIN}": Run(
            "tests/integration/test_release.py", 'install = [tools["krew"], "install"'
        ),
        "kubectl podnuma version": Run("tests/integration/test_command_alone.py", '("version",)'),
        "docker run --rm --user $(id -u) -v $HOME/.kube/config:/config:ro registry.example/podnuma:0.1.0 "
        "nodes --kubeconfig /config": Run(
            "tests/integration/test_deploy_image.py::test_the_command_of_the_readme_asks_the_cluster_of_a_kubeconfig",
            'startswith("docker run")',
        ),
        "make playground": Run(
            f"{WALK}::test_a_shell_in_the_playground_has_all_three_commands_and_takes_everything_with_it",
            "testbed.playground",
        ),
        "make image": Run("deploy/release.py", "image.build("),
    },
    "docs/placement.md": {
        "podnuma release-gates --dry-run": Run(
            f"{PLACEMENT}::test_release_gates_lets_waiting_pods_go", '"release-gates"'
        ),
        "podnuma release-gates": Run(
            f"{PLACEMENT}::test_release_gates_lets_waiting_pods_go", '"release-gates"'
        ),
        shown(ROOT / "docs" / "placement.md")[-1]: Run(
            f"{PLACEMENT}::test_the_command_in_the_documentation_lets_all_pods_go", '"placement.md"'
        ),
    },
    "docs/ui.md": {
        "kubectl podnuma ui": Run(
            "tests/integration/test_ui.py::test_a_new_node_is_told_without_being_asked_for_and_ctrl_c_ends_the_page",
            '"ui", "--no-browser"',
        )
    },
    "docs/development/releases.md": {"make release": Run("testbed/release.py", '"deploy.release"')},
    "CONTRIBUTING.md": {
        "make help": Run(
            "tests/unit/test_shown_commands.py::test_make_help_lists_every_target", '"make", "help"'
        ),
        "make test": Run(".ci/run", "exec make test"),
    },
}

VIRTUAL_MACHINE = "it starts a virtual machine, which is a test suite of its own"
# Who develops podnuma runs them; they need what no test has.
BY_HAND: dict[str, dict[str, str]] = {
    "CONTRIBUTING.md": {"make lint": "it judges the tests too"},
    "docs/development/e2e.md": {
        "make e2e-vm": VIRTUAL_MACHINE,
        'make e2e-vm MATRIX="crun cgroupfs"': VIRTUAL_MACHINE,
        "make e2e-smoke": VIRTUAL_MACHINE,
        "make e2e KUBECONFIG=/path/to/file": "a cluster of yours",
        "make e2e-kind": "Docker",
        "make e2e-kind-vm": VIRTUAL_MACHINE,
        "python -m testbed.e2e.busybox dist/e2e-busybox.tar": VIRTUAL_MACHINE,
        "kind load image-archive dist/podnuma-image.tar dist/e2e-busybox.tar": "Docker",
    },
    "findings/README.md": {"findings/nri-mux-read.sh": "it builds a program of others, from the network"},
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_shows_is_run_by_a_test(page):
    name = name_of(page)
    known = {*LINES.get(name, {}), *BY_HAND.get(name, {})}
    for chapter in CHAPTERS.get(name, {}):
        known |= set(shown(page, chapter))
    assert [line for line in shown(page) if line not in known] == []
    typed = re.findall(r"^ *\$ ", page.read_text(), re.MULTILINE)
    assert len(typed) == len(shown(page)), "a command stands outside of a console block"


def test_what_is_named_here_is_shown_there():
    for listing in (LINES, BY_HAND):
        for name, lines in listing.items():
            assert [line for line in lines if line not in shown(ROOT / name)] == [], name


RUNS = sorted(
    {
        (run.by, run.seen)
        for listing in (CHAPTERS, LINES)
        for lines in listing.values()
        for run in lines.values()
    }
)


@pytest.mark.parametrize(("by", "seen"), RUNS)
def test_who_runs_commands_is_there_and_does(by, seen):
    path, _, name = by.partition("::")
    text = (ROOT / path).read_text()
    assert seen in text
    if name:
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)


def test_make_help_lists_every_target():
    # Under a make that runs the tests, this one would say that it is another.
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets
    assert {"demo", "test", "lint"} <= set(targets)
