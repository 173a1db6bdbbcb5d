"""`make e2e-kind` as far as it can be checked without Docker: its script, its cluster, what it misses."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "kind" / "run.sh"


def test_the_script_is_good_shell():
    checks = [["bash", "-n", str(SCRIPT)]]
    if shutil.which("shellcheck"):
        checks.append(["shellcheck", str(SCRIPT)])
    for check in checks:
        done = subprocess.run(check, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert os.access(SCRIPT, os.X_OK)


def test_without_its_tools_it_says_which_one(tmp_path):
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        [SCRIPT], check=False, capture_output=True, text=True, env={"PATH": str(tmp_path)}, timeout=20
    )
    assert done.returncode == 2
    assert done.stderr == "make e2e-kind needs docker: install it and put it on PATH\n"


def calls(tmp_path, clusters="", **env):
    """Run the script with tools that only write down how they were called."""
    log = tmp_path / "calls"
    for tool in ("docker", "kind", "kubectl", "helm", "busybox", "python", "make"):
        answer = f'[ "$1 $2" != "get clusters" ] || echo "{clusters}"' if tool == "kind" else ":"
        (tmp_path / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>{log}\n{answer}\n')
        (tmp_path / tool).chmod(0o755)
    archive = tmp_path / "image.tar"
    archive.touch()
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(
        [SCRIPT],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": path, "IMAGE_TAR": str(archive), **env},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def test_a_cluster_is_made_as_described_used_with_both_images_and_deleted(tmp_path):
    made = calls(tmp_path, CLUSTER="/some/cluster.yaml", PATIENCE="20m")
    (created,) = [call for call in made if call.startswith("kind create cluster")]
    assert "--config /some/cluster.yaml" in created
    assert created.endswith("--wait 20m")
    (loaded,) = [call for call in made if call.startswith("kind load image-archive")]
    assert loaded.split()[3:5] == [str(tmp_path / "image.tar"), str(ROOT / "dist" / "e2e-busybox.tar")]
    assert made[-1] == "kind delete cluster --name podnuma"
    assert "NODE=" in made[-2]
    waited = [call for call in made if "--timeout" in call]
    assert len(waited) == 4
    assert all("20m" in call for call in waited)


def test_a_cluster_that_was_there_is_used_and_stays(tmp_path):
    made = calls(tmp_path, clusters="podnuma")
    assert not [call for call in made if call.startswith(("kind create", "kind delete"))]
    assert [call for call in made if call.startswith("kind export kubeconfig --name podnuma")]


def test_the_cluster_of_another_is_not_taken_for_it(tmp_path):
    made = calls(tmp_path, clusters="podnuma-other")
    assert [call for call in made if call.startswith("kind create cluster --config")]


def test_a_cluster_is_left_for_who_asks(tmp_path):
    assert not [call for call in calls(tmp_path, KEEP="1") if call.startswith("kind delete")]


def test_the_image_it_loads_is_the_one_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"reference=localhost/podnuma:{version}\n" in SCRIPT.read_text()


def test_the_cluster_has_a_worker_that_the_example_profile_selects():
    cluster = yaml.safe_load((SCRIPT.parent / "cluster.yaml").read_text())
    profile = yaml.safe_load((ROOT / "examples" / "profiles" / "databases.yaml").read_text())
    workers = [node for node in cluster["nodes"] if node["role"] == "worker"]
    assert [node["labels"] for node in workers] == [profile["spec"]["nodeSelector"]["matchLabels"]]
    assert cluster["featureGates"] == {"PodLevelResources": True}


def test_chart_and_package_have_one_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
