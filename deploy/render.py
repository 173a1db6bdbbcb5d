"""Write the plain manifests below `deploy/` from the chart: one source, three ways to install.

    deploy/rbac               accounts, rights and the agents' admission policy alone
    deploy/kustomize/base     everything
    deploy/kustomize/cleanup  the job that gives all nodes back, to be run before `kubectl delete -k base`

Run as `python deploy/render.py --helm HELM` after a change of the chart; a test compares.
What only Helm can use (its labels and hooks) is taken out; comments stay.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
CHART = DEPLOY / "chart" / "podnuma"
NAMESPACE = "podnuma-system"
# What `make image` calls it; an overlay's `images` puts the real one in its place.
IMAGE = "localhost/podnuma"

_HELM_LINES = re.compile(
    r"^\s*(helm\.sh/[a-z-]+:.*|app\.kubernetes\.io/managed-by: Helm|# Source: .*)\n", re.MULTILINE
)
_EMPTY_ANNOTATIONS = re.compile(r"^( *)annotations:\n(?!\1 )", re.MULTILINE)

RBAC = {
    "operator.yaml": "operator-rbac.yaml",
    "agent.yaml": "agent-rbac.yaml",
    "agent-policy.yaml": "agent-policy.yaml",
}
BASE = (
    "crds.yaml",
    "operator-rbac.yaml",
    "agent-rbac.yaml",
    "agent-policy.yaml",
    "view.yaml",
    "operator.yaml",
    "agent.yaml",
    "networkpolicy.yaml",
    "quota.yaml",
)
CLEANUP = ("cleanup.yaml",)

_NAMESPACE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/part-of: podnuma
    # The agent mounts folders of its node and sees its processes.
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/warn: privileged
"""


def rendered(helm: Path) -> dict[Path, str]:
    """Return every plain manifest by its path below `deploy/`."""
    rbac, base, cleanup = Path("rbac"), Path("kustomize/base"), Path("kustomize/cleanup")
    files = {rbac / name: template(helm, source) for name, source in RBAC.items()}
    files |= {base / name: template(helm, name) for name in BASE}
    files |= {cleanup / name: template(helm, name) for name in CLEANUP}
    files[rbac / "namespace.yaml"] = files[base / "namespace.yaml"] = _NAMESPACE
    files[base / "kustomization.yaml"] = _kustomization(["namespace.yaml", *BASE])
    files[cleanup / "kustomization.yaml"] = _kustomization(CLEANUP)
    return files


def template(helm: Path, name: str) -> str:
    """Render one template with default values, without what is Helm's own."""
    argv = [
        str(helm),
        "template",
        "podnuma",
        str(CHART),
        "--namespace",
        NAMESPACE,
        "--show-only",
        f"templates/{name}",
        "--set",
        f"image.repository={IMAGE}",
    ]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    text = _EMPTY_ANNOTATIONS.sub("", _HELM_LINES.sub("", done.stdout))
    return re.sub(r"\n{2,}", "\n", text).removeprefix("---\n")


def _kustomization(resources: list[str] | tuple[str, ...]) -> str:
    listed = "".join(f"  - {name}\n" for name in resources)
    return f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{listed}"


def main() -> int:
    """Write the manifests; with --check only say which are out of date."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--helm", type=Path, required=True, help="the helm program")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if one is out of date")
    options = parser.parse_args()
    stale = 0
    for path, text in rendered(options.helm).items():
        target = DEPLOY / path
        if target.is_file() and target.read_text() == text:
            continue
        stale += 1
        sys.stdout.write(f"{path}\n")
        if not options.check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
