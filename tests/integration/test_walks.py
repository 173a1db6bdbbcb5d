"""The walks of docs/command-line.md, command by command, by the people they are for.

The administrator's is the README's (`test_deploy_walk`). A tenant has `view` in a namespace; CI has the files
that somebody saved, and no cluster to ask.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from podnuma.cli.exits import Exit

from testbed.waiting import until
from tests.integration import helm_chart
from tests.integration.cli_runs import ROOT
from tests.integration.test_tenants import bind
from tests.shown_commands import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.control_plane import ControlPlane


def chapter(title: str) -> list[str]:
    """The command lines of one walk."""
    return shown(ROOT / "docs" / "command-line.md", title)


class Shell:
    """A shell with kubectl and podnuma on its PATH, in a folder that has the examples."""

    def __init__(self, cluster: ControlPlane, folder: Path, kubeconfig: Path | None) -> None:
        places = (cluster.tools["kubectl"].parent, Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
        self._folder = folder
        self._environment = {"PATH": path, "HOME": str(folder), "KUBECONFIG": str(kubeconfig or "")}
        if not (folder / "examples").exists():
            (folder / "examples").symlink_to(ROOT / "examples")

    def types(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self._environment,
            timeout=120,
        )


@pytest.fixture
def tenant(filled: ControlPlane, namespace: str, helm: Path, tmp_path: Path) -> Iterator[Shell]:
    rights = helm_chart.rendered(helm, options=("--show-only", "templates/view.yaml"))
    for one in rights:
        filled.api.apply(one)  # another test of this control plane may have left them
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}}
    filled.api.create(account, namespace)
    bind(filled, namespace, "tenant", "view", everywhere=False)
    yield Shell(filled, tmp_path, filled.kubeconfig_for(namespace, "tenant"))
    for one in rights:
        filled.kubectl("delete", one["kind"], one["metadata"]["name"])


def test_the_walk_of_a_tenant(tenant, namespace):
    lines = [line.replace("NAMESPACE", namespace) for line in chapter("A tenant")]
    until(lambda: tenant.types(lines[0]).returncode == 0, "rights of the tenant", 30)
    found = {line.split()[2]: tenant.types(line) for line in lines}
    assert {name: done.returncode for name, done in found.items()} == dict.fromkeys(
        ("podallocations", "explain", "top", "savings"), Exit.OK
    )
    assert "database" in found["podallocations"].stdout
    assert found["explain"].stdout.startswith(f"pod {namespace}/database on node-a: Applied\n")
    assert "12%" in found["top"].stdout
    assert found["savings"].stdout.startswith("1 pod looked at, 1 with a budget already")
    for verb in ("nodes", "map"):
        done = tenant.types(f"kubectl podnuma {verb}")
        assert done.returncode == Exit.FORBIDDEN
        assert "kubectl auth can-i list nodetopologies.podnuma.dev" in done.stderr


def test_the_walk_of_ci_without_a_cluster(filled, tmp_path):
    lines = chapter("CI without a cluster")
    administrator = Shell(filled, tmp_path, filled.kubeconfig)
    for line in lines[:2]:
        done = administrator.types(line)
        assert done.returncode == 0, done.stderr
    ci = Shell(filled, tmp_path, None)
    fits, some = (ci.types(line) for line in lines[2:])
    assert fits.returncode == Exit.OK, fits.stderr
    assert fits.stdout.splitlines()[1].split()[:4] == ["default/database", "node-a", "admitted", "6-9,54-57"]
    assert some.returncode == Exit.NO
    answer = json.loads((tmp_path / "plan.json").read_text())
    results = {one["name"]: one["result"] for one in answer["items"]}
    assert results == {"database": "admitted", "ml-training": "pending", "too-large": "refused"}
    assert answer["summary"]["refused"] == answer["summary"]["pending"] == 1
    (tmp_path / "bad.yaml").write_text("apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: a}\n")
    strict = ci.types(lines[2].replace("examples/pods/database.yaml", "bad.yaml"))
    assert strict.returncode == Exit.INPUT
    assert ci.types("podnuma nodes").returncode == Exit.UNREACHABLE
