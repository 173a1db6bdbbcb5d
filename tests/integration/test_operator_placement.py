"""Placement with a real API server, scheduler and admission policy: what users see."""

from __future__ import annotations

import re
import subprocess

import pytest
from podnuma.api.placement import render_lifted_gate

from testbed.api import ApiStatusError
from testbed.waiting import until
from tests.integration.cli_runs import podnuma
from tests.integration.helm_chart import ROOT
from tests.integration.operator_site import GROUP, SOON, pod
from tests.integration.placement_site import (
    GATE,
    bound,
    furnish,
    gated,
    gated_pod,
    gates,
    placing_site,
    unbound,
)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def operating(crds, helm, tmp_path_factory):
    with placing_site(crds, "default", tmp_path_factory.mktemp("placement"), helm) as found:
        found.start(None, "--placement")
        yield found


def test_a_pod_is_bound_to_the_node_that_was_reserved_for_it(site, kwok):
    furnish(site, kwok, "n1", "n2")
    site.create(unbound("a", 6))
    assert bound(site, "a") in {"n1", "n2"}
    assert gates(site.pod("a")) == []
    assert until(lambda: site.events("Allocated"), "the event", SOON)
    site.assert_sound()


def test_pods_that_would_be_refused_find_the_node_that_holds_them(site, kwok):
    """Each node has room for 14 CPUs, but for two pods of 6 only: the scheduler alone would try a third."""
    furnish(site, kwok, "n1", "n2")
    for number in range(4):
        site.create(unbound(f"p{number}", 6))
    assert sorted(bound(site, f"p{number}") for number in range(4)) == ["n1", "n1", "n2", "n2"]
    site.create(unbound("late", 6))
    (told,) = until(lambda: site.events("WaitsForNode"), "the event", SOON)
    assert "0 of 2 nodes can hold it now (" in told
    assert gated(site) == ["late"]
    site.delete("p0")
    bound(site, "late")
    assert site.events("TopologyAffinityError") == []
    site.assert_sound()


def test_the_policy_leaves_pods_alone_that_podnuma_does_not_place(site, kwok):
    furnish(site, kwok, "n1")
    plain = unbound("plain")
    del plain["spec"]["resources"]
    assert gates(site.create(plain)) == []
    daemon = unbound("daemon")
    daemon["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "0", "controller": True}
    ]
    assert gates(site.create(daemon)) == []
    assert gates(site.create(pod("fixed", 4, on="n1"))) == []
    asks = unbound("asks", labels={"podnuma.dev/managed": "true"})
    del asks["spec"]["resources"]
    assert gates(site.create(asks)) == [GATE]
    bound_there = until(lambda: site.pod("asks")["spec"].get("nodeName"), "asks to be bound", SOON)
    assert bound_there == "n1"
    system = unbound("system")
    system["metadata"]["namespace"] = "kube-system"
    path = "/api/v1/namespaces/kube-system/pods?dryRun=All"
    assert gates(site.api.request("POST", path, system)) == []


def test_gates_of_others_are_joined_by_ours_and_waited_for(site, kwok):
    furnish(site, kwok, "n1")
    value = unbound("a")
    value["spec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    assert sorted(gates(site.create(value))) == ["example.com/quota", GATE]
    site.create(unbound("b"))
    bound(site, "b")
    assert site.allocation("a") is None
    path = f"/api/v1/namespaces/{site.namespace}/pods/a"
    site.api.merge(path, {"spec": {"schedulingGates": [{"name": GATE}]}})
    bound(site, "a")


@pytest.mark.parametrize(
    ("name", "patch", "words"),
    [
        ("ours", {"metadata": {"labels": {"team": "mine"}}}, "no metadata"),
        ("ours", {"metadata": {"annotations": {"a": "b"}}}, "no metadata"),
        ("ours", {"spec": {"schedulingGates": [{"name": GATE}]}}, "no scheduling gate but"),
        ("ours", {"spec": {"activeDeadlineSeconds": 1}}, "no images, tolerations or deadlines"),
        ("theirs", {"spec": {"nodeSelector": {"pool": "b"}}}, "of no pod where it may run but"),
        ("theirs", {"spec": {"schedulingGates": None}}, "no scheduling gate but"),
    ],
)
def test_with_the_operators_token_nothing_of_a_pod_changes_but_our_gate(site, name, patch, words):
    """RBAC lets it patch any pod; the policy of the chart says what."""
    value = gated_pod(name) if name == "ours" else unbound(name)
    others = {"name": "example.com/quota"}
    value["spec"]["schedulingGates"] = [*value["spec"].get("schedulingGates", []), others]
    value["metadata"]["labels"] = {"podnuma.dev/managed": "false"}
    if name == "theirs":
        del value["spec"]["resources"]
    site.create(value)
    path = f"/api/v1/namespaces/{site.namespace}/pods/{name}"
    with site.cluster.api_for("podnuma-system", "podnuma-operator") as operator:
        with pytest.raises(ApiStatusError) as refusal:
            operator.merge(path, patch)
        assert (refusal.value.code, words in refusal.value.message) == (403, True), refusal.value
        if name == "ours":
            # Lifting the gate is what it may do, and may be sent twice.
            for _ in range(2):
                operator.request(
                    "PATCH",
                    path,
                    render_lifted_gate(site.pod(name)["metadata"]["uid"]),
                    content_type="application/strategic-merge-patch+json",
                )
            assert gates(site.pod(name)) == ["example.com/quota"]


def test_a_pod_that_no_node_can_ever_take_is_left_to_the_scheduler(site, kwok):
    furnish(site, kwok, "n1")
    value = unbound("a")
    value["spec"]["nodeSelector"] = {"pool": "none"}
    site.create(value)
    until(lambda: gated(site) == [], f"its gate to go\n{site.logs()}", SOON)
    assert site.allocation("a") is None


def test_an_unfit_pod_is_released_for_the_autoscaler_to_see(site, kwok):
    furnish(site, kwok, "n1", whenNothingFits="Release")
    value = unbound("big", 9)
    value["spec"]["affinity"] = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "Exists"}]}]
            }
        }
    }
    site.create(value)

    def unschedulable():
        conditions = site.pod("big")["status"].get("conditions", [])
        return [one for one in conditions if one.get("reason") == "Unschedulable"]

    until(unschedulable, f"the scheduler to call it unschedulable\n{site.logs()}", SOON)
    until(lambda: site.events("ReleasedUnplaced"), f"the event\n{site.logs()}", SOON)
    # A node that is added takes it.
    kwok.add_node("n2", cpus=16, memory=64 * 2**30, labels={"pool": "a"})
    until(lambda: site.pod("big")["spec"].get("nodeName") == "n2", "it to be bound to n2", 30)


