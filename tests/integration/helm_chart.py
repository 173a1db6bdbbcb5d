"""helm and the chart, as the tests of the chart use them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from testbed.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "chart" / "podnuma"
SYSTEM = "podnuma-system"
IMAGE = "image.repository=localhost/podnuma"
# kwok's nodes get agents only where somebody asks for that.
ON_KWOK = "agent.excludedNodes.type={virtual-kubelet}"
# What the Prometheus operator's definitions would be needed for.
FOREIGN = {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
EVERYTHING = CHART / "ci" / "everything-values.yaml"


def run(helm: Path, *arguments: str, cluster: ControlPlane | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm, on a cluster if one is given."""
    kubeconfig = ["--kubeconfig", str(cluster.kubeconfig)] if cluster else []
    return subprocess.run(
        [helm, *arguments, *kubeconfig], check=False, capture_output=True, text=True, timeout=50
    )


def rendered(helm: Path, *values: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the manifests of a release called podnuma, with these values set."""
    sets = [part for value in (IMAGE, *values) for part in ("--set", value)]
    done = run(helm, "template", "podnuma", str(CHART), "--namespace", SYSTEM, *sets, *options)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def refusal(helm: Path, *values: str) -> str:
    """Return what helm says to values that it does not render."""
    sets = [part for value in values for part in ("--set", value)]
    done = run(helm, "template", "podnuma", str(CHART), "--namespace", SYSTEM, *sets)
    assert done.returncode != 0
    return done.stderr.splitlines()[-3] if "execution error" in done.stderr else done.stderr


def workloads(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pod of each workload, by the workload's name."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in manifests
        if manifest["kind"] in {"Deployment", "DaemonSet", "Job"}
    }


def one(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the one manifest of this kind and name."""
    (found,) = [
        manifest for manifest in manifests if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found
