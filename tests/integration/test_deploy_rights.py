"""Rights are what is used: operator and agents run with the shipped accounts, and every right is needed once.

One life is played on a control plane that writes an audit log: pods come, do not fit, are evicted and go,
somebody edits a PodAllocation, the operator is replaced, a node goes. Then the log is held against the roles.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from podnuma.api.node_topology import registration

from testbed import dra
from testbed.api import Api, ApiStatusError
from testbed.control_plane import ControlPlane
from testbed.installation import NAMESPACE, SIMULATED_RIGHTS, Installation
from testbed.kwok import Kwok
from testbed.waiting import until

ROOT = Path(__file__).resolve().parents[2]
RBAC = ROOT / "deploy" / "rbac"
OURS = "/apis/podnuma.dev/v1alpha1"
CREATED = 201
# Only after a write that met somebody else's: no life has that for certain. The tests of API faults have.
AFTER_CONFLICTS = {("podnuma.dev", "podallocations", "get")}
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def log() -> list[dict[str, Any]]:
    """What the API server noted while podnuma lived through everything."""
    with ControlPlane(audit=True) as cluster:
        with Kwok(cluster) as kwok, Installation(cluster) as installation:
            live(cluster, kwok, installation)
        return cluster.end_audit_log()


def live(cluster: ControlPlane, kwok: Kwok, installation: Installation) -> None:
    """Play a life in which every right is needed."""
    api = cluster.api
    installation.install()
    cluster.apply_files(ROOT / "examples" / "profiles")
    for name in ("node-1", "node-2"):
        installation.add_node(kwok, name, "epyc7401-2s-8numa-16l3", {"node-pool": "databases"})
    # No profile selects it: its agent registers it.
    installation.add_node(kwok, "node-3", "epyc7401-2s-8numa-16l3", {"node-pool": "none"})
    # Its agent registered it, and the node went before an operator looked.
    api.create(registration("node-0"))
    installation.start_operator().wait_ready()
    for name in installation.nodes:
        installation.start_agent(name).wait_ready()
    api.create(dra.device_class("gpu.example.com"))
    api.create(dra.resource_slice("gpu.example.com", "node-1", {"gpu-0": 1}))
    api.create(dra.resource_claim("gpu", "default", "gpu.example.com"))
    database = yaml.safe_load((ROOT / "examples" / "pods" / "database.yaml").read_text())
    api.create(dra.use_claim(database, "gpu"))
    path = f"{OURS}/namespaces/default/podallocations/database"
    until(lambda: (api.find(path) or {}).get("status", {}).get("phase") == "Applied", "an applied pod", 30)

    cluster.apply_files(ROOT / "examples" / "pods" / "too-large.yaml")
    until(lambda: api.find(f"{PODS}/too-large") is None, "a pod that does not fit to be evicted", 30)

    api.create(workload_that_does_not_fit())
    until(lambda: any(is_marked(pod) for pod in api.items(PODS)), "a refused pod with its condition", 60)
    until(lambda: any(is_kept(event) for event in api.items(EVENTS)), "what is kept of its refusals", 60)
    api.delete("/apis/apps/v1/namespaces/default/deployments/too-large")

    edited = api.get(path)
    quota = edited["spec"]["podCPUQuota"]
    edited["spec"]["podCPUQuota"] = 1000
    api.request("PUT", path, edited)
    until(lambda: api.get(path)["spec"]["podCPUQuota"] == quota, "the edit to be undone", 30)

    installation.operator.terminate() if installation.operator else None
    installation.start_operator().wait_ready()
    api.delete(f"{PODS}/database", grace_seconds=0)
    until(lambda: api.find(path) is None, "the allocation to go with its pod", 30)

    api.create(orphan())
    until(lambda: api.find(f"{OURS}/namespaces/default/podallocations/orphan") is None, "an orphan to go", 30)

    installation.agents["node-2"].stop()
    api.merge("/api/v1/nodes/node-2", {"metadata": {"labels": {"node-pool": None}}})
    hardware_of("node-3", api)
    until(
        lambda: hardware_of("node-2", api)["spec"]["profile"]["name"] == "-",
        "settings that nobody wants to go",
        30,
    )
    until(lambda: api.find(f"{OURS}/nodetopologies/node-0") is None, "what a node left behind to go", 60)


def hardware_of(node: str, api: Api) -> dict[str, Any]:
    """The NodeTopology of a node whose agent has reported."""

    def reported() -> dict[str, Any] | None:
        found = api.find(f"{OURS}/nodetopologies/{node}") or {}
        return found if found.get("status", {}).get("hardware") else None

    return until(reported, f"the hardware of {node}", 30)


def workload_that_does_not_fit() -> dict[str, Any]:
    """A Deployment of the pod that is refused: of its replacements the later ones wait for their eviction."""
    pod = yaml.safe_load((ROOT / "examples" / "pods" / "too-large.yaml").read_text())
    labels = {"app": "too-large"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "too-large", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }


def is_marked(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "podnuma.dev/Admitted" for one in conditions)


def is_kept(event: dict[str, Any]) -> bool:
    """Tell whether an event takes the place of earlier ones, which is a right of its own."""
    return any(entry["operation"] == "Apply" for entry in event["metadata"].get("managedFields", []))


def orphan() -> dict[str, Any]:
    """A PodAllocation without a pod, as a backup that was restored may leave one."""
    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "PodAllocation",
        "metadata": {"name": "orphan", "namespace": "default"},
        "spec": {
            "podUID": "of-another-life",
            "nodeName": "node-1",
            "scope": "pod",
            "summary": {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "-"},
            "decision": {"admitted": True, "reason": "Admitted", "checksum": "c"},
        },
    }


def granted(*files: Path) -> set[Right]:
    """Every right that the roles of these files give."""
    found: set[Right] = set()
    for file in files:
        for manifest in yaml.safe_load_all(file.read_text()):
            for rule in manifest.get("rules", []):
                found |= {
                    (group, resource, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def used(log: list[dict[str, Any]], account: str) -> set[Right]:
    """Every right that an account made use of."""
    found: set[Right] = set()
    for entry in requests(log, account):
        reference = entry.get("objectRef")
        if reference is not None:
            resource = reference["resource"] + (
                f"/{reference['subresource']}" if "subresource" in reference else ""
            )
            group = reference.get("apiGroup", "")
            found.add((group, resource, entry["verb"]))
            if entry["verb"] == "patch" and entry["responseStatus"]["code"] == CREATED:
                # Server-side apply of what was not there needs both rights and is noted as one.
                found.add((group, resource, "create"))
    return found


def requests(log: list[dict[str, Any]], account: str) -> list[dict[str, Any]]:
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    return [entry for entry in log if entry["user"]["username"] == user]


@pytest.mark.parametrize("account", ["podnuma-operator", "podnuma-agent"])
def test_nothing_was_forbidden(log, account):
    refused: dict[str, int] = defaultdict(int)
    for entry in requests(log, account):
        if entry.get("responseStatus", {}).get("code") in (401, 403):
            refused[f"{entry['verb']} {entry['requestURI']}"] += 1
    assert requests(log, account)
    assert dict(refused) == {}


def test_the_operator_has_no_right_that_it_does_not_use(log):
    assert granted(RBAC / "operator.yaml") - used(log, "podnuma-operator") <= AFTER_CONFLICTS


def test_the_agents_have_no_right_that_they_do_not_use(log):
    assert granted(RBAC / "agent.yaml", SIMULATED_RIGHTS) - used(log, "podnuma-agent") == set()


def test_no_role_has_a_wildcard_or_touches_secrets():
    for group, resource, verb in granted(SIMULATED_RIGHTS, *RBAC.glob("*.yaml")):
        assert "*" not in (group, resource, verb)
        assert resource not in {"secrets", "serviceaccounts/token", "pods/exec", "nodes/proxy"}
        assert verb not in {"escalate", "bind", "impersonate", "deletecollection"}


def test_accounts_can_not_do_what_their_roles_do_not_say(control_plane):
    control_plane.apply_files(RBAC / "namespace.yaml")
    control_plane.apply_files(RBAC)
    with control_plane.api_for(NAMESPACE, "podnuma-agent") as agent:
        for path in ("/api/v1/secrets", "/api/v1/nodes", "/api/v1/namespaces"):
            with pytest.raises(ApiStatusError) as refusal:
                agent.get(path)
            assert refusal.value.code == 403
    control_plane.kubectl("delete", "-f", str(RBAC / "agent-policy.yaml"))
