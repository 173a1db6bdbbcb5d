"""The walk of the README, command by command, on a cluster that knows nothing of podnuma yet.

A person installs the chart, applies the profiles, runs a pod, asks, breaks one, reads why, and uninstalls.
The commands are taken from the README itself and run by a shell with kubectl, helm and podnuma on its PATH.
Only what a kubelet would do is done by the test: it starts the processes of the pods that the chart made,
with the arguments of their manifests, on a node that is a folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed.control_plane import ControlPlane
from testbed.installation import NAMESPACE, SIMULATED_RIGHTS, Installation
from testbed.kwok import Kwok
from testbed.program import Program
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
    """Runs command lines in a shell, in the project's folder, against one cluster."""

    def __init__(self, cluster: ControlPlane, helm: Path) -> None:
        places = (cluster.tools["kubectl"].parent, helm.parent, Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
        self._environment = {"PATH": path, "HOME": str(cluster.folder), "KUBECONFIG": str(cluster.kubeconfig)}
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
def installation(kwok: Any) -> Iterator[Installation]:
    """An empty cluster with one node that looks like a two-socket server. (`kwok` makes sure it is built.)"""
    del kwok
    with ControlPlane() as cluster, Kwok(cluster) as own, Installation(cluster) as made:
        made.add_node(own, NODE, "epyc7401-2s-8numa-16l3")
        yield made


def as_a_kubelet_would(installation: Installation) -> None:
    """Start the operator and the agent as their pods say, with the accounts that the chart made."""
    apps = f"/apis/apps/v1/namespaces/{NAMESPACE}"
    operator = _container(installation, f"{apps}/deployments/podnuma-operator")["args"]
    agent = _container(installation, f"{apps}/daemonsets/podnuma-agent")["args"]
    node = installation.nodes[NODE]
    places = {
        "--cgroup-root": node.cgroup_root,
        "--kubelet-root": node.folder / "kubelet",
        "--run-root": node.folder / "run",
        "--runtime": "simulated",
    }
    fitted = [f"{key}={places.get(key, value)}" if value else key for key, _, value in _split(agent)]
    extra = [f"--node-name={NODE}", f"--sys-root={node.sys_root}", f"--proc-root={node.proc_root}"]
    # Containers come from pods here, so the agent must be allowed to read those.
    installation.cluster.apply_files(SIMULATED_RIGHTS)
    for name, arguments, bound in (("operator", operator, None), ("agent", [*fitted, *extra], NODE)):
        kubeconfig = installation.cluster.kubeconfig_for(NAMESPACE, f"podnuma-{name}", node=bound)
        program = Program(
            name, [*arguments, f"--kubeconfig={kubeconfig}"], installation.folder / f"{name}.log"
        )
        installation._stack.callback(program.stop)
        program.start().wait_ready()


def _container(installation: Installation, path: str) -> dict[str, Any]:
    (container,) = installation.cluster.api.get(path)["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def _split(arguments: list[str]) -> list[tuple[str, str, str]]:
    return [argument.partition("=") for argument in arguments]


@pytest.mark.timeout(300)
def test_the_walk_of_the_readme(installation, helm):
    person = Person(installation.cluster, helm)
    api = installation.cluster.api

    person.types("helm install")
    as_a_kubelet_would(installation)
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
    others = {
        "make image",
        "kubectl apply -k deploy/kustomize/base",
        "kubectl apply -k deploy/kustomize/cleanup",
    }
    left = [line for line in commands() if line not in person.done and not line.startswith(tuple(others))]
    assert left == ["kubectl delete -k deploy/kustomize/base"]
