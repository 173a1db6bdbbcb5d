"""Releases of the chart on a cluster that knows nothing of podnuma: profiles, upgrades, other names, leaving.

No operator and no agent runs: kwok makes pods ready and jobs complete. What is tested is what Helm does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.cleanup import DEFINITIONS, no_definition_is_left
from testbed.control_plane import ControlPlane
from testbed.kwok import Kwok
from testbed.waiting import until
from tests.integration.helm_chart import CHART, IMAGE, ON_KWOK, ROOT, SYSTEM, rendered, run
from tests.integration.test_walks import Shell
from tests.shown_commands import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPS = f"/apis/apps/v1/namespaces/{SYSTEM}"
DEFINITIONS_GONE = 200  # seconds
NAMESPACES = "/api/v1/namespaces"
PROFILES = "/apis/podnuma.dev/v1alpha1/nodeprofiles"
LABELS = {
    "linux": {},
    "virtual": {"type": "virtual-kubelet"},
    "fargate": {"eks.amazonaws.com/compute-type": "fargate"},
    "windows": {"kubernetes.io/os": "windows"},
}

pytestmark = pytest.mark.timeout(500)


class Releases:
    """helm on a cluster, with the values that every release here needs."""

    def __init__(self, helm: Path, cluster: ControlPlane) -> None:
        self._helm = helm
        self.cluster = cluster

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run helm and return how it went."""
        return run(self._helm, *words, cluster=self.cluster)

    def does(self, *words: str) -> str:
        """Run helm, which must go well."""
        done = self.types(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, verb: str, *options: str, release: str = f"podnuma/{SYSTEM}", chart: Path = CHART) -> str:
        """Install or upgrade a release of the chart."""
        return self.does(*self.words(verb, *options, release=release, chart=chart))

    def words(
        self, verb: str, *options: str, release: str = f"podnuma/{SYSTEM}", chart: Path = CHART
    ) -> tuple[str, ...]:
        """The command line of `put`."""
        name, namespace = release.split("/")
        create = ("--create-namespace",) if verb == "install" else ()
        sets = ("--set", IMAGE, "--set", ON_KWOK)
        return (verb, name, str(chart), "--namespace", namespace, *create, *sets, *options)

    def definitions(self) -> dict[str, Any]:
        """The specs of podnuma's definitions by name."""
        return {found["metadata"]["name"]: found["spec"] for found in self.cluster.api.items(DEFINITIONS)}

    def profiles(self) -> dict[str, int]:
        """The priority of each profile by its name."""
        return {
            found["metadata"]["name"]: found["spec"]["priority"] for found in self.cluster.api.items(PROFILES)
        }


@pytest.fixture(scope="module")
def cluster(kwok: Any) -> Iterator[ControlPlane]:
    """A cluster of four nodes, one of which can be managed. (`kwok` makes sure that it is built.)"""
    del kwok
    with ControlPlane() as running, Kwok(running) as own:
        for name, labels in LABELS.items():
            own.add_node(name, cpus=8, memory=2**34, labels=labels)
        yield running


@pytest.fixture
def releases(helm: Path, cluster: ControlPlane) -> Iterator[Releases]:
    made = Releases(helm, cluster)
    yield made
    for line in made.does("list", "--all-namespaces", "--no-headers").splitlines():
        if line:
            name, namespace = line.split()[:2]
            made.does("uninstall", name, "--namespace", namespace, "--no-hooks")
    for found in cluster.api.items(DEFINITIONS):
        cluster.api.delete(f"{DEFINITIONS}/{found['metadata']['name']}")
    until(lambda: no_definition_is_left(cluster.api), "the definitions to go", DEFINITIONS_GONE, 1)


def profile_values(folder: Path, **priorities: int) -> str:
    """A file of values with these profiles."""
    selector = {"matchLabels": {"node-pool": "none"}}
    listed = [
        {"name": name, "spec": {"nodeSelector": selector, "priority": priority}}
        for name, priority in priorities.items()
    ]
    file = folder / "profiles.yaml"
    file.write_text(yaml.safe_dump({"profiles": listed}))
    return f"--values={file}"


