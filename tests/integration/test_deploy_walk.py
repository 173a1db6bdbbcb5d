"""The walk of the README, command by command, in the cluster of `make playground`.

A person installs the chart, looks at the hardware, tries a profile in Audit, enforces it, asks, breaks a pod,
reads why, and uninstalls. The commands are taken from the README itself and run by a shell with kubectl, helm
and podnuma on its PATH.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.api import ApiStatusError
from testbed.cgroups import containers_of
from testbed.cleanup import no_definition_is_left
from testbed.installation import NAMESPACE
from testbed.playground.cluster import Playground
from testbed.waiting import until
from tests.shown_commands import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Api

ROOT = Path(__file__).resolve().parents[2]
NODE = "node-1"
OURS = "/apis/podnuma.dev/v1alpha1"
RBAC = "rbac.authorization.k8s.io/v1"
README = ROOT / "README.md"


def commands() -> list[str]:
    """The command lines of the README's chapter on installing, in order."""
    return shown(README, "Install")


class Person:
    """Runs command lines in a shell, in a folder with the project's files, against the playground."""

    def __init__(self, playground: Playground, folder: Path) -> None:
        self._playground = playground
        self._environment = playground.environment()
        self.folder = folder
        for name in ("deploy", "examples"):
            (folder / name).symlink_to(ROOT / name)
        self.done: list[str] = []

    def types(self, line: str, status: int = 0, more: str = "") -> str:
        """Run the README's line that starts so, with `more` at its end, and return what it prints."""
        (whole,) = [command for command in commands() if command.startswith(line)]
        self.done.append(whole)
        done = subprocess.run(
            ["bash", "-c", f"{whole.replace('NODE', NODE)} {more}"],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            timeout=120,
        )
        assert done.returncode == status, f"{whole}\n{done.stdout}{done.stderr}"
        return done.stdout

    @property
    def api(self) -> Api:
        """The cluster, for what a test asks of it."""
        return self._playground.cluster.api

    def database(self) -> dict[str, Any]:
        """The PodAllocation of the example; empty if there is none."""
        return self.api.find(f"{OURS}/namespaces/default/podallocations/database") or {}

    def written(self) -> set[frozenset[int]]:
        """All CPU lists that the containers of the example have in the kernel."""
        root = self._playground.nodes[NODE].cgroup_root
        return {group.cpus for group in containers_of(root, self.database()).values()}


@pytest.fixture
def playground() -> Iterator[Playground]:
    with Playground() as running:
        yield running


def reported(api: Api) -> bool:
    """Whether the NodeTopology that the agent made has the hardware and the operator's word on it."""
    try:
        found = api.find(f"{OURS}/nodetopologies/{NODE}") or {}
    except ApiStatusError:  # just after its definition was created, a kind is not stored yet
        return False
    status = found.get("status", {})
    return bool(status.get("hardware")) and any(
        (one["type"], one["reason"]) == ("Ready", "NoProfile") for one in status["conditions"]
    )


def rows(table: str) -> list[dict[str, str]]:
    """The lines of a table by their heads, up to the first empty one."""
    heads, *lines = [line.split() for line in table.partition("\n\n")[0].splitlines()]
    return [dict(zip(heads, line, strict=False)) for line in lines]


def reason(allocation: dict[str, Any]) -> str:
    """The reason of the condition Ready of a PodAllocation."""
    conditions = allocation.get("status", {}).get("conditions", [])
    return next((one["reason"] for one in conditions if one["type"] == "Ready"), "")


@pytest.mark.timeout(500)
def test_the_walk_of_the_readme(playground, tmp_path):
    person = Person(playground, tmp_path)
    installs_and_looks_at_the_hardware(person)
    decided = audits(person)
    assert enforces(person) == decided
    reads_why_a_pod_does_not_fit(person)
    leaves(person)
    comes_and_leaves_without_helm(person)
    others = ("make image", "make playground")
    assert [line for line in commands() if line not in person.done and not line.startswith(others)] == []


def installs_and_looks_at_the_hardware(person: Person) -> None:
    assert re.search(r"^installed +absent +", person.types("kubectl podnuma check"), re.MULTILINE)
    person.types("kubectl create namespace")
    person.types("kubectl label namespace")
    person.types("helm install")
    until(lambda: reported(person.api), "the agent to report the hardware", 60)
    nodes = rows(person.types("kubectl podnuma nodes"))
    shown = {one["NODE"]: (one["NUMA"], one["LARGEST-FREE"], one["READY"]) for one in nodes}
    assert shown[NODE] == ("8", "-", "NoProfile")
    person.types("kubectl label node")
    person.types("kubectl podnuma profile suggest")
    suggested = yaml.safe_load((person.folder / "databases.yaml").read_text())
    assert (suggested["spec"]["mode"], suggested["spec"]["reservedSystemCPUs"]) == ("Audit", "0,48")