def test_a_pod_deleted_while_gated_leaves_nothing(site, kwok):
    furnish(site, kwok, "n1")
    site.create(unbound("a", 6))
    site.create(unbound("b", 6))
    bound(site, "a")
    bound(site, "b")
    site.create(unbound("c", 6))
    until(lambda: site.events("WaitsForNode"), "c to wait", SOON)
    site.delete("c")
    site.delete("a")
    site.gone("a")
    site.create(unbound("d", 6))
    bound(site, "d")
    assert sorted(site.allocations()) == ["b", "d"]


def test_a_node_cordoned_before_the_binding_is_not_insisted_on(site, kwok):
    furnish(site, kwok, "n1", "n2")
    site.api.merge("/api/v1/nodes/n1", {"spec": {"unschedulable": True}})
    until(lambda: site.api.get("/api/v1/nodes/n1")["spec"].get("unschedulable"), "the cordon", SOON)
    for number in range(3):
        site.create(unbound(f"p{number}", 6))
    until(lambda: len(gated(site)) == 1 and site.events("WaitsForNode"), "one to wait", SOON)
    site.api.merge("/api/v1/nodes/n1", {"spec": {"unschedulable": None}})
    nodes = sorted(bound(site, f"p{number}", 30) for number in range(3))
    assert nodes == ["n1", "n2", "n2"]


def test_get_nodeprofiles_shows_that_pods_are_placed(site, kwok):
    furnish(site, kwok, "n1")
    head, line = site.cluster.kubectl("get", "nodeprofiles").splitlines()
    assert "PLACEMENT" in head
    assert " BeforeBinding " in line

    def placing():
        return site.condition("nodeprofiles", "main", "Placement").get("status") == "True"

    until(placing, "the condition", SOON)


def test_get_pa_and_explain_show_what_is_reserved(site, kwok):
    furnish(site, kwok, "n1")
    value = unbound("held", 6)
    # Nothing but a volume that nobody provides keeps it from its node; that is the scheduler's to know.
    value["spec"]["volumes"] = [{"name": "x", "persistentVolumeClaim": {"claimName": "none"}}]
    site.create(value)
    found = until(lambda: site.allocation("held"), f"the reservation\n{site.logs()}", SOON)
    assert found["spec"]["decision"]["reason"] == "Reserved"
    explained = podnuma("explain", "held", "-n", site.namespace, kubeconfig=site.cluster.kubeconfig)
    assert explained.stdout.startswith(
        f"pod {site.namespace}/held is not bound yet; reserved for it on n1: CPUs "
    )
    assert "NODE " in explained.stdout
    path = f"{GROUP}/namespaces/{site.namespace}/podallocations/held"
    site.delete("held")
    until(lambda: site.api.find(path) is None, "the reservation to go", 30)


def test_release_gates_lets_waiting_pods_go(site, kwok):
    furnish(site, kwok, "n1", onRejection="Share")
    site.create(unbound("big", 9))
    until(lambda: site.events("WaitsForNode"), "it to wait", SOON)
    words = ["release-gates", "--namespace", site.namespace]
    told = podnuma(*words, "--dry-run", kubeconfig=site.cluster.kubeconfig)
    assert told.stdout == f"{site.namespace}/big\n", told.stderr
    assert gated(site) == ["big"]
    done = podnuma(*words, kubeconfig=site.cluster.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert "1 pod released" in done.stderr
    until(lambda: site.pod("big")["spec"].get("nodeName") == "n1", "the scheduler to bind it", SOON)
    until(lambda: site.cpus("big") == "-", "it to be refused as without placement", SOON)


def test_the_command_in_the_documentation_lets_all_pods_go(site, kwok, tmp_path):
    page = (ROOT / "docs" / "placement.md").read_text()
    (line,) = re.findall(r"^\$ (kubectl get pods -A .*)$", page, re.MULTILINE)
    furnish(site, kwok, "n1", onRejection="Share")
    for name in ("big", "huge"):
        site.create(unbound(name, 9))
    until(lambda: len(site.events("WaitsForNode")) == 2, "both to wait", SOON)
    (tmp_path / "kubectl").symlink_to(site.cluster.tools["kubectl"])
    surroundings = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "KUBECONFIG": str(site.cluster.kubeconfig),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["/bin/sh", "-c", line], check=False, env=surroundings, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert gated(site) == []