def test_profiles_of_the_values_live_with_the_release(releases, tmp_path):
    releases.put("install", profile_values(tmp_path, first=1, second=2))
    assert releases.profiles() == {"first": 1, "second": 2}
    releases.put("upgrade", profile_values(tmp_path, first=10, second=2))
    assert releases.profiles() == {"first": 10, "second": 2}
    releases.put("upgrade", profile_values(tmp_path, second=3, third=4))
    assert releases.profiles() == {"second": 3, "third": 4}
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    assert releases.profiles() == {}


def test_profiles_of_a_first_installation_go_with_it(releases, tmp_path):
    releases.put("install", profile_values(tmp_path, first=1))
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    assert releases.profiles() == {}


def test_an_upgrade_that_changes_no_profile_leaves_it_alone(releases, tmp_path):
    def identity() -> dict[str, str]:
        return {
            found["metadata"]["uid"]: found["metadata"]["generation"]
            for found in releases.cluster.api.items(PROFILES)
        }

    releases.put("install", profile_values(tmp_path, first=1, second=2))
    at_first = identity()
    for _ in range(2):
        releases.put("upgrade", profile_values(tmp_path, first=1, second=2))
        assert identity() == at_first
    releases.put("upgrade", profile_values(tmp_path, first=1, second=20))
    assert releases.profiles() == {"first": 1, "second": 20}


def test_a_rollback_to_the_first_installation_has_its_profiles(releases, tmp_path):
    releases.put("install", profile_values(tmp_path, first=1))
    releases.put("upgrade", profile_values(tmp_path, first=10, second=2))
    releases.does("rollback", "podnuma", "1", "--namespace", SYSTEM)
    assert releases.profiles() == {"first": 1}


def test_another_release_takes_over_what_an_uninstall_left(releases):
    releases.put("install")
    releases.cluster.apply_files(ROOT / "examples" / "profiles")
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    assert len(releases.definitions()) == 3

    refused = releases.types(*releases.words("install", release="numa/elsewhere"))
    assert "invalid ownership metadata" in refused.stderr
    releases.put("install", "--take-ownership", release="numa/elsewhere")
    assert sorted(releases.profiles()) == ["databases", "training"]
    deployments = releases.cluster.api.items("/apis/apps/v1/namespaces/elsewhere/deployments")
    assert [found["metadata"]["name"] for found in deployments] == ["numa-podnuma-operator"]
    releases.put("upgrade", release="numa/elsewhere")


def test_helm_takes_over_what_kubectl_installed(releases):
    base = str(ROOT / "deploy" / "kustomize" / "base")
    releases.cluster.kubectl("apply", "--server-side", "-k", base)
    releases.cluster.apply_files(ROOT / "examples" / "profiles")
    releases.put("install", "--take-ownership", "--force-conflicts")
    assert sorted(releases.profiles()) == ["databases", "training"]
    operator = releases.cluster.api.get(f"{APPS}/deployments/podnuma-operator")
    assert operator["metadata"]["annotations"]["meta.helm.sh/release-name"] == "podnuma"
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    assert not releases.cluster.api.items(f"{APPS}/deployments")


def test_a_second_release_is_refused_while_the_first_one_runs(releases):
    releases.put("install")
    refused = releases.types(*releases.words("install", "--take-ownership", release="second/elsewhere"))
    assert refused.returncode != 0
    assert (
        "podnuma already runs in this cluster, as release podnuma of namespace podnuma-system"
        in refused.stderr
    )
    assert "helm uninstall podnuma --namespace podnuma-system" in refused.stderr
    assert (
        releases.cluster.api.find("/apis/apps/v1/namespaces/elsewhere/deployments/second-podnuma-operator")
        is None
    )