def audits(person: Person) -> Any:
    """See what would change, while nothing does; return what is decided."""
    planned = rows(person.types("kubectl podnuma plan", status=1))
    assert (planned[0]["POD"], planned[0]["RESULT"]) == ("default/database", "admitted")
    assert person.api.items(f"{OURS}/nodeprofiles") == []
    person.types("kubectl apply -f databases.yaml")
    person.types("kubectl apply -f examples/pods/database.yaml")
    until(lambda: reason(person.database()) == "Audit", "the pod to be decided, and nothing written", 30)
    assert person.database()["status"]["phase"] == "Audit"
    would = person.types("kubectl podnuma explain database")
    assert "decided, nothing is written as mode is Audit" in would
    assert "database           pod_exclusive   1-3,49-51" in would
    table = person.types("kubectl podnuma top", status=1).splitlines()
    differs = {line.split()[2]: line.partition("kernel has ")[2] for line in table if "kernel has" in line}
    assert differs == dict.fromkeys(("database", "metrics-exporter", "backup-agent"), "0-95")
    assert person.written() == {frozenset()}
    return person.database()["spec"]


def enforces(person: Person) -> Any:
    """Let it be so, and read what the pod has got; return what is decided then."""
    person.types("sed")
    until(lambda: "True" in person.types("kubectl get nodeprofiles,nodetopologies"), "a settled profile", 30)
    until(lambda: person.database().get("status", {}).get("phase") == "Applied", "the pod to be applied", 30)
    head, *listed = [line.split() for line in person.types("kubectl get podallocations").splitlines()]
    assert head == ["NAME", "NODE", "SCOPE", "CPUS", "NUMA", "EXCLUSIVE", "SHARED", "PHASE", "AGE"]
    assert [line[:-1] for line in listed] == [
        ["database", NODE, "pod", "1-4,49-52", "0", "1-3,49-51", "4,52", "Applied"]
    ]
    explained = person.types("kubectl podnuma explain pod database")
    assert explained.startswith(f"pod default/database on {NODE}: Applied\n")
    assert "database           1-3,49-51" in explained
    assert "default/database: metrics-exporter, backup-agent" in person.types("kubectl podnuma map")
    return person.database()["spec"]


def reads_why_a_pod_does_not_fit(person: Person) -> None:
    person.types("kubectl apply -f examples/pods/too-large.yaml")
    until(
        lambda: "TopologyAffinityError" in person.types("kubectl get events"), "the event of the refusal", 30
    )
    why = person.types("kubectl podnuma explain -f examples/pods/too-large.yaml", status=1)
    assert "refused, TopologyAffinityError" in why
    assert "any one of these would make it fit\n  the budget: 12 CPU instead of 64\n" in why


def leaves(person: Person) -> None:
    person.types("helm uninstall")
    assert person.api.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/podnuma-agent") is None
    assert person.database()["status"]["phase"] == "Uninstalled"
    for topology in person.api.items(f"{OURS}/nodetopologies"):
        conditions = {one["type"]: one for one in topology["status"]["conditions"]}
        ready = conditions["Ready"]
        assert (ready["status"], ready["reason"]) == ("Unknown", "Uninstalled")
    assert person.written() == {frozenset()}
    person.types("kubectl delete crd", more="--wait=false")
    until(lambda: no_definition_is_left(person.api), "the definitions to go", 120, 1)
    person.types("kubectl delete namespace")


def cluster_wide_rights(api: Api) -> set[tuple[str, str]]:
    """The cluster roles and their bindings, by kind and name."""
    kinds = ("clusterroles", "clusterrolebindings")
    return {(kind, one["metadata"]["name"]) for kind in kinds for one in api.items(f"/apis/{RBAC}/{kind}")}


def comes_and_leaves_without_helm(person: Person) -> None:
    before = cluster_wide_rights(person.api)
    person.types("kubectl apply -k deploy/kustomize/base")
    until(lambda: reported(person.api), "the agent to report the hardware", 60)
    person.types("kubectl apply -k deploy/kustomize/cleanup")
    person.types("kubectl -n podnuma-system wait")
    (ready,) = (
        one
        for one in person.api.get(f"{OURS}/nodetopologies/{NODE}")["status"]["conditions"]
        if one["type"] == "Ready"
    )
    assert (ready["status"], ready["reason"]) == ("Unknown", "Uninstalled")
    person.types("kubectl delete -k deploy/kustomize/cleanup")
    person.types("kubectl delete -k deploy/kustomize/base", more="--wait=false")
    until(lambda: no_definition_is_left(person.api), "the definitions to go", 120, 1)
    assert cluster_wide_rights(person.api) == before


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
    assert done.stdout.startswith("starting etcd, "), "nobody waits before a silent screen"
    said = done.stdout.split("\n\n")[-1].splitlines()
    assert said == [
        "node/node-1",
        "node/node-2",
        "[]",
        "Phase:          Succeeded",
        'daemon set "podnuma-agent" successfully rolled out',
    ]
    assert list(tmp_path.iterdir()) == []
