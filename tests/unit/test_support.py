"""The page of supported versions names the versions that tests really run with, and no others."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "support.md").read_text()
MODULES = ROOT / "testbed" / "modules"
ORACLE = ROOT / "tests" / "conformance" / "oracle"
NRI = ROOT / "tests" / "integration" / "nri" / "runtime"


def pinned(file: Path, module: str) -> str:
    """The version that a go.mod pins."""
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", file.read_text(), re.MULTILINE)
    assert found, f"{file} does not name {module}"
    return found[1]


def row(name: str) -> str:
    """The second column of a row of the table."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return line.split("|")[2]


@pytest.mark.parametrize(
    ("name", "file", "module"),
    [
        ("API server", MODULES / "kubernetes" / "go.mod", "k8s.io/kubernetes"),
        ("kubelet", MODULES / "kubernetes" / "go.mod", "k8s.io/kubernetes"),
        ("the kubelet's decisions", ORACLE / "go137.mod", "k8s.io/kubernetes"),
        ("the kubelet's decisions", ORACLE / "go.mod", "k8s.io/kubernetes"),
        ("container runtime", MODULES / "containerd" / "go.mod", "github.com/containerd/containerd/v2"),
        ("NRI", NRI / "go.mod", "github.com/containerd/nri"),
        ("NRI", NRI / "nri08.mod", "github.com/containerd/nri"),
        ("devices", MODULES / "device-plugin" / "go.mod", "k8s.io/kubelet"),
        ("devices", MODULES / "dra-driver" / "go.mod", "k8s.io/dynamic-resource-allocation"),
        ("Helm", MODULES / "helm" / "go.mod", "helm.sh/helm/v4"),
        ("etcd, kwok", MODULES / "etcd" / "go.mod", "go.etcd.io/etcd/server/v3"),
        ("krew", MODULES / "krew" / "go.mod", "sigs.k8s.io/krew"),
        ("etcd, kwok", MODULES / "kwok" / "go.mod", "sigs.k8s.io/kwok"),
    ],
)
def test_the_versions_are_those_that_the_test_bed_pins(name, file, module):
    assert pinned(file, module) in row(name)


def test_what_is_needed_is_what_chart_and_package_ask_for():
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == ">=1.31.0-0"
    assert "| 1.31 or newer |" in PAGE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "| 3.11 or newer |" in PAGE


def test_another_python_than_that_of_an_environment_needs_a_folder_of_its_own(tmp_path):
    for folder, said in (("old/bin", "Python 3.11.0"), ("new/bin", "Python 3.13.0")):
        program = tmp_path / folder / "python"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {said}\n")
        program.chmod(0o755)

    def made(python, environment):
        words = [
            "make",
            "help",
            f"PYTHON={tmp_path / python / 'bin/python'}",
            f"VENV={tmp_path / environment}",
        ]
        return subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)

    assert "old has Python 3.11.0: name a folder for Python 3.13.0" in made("new", "old").stderr
    assert [made("new", folder).returncode for folder in ("old", "new", "none")] == [2, 0, 0]