def test_an_upgrade_brings_the_definitions_along(releases, helm, tmp_path):
    older = tmp_path / "podnuma"
    shutil.copytree(CHART, older)
    for file in (older / "files" / "crds").glob("*.yaml"):
        definition = yaml.safe_load(file.read_text())
        del definition["spec"]["versions"][0]["additionalPrinterColumns"][-1]
        file.write_text(yaml.safe_dump(definition))
    releases.put("install", chart=older)
    of_old = releases.definitions()
    releases.put("upgrade")
    shipped = {
        found["metadata"]["name"]: found["spec"]["versions"]
        for found in rendered(helm)
        if found["kind"] == "CustomResourceDefinition"
    }
    for name, spec in releases.definitions().items():
        assert spec["versions"] != of_old[name]["versions"]
        assert columns(spec["versions"]) == columns(shipped[name])


def columns(versions: list[dict[str, Any]]) -> list[str]:
    return [column["name"] for version in versions for column in version["additionalPrinterColumns"]]


def test_definitions_handed_to_somebody_else_stay(releases):
    releases.put("install")
    releases.cluster.apply_files(ROOT / "examples" / "profiles")
    releases.put("upgrade", "--set", "crds.enabled=false")
    assert len(releases.definitions()) == 3
    assert len(releases.profiles()) == 2


def test_without_keep_the_definitions_and_all_objects_go(releases):
    releases.put("install", "--set", "crds.keep=false")
    releases.cluster.apply_files(ROOT / "examples" / "profiles")
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    until(lambda: no_definition_is_left(releases.cluster.api), "the definitions to go", DEFINITIONS_GONE, 1)


def test_after_leaving_nothing_is_left(releases):
    releases.put("install")
    releases.does("test", "podnuma", "--namespace", SYSTEM)
    releases.does("uninstall", "podnuma", "--namespace", SYSTEM)
    # As the chart's README says.
    releases.cluster.kubectl("delete", "crd", "--wait=false", *releases.definitions())
    until(lambda: no_definition_is_left(releases.cluster.api), "the definitions to go", DEFINITIONS_GONE, 1)
    until(lambda: not left(releases.cluster), "everything of podnuma to be gone", DEFINITIONS_GONE)


def test_the_commands_of_the_charts_page(releases, helm, tmp_path):
    """A first release, its end, and another one that takes over what is left, as the page has them."""
    api = releases.cluster.api
    shell = Shell(releases.cluster, tmp_path, releases.cluster.kubeconfig)
    releases.cluster.kubectl("create", "namespace", "other")
    made = api.find(f"{NAMESPACES}/{SYSTEM}") is not None  # by another test of this cluster
    for line in shown(CHART / "README.md"):
        if made and line.startswith("kubectl create namespace"):
            continue
        typed = line.replace("NEW", "numa").replace("ELSEWHERE", "other").replace("CHART", str(CHART))
        ends = line.startswith("kubectl delete crd")
        more = f"--set {ON_KWOK}" if line.startswith("helm install") else "--wait=false" if ends else ""
        done = shell.types(f"PATH={helm.parent}:$PATH; {typed} {more}")
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if ends:
            until(lambda: no_definition_is_left(api), "the definitions to go", DEFINITIONS_GONE, 1)
    deployments = api.items("/apis/apps/v1/namespaces/other/deployments")
    assert [found["metadata"]["name"] for found in deployments] == ["numa-podnuma-operator"]


