"""The walk of the README, command by command, in the cluster of `make playground`.

A person installs the chart, applies the profiles, runs a pod, asks, breaks one, reads why, and uninstalls.
The commands are taken from the README itself and run by a shell with kubectl, helm and podnuma on its PATH.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.api import ApiStatusError
from testbed.cgroups import containers_of
from testbed.installation import NAMESPACE
from testbed.playground.cluster import Playground
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NODE = "node-1"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands() -> list[str]:
    """The command lines of the README's chapter on installing, in order."""
    chapter = (ROOT / "README.md").read_text().split("## Install\n")[1].split("## Command line")[0]
    lines = "\n".join(_BLOCK.findall(chapter)).replace("\\\n", " ")
    return [
        line.removeprefix("$ ").split("  #")[0].strip()
        for line in lines.splitlines()
        if line.startswith("$ ")
    ]


class Person:
    """Runs command lines in a shell, in the project's folder, against the playground."""

    def __init__(self, playground: Playground) -> None:
        self._environment = playground.environment()
        self.done: list[str] = []

    def types(self, line: str, status: int = 0) -> str:
        """Run the README's line that starts so, and return what it prints."""
        (whole,) = [command for command in commands() if command.startswith(line)]
        self.done.append(whole)
        done = subprocess.run(
            ["bash", "-c", whole.replace("NODE", NODE)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self._environment,
            timeout=120,
        )
        assert done.returncode == status, f"{whole}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def playground() -> Iterator[Playground]:
    with Playground() as running:
        yield running


def hardware_is_known(api) -> bool:
    try:
        found = api.find("/apis/podnuma.dev/v1alpha1/nodetopologies") or {"items": []}
    except ApiStatusError:  # just after its definition was created, a kind is not stored yet
        return False
    return sum("hardware" in one.get("status", {}) for one in found["items"]) == 2


@pytest.mark.timeout(300)
def test_the_walk_of_the_readme(playground):
    person = Person(playground)
    api = playground.cluster.api

    person.types("helm install")
    person.types("kubectl apply -f examples/inventory.yaml")
    until(lambda: hardware_is_known(api), "both nodes to report their hardware", 60)
    seen = person.types("kubectl podnuma nodes")
    assert [line.split()[0] for line in seen.splitlines()[1:]] == ["node-1", "node-2"]
    assert api.items("/apis/podnuma.dev/v1alpha1/podallocations") == []
    person.types("kubectl label node")
    person.types("kubectl apply -f examples/profiles/")
    until(lambda: "True" in person.types("kubectl get nodeprofiles,nodetopologies"), "a settled profile", 30)

    person.types("kubectl apply -f examples/pods/database.yaml")
    path = "/apis/podnuma.dev/v1alpha1/namespaces/default/podallocations/database"
    until(
        lambda: (api.find(path) or {}).get("status", {}).get("phase") == "Applied",
        "the pod to be applied",
        30,
    )
    listed = person.types("kubectl get podallocations").splitlines()
    assert listed[0].split() == [
        "NAME",
        "NODE",
        "SCOPE",
        "CPUS",
        "NUMA",
        "EXCLUSIVE",
        "SHARED",
        "PHASE",
        "AGE",
    ]
    assert listed[1].split()[:-1] == [
        "database",
        NODE,
        "pod",
        "2-5,50-53",
        "0",
        "2-4,50-52",
        "5,53",
        "Applied",
    ]
    explained = person.types("kubectl podnuma explain pod database")
    assert explained.startswith(f"pod default/database on {NODE}: Applied\n")
    assert "database           2-4,50-52" in explained
    assert "default/database: metrics-exporter, backup-agent" in person.types("kubectl podnuma map")

    person.types("kubectl apply -f examples/pods/too-large.yaml")
    until(
        lambda: "TopologyAffinityError" in person.types("kubectl get events"), "the event of the refusal", 30
    )
    why = person.types("kubectl podnuma explain -f examples/pods/too-large.yaml", status=1)
    assert "refused, TopologyAffinityError" in why
    assert "any one of these would make it fit\n  the budget: 12 CPU instead of 64\n" in why

    person.types("helm uninstall")
    assert api.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/podnuma-agent") is None
    left = api.get(path)
    assert left["status"]["phase"] == "Released"
    assert {group.cpus for group in containers_of(playground.nodes[NODE].cgroup_root, left).values()} == {
        frozenset()
    }
    others = {
        "make image",
        "make playground",
        "kubectl apply -k deploy/kustomize/base",
        "kubectl apply -k deploy/kustomize/cleanup",
    }
    left = [line for line in commands() if line not in person.done and not line.startswith(tuple(others))]
    assert left == ["kubectl delete -k deploy/kustomize/base"]


SESSION = """
set -e
kubectl get nodes --output name
helm list --all-namespaces --output json
helm install podnuma deploy/chart/podnuma -n podnuma-system --create-namespace --wait --timeout 60s \
    --set image.repository=registry.example/podnuma > /dev/null
helm test podnuma -n podnuma-system | tail -1
kubectl podnuma check --output json > /dev/null
kubectl -n podnuma-system delete pods --all > /dev/null
kubectl -n podnuma-system rollout status --timeout=60s daemonset/podnuma-agent | tail -1
"""


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("built")
def test_a_shell_in_the_playground_has_all_three_commands_and_takes_everything_with_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "testbed.playground"],
        check=False,
        input=SESSION,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split("\n\n")[-1].splitlines()
    assert said == [
        "node/node-1",
        "node/node-2",
        "[]",
        "Phase:          Succeeded",
        'daemon set "podnuma-agent" successfully rolled out',
    ]
    assert list(tmp_path.iterdir()) == []
