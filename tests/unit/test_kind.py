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