def left(cluster: ControlPlane) -> list[str]:
    """Everything on the cluster with podnuma in its name that Kubernetes did not make or pass by itself."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    try:
        listed = cluster.kubectl(
            "get", ",".join(kinds), "--all-namespaces", "--output=name", "--ignore-not-found"
        )
    except RuntimeError as error:
        return [str(error)]  # a kind went between the two questions
    passing = ("namespace/", "event", "pod/", "controllerrevision")
    return [name for name in listed.splitlines() if "podnuma" in name and not name.startswith(passing)]


def test_agents_run_on_nodes_that_can_be_managed_only(releases):
    releases.put("install")
    agents = f"{APPS}/daemonsets/podnuma-agent"
    until(lambda: releases.cluster.api.get(agents).get("status", {}).get("numberReady") == 1, "one agent", 30)
    pods = releases.cluster.api.items(
        f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector="app.kubernetes.io/component=agent"
    )
    assert [pod["spec"]["nodeName"] for pod in pods] == ["linux"]
    # By default not on kwok's nodes either.
    releases.put("upgrade", "--set", "agent.excludedNodes.type={virtual-kubelet,kwok}")
    until(lambda: releases.cluster.api.get(agents)["status"]["desiredNumberScheduled"] == 0, "no agent", 30)


def served(cluster: ControlPlane, plural: str) -> bool:
    """Tell whether the API server names a resource of podnuma's in its discovery."""
    found = cluster.api.get("/apis/podnuma.dev/v1alpha1")
    return plural in {resource["name"] for resource in found["resources"]}


def asks(cluster: ControlPlane, folder: Path) -> tuple[int, list[str]]:
    """Run the script of `helm test` as its job does, with the rights of its account: exit code and lines."""
    (folder / "token").write_text(cluster.token(SYSTEM, "podnuma-test-account"))
    shutil.copy(cluster.ca_file, folder / "ca.crt")
    _, host, port = cluster.server.replace("//", "").split(":")
    names = (f"--namespace={SYSTEM}", "--operator=podnuma-operator", "--agent=podnuma-agent")
    done = subprocess.run(
        [sys.executable, "-I", CHART / "files" / "test.py", *names, "--timeout=2", f"--account={folder}"],
        check=False,
        capture_output=True,
        text=True,
        env={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
        timeout=50,
    )
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_helm_test_says_whether_podnuma_is_ready(releases, helm, tmp_path):
    releases.put("install", "--wait")
    said = releases.does("test", "podnuma", "--namespace", SYSTEM)
    assert "Phase:          Succeeded" in said
    suites = [line.split()[2] for line in said.splitlines() if line.startswith("TEST SUITE:")]
    assert "podnuma-test-ready" in suites
    assert len(suites) == len(set(suites)) == 5, "each is told from the others"
    api = releases.cluster.api
    for manifest in rendered(helm):
        if manifest["metadata"]["name"].startswith("podnuma-test-") and manifest["kind"] != "Job":
            api.apply(manifest, SYSTEM)
    assert asks(releases.cluster, tmp_path) == (
        0,
        ["ok    definitions: served", "ok    operator: 2 of 2 replicas ready", "ok    agents: 1 of 1 ready"],
    )
    api.merge(f"{APPS}/deployments/podnuma-operator", {"spec": {"replicas": 0}})
    api.delete(f"{APPS}/daemonsets/podnuma-agent")
    # Not deleted: the API server may take minutes to finish the deletion of a definition.
    stop = {"op": "replace", "path": "/spec/versions/0/served", "value": False}
    releases.cluster.kubectl(
        "patch", "crd", "nodeprofiles.podnuma.dev", "--type=json", f"--patch={json.dumps([stop])}"
    )
    until(lambda: not served(releases.cluster, "nodeprofiles"), "the definition to be served no longer", 60)
    assert asks(releases.cluster, tmp_path) == (
        1,
        [
            "FAIL  definitions: nodeprofiles not served; install with crds.enabled=true",
            "FAIL  operator: not ready; see kubectl -n podnuma-system describe deployment podnuma-operator",
            "FAIL  agents: no DaemonSet podnuma-system/podnuma-agent; was it deleted?",
        ],
    )


def test_notes_warn_where_no_agent_may_start(releases):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    releases.cluster.api.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}}
    )
    notes = releases.put("install", "--dry-run=server", release="podnuma/strict")
    assert 'namespace strict enforces Pod Security "restricted"' in notes
    assert "WARNING" not in releases.put("install", "--dry-run=server", release="podnuma/default")
