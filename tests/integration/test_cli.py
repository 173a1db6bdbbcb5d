"""The command line against a real API server: what it reads, and what it says when it may or can not."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.cli.exits import Exit

from testbed.api import ApiStatusError
from testbed.control_plane import ControlPlane
from testbed.waiting import until
from tests.integration.cli_runs import PODNUMA, ROOT, podnuma

if TYPE_CHECKING:
    from pathlib import Path

OURS = "/apis/podnuma.dev/v1alpha1"


def test_map_draws_what_the_cluster_holds(filled):
    done = podnuma("map", "node-a", kubeconfig=filled.kubeconfig)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "node-a  2 sockets · 8 NUMA nodes · 48 cores · 96 CPUs · 1 pod"
    assert lines[3:5] == ["    0-5  R A A  A a ·", "  48-53  R A A  A a ·"]


def test_map_of_all_nodes_for_programs(filled, namespace):
    done = podnuma("map", "-o", "json", kubeconfig=filled.kubeconfig)
    (node,) = json.loads(done.stdout)["items"]
    assert (node["name"], node["pods"]) == ("node-a", [{"namespace": namespace, "name": "database"}])


def test_explain_reads_pod_allocation_and_node(filled, namespace):
    done = podnuma("explain", "pod", "database", "-n", namespace, kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"pod {namespace}/database on node-a: Applied\n")
    assert "QoS class Guaranteed, budget 8 CPU, 16Gi memory" in done.stdout
    assert "PinnedAtStart" in done.stdout


def test_plan_decides_beside_what_is_held(filled):
    done = podnuma("plan", "-f", ROOT / "examples" / "pods" / "database.yaml", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1][:3] == ["default/database", "node-a", "admitted"]
    assert rows[1][3] == "6-9,54-57"


def test_plan_leaves_out_a_cordoned_node_and_says_so(filled):
    database = ROOT / "examples" / "pods" / "database.yaml"
    filled.kubectl("cordon", "node-a")
    done = podnuma("plan", "-f", database, kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.NO
    assert "\nnot considered: 1 node: 1 by cordon\n" in done.stdout
    filled.kubectl("uncordon", "node-a")

    def admitted() -> bool:
        # The taint of a cordon goes a moment after it.
        return podnuma("plan", "-f", database, kubeconfig=filled.kubeconfig).returncode == Exit.OK

    until(admitted, "the node to be open again", 30)


def test_a_limit_range_of_the_cluster_is_the_one_that_the_stored_pod_shows(filled, namespace, tmp_path):
    """What plan fills in is what the API server fills in when it is asked for a dry run of the same pod."""
    amounts = {"cpu": "1", "memory": "512Mi"}
    limits = {"type": "Container", "default": amounts, "defaultRequest": amounts}
    limit_range = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l", "namespace": namespace},
    }
    limit_range["spec"] = {"limits": [limits]}
    budget, main = {"cpu": "4", "memory": "2Gi"}, {"cpu": "3", "memory": "1Gi"}
    spec = {
        "resources": {"requests": budget, "limits": budget},
        "containers": [
            {"name": "kafka", "image": "i", "resources": {"requests": main, "limits": main}},
            {"name": "side", "image": "i"},
        ],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kafka", "namespace": namespace},
        "spec": spec,
    }
    file, both = tmp_path / "kafka.yaml", tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump(pod))
    both.write_text(yaml.safe_dump_all([limit_range, pod]))
    before = planned(filled, both)
    assert [one["assignment"]["cpu"] for one in planned(filled, file)] == ["pod_exclusive", "pod_shared"]
    filled.api.create(limit_range, namespace)
    stored = json.loads(filled.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(file)))
    assert stored["spec"]["containers"][1]["resources"] == {"requests": amounts, "limits": amounts}
    assert planned(filled, file) == before
    assert [one["assignment"]["cpu"] for one in before] == ["pod_exclusive", "pod_exclusive"]


def planned(cluster: ControlPlane, file: Path) -> list[dict[str, Any]]:
    """The containers of the one pod of a file, as they would be."""
    done = podnuma("plan", "-f", file, "-o", "json", kubeconfig=cluster.kubeconfig)
    (found,) = json.loads(done.stdout)["items"]
    assert found["allocation"], done.stderr
    containers: list[dict[str, Any]] = found["allocation"]["containers"]
    return containers


def test_a_dry_run_of_the_api_server_is_planned_with_and_compared(filled, namespace, tmp_path):
    """The API server refuses what is more than a quota leaves; without it the quota is counted here."""
    file = tmp_path / "pods.yaml"
    amounts = {"cpu": "2", "memory": "1Gi"}
    container = {"name": "web", "image": "i", "resources": {"requests": amounts, "limits": amounts}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    file.write_text(yaml.safe_dump(deployment))
    asked = ("plan", "-f", file, "--server-side")
    done = podnuma(*asked, kubeconfig=filled.kubeconfig)
    assert (done.returncode, "differs" in done.stderr) == (Exit.OK, False), done.stderr
    assert done.stdout.count(" admitted ") == 2
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "1"}}}
    filled.api.create({"apiVersion": "v1", "kind": "ResourceQuota", **quota}, namespace)

    def refused() -> subprocess.CompletedProcess[str] | None:
        found = podnuma(*asked, kubeconfig=filled.kubeconfig)
        return found if "exceeded quota: small" in found.stderr else None

    done = until(refused, "the quota to count", 30)
    assert done.returncode == Exit.INPUT
    assert "the API server refuses it: " in done.stderr
    done = podnuma("plan", "-f", file, kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.NO
    assert "/small refuses some pods: it has requests.cpu 0 left, they need 4" in done.stderr


def test_the_namespace_is_that_of_the_context(filled, namespace, tmp_path):
    content = yaml.safe_load(filled.kubeconfig.read_text())
    content["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump(content))
    done = podnuma("explain", "database", kubeconfig=kubeconfig)
    assert done.stdout.startswith(f"pod {namespace}/database on node-a: Applied\n"), done.stderr
    assert f"{namespace}/database" in podnuma("top", kubeconfig=kubeconfig).stdout
    assert "no pod holds anything" in podnuma("top", "-n", "default", kubeconfig=kubeconfig).stderr


def test_savings_need_nothing_of_podnuma(filled):
    done = podnuma("savings", "-A", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 pod looked at, 1 with a budget already")
    assert "usage is not known here" in done.stderr


def test_top_tells_what_is_decided_where_nothing_is_measured(filled, namespace):
    done = podnuma("top", "-A", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[1:5] for line in done.stdout.splitlines()]
    assert [f"{namespace}/database", "database", "pod_exclusive", "1-3,49-51"] in rows
    assert done.stderr == "CPU and MEMORY are not known: this cluster does not serve metrics.k8s.io\n"


def test_a_suggested_and_an_imported_profile_are_what_the_api_server_takes(filled, tmp_path):
    kubelet = tmp_path / "kubelet.yaml"
    kubelet.write_text(
        yaml.safe_dump(
            {
                "kind": "KubeletConfiguration",
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "cpuManagerPolicy": "static",
                "cpuManagerPolicyOptions": {"full-pcpus-only": "true"},
                "kubeReserved": {"cpu": "1", "memory": "1Gi"},
                "cpuCFSQuotaPeriod": "50ms",
                "maxPods": 110,
            }
        )
    )
    asked = (["suggest", "-l", "node-pool=databases"], ["import", kubelet, "-l", "node-pool=databases"])
    for number, words in enumerate(asked):
        done = podnuma("profile", *words, kubeconfig=filled.kubeconfig) if number == 0 else offline(*words)
        assert done.returncode == Exit.OK, done.stderr
        file = tmp_path / f"profile-{number}.yaml"
        file.write_text(done.stdout)
        stored = json.loads(filled.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(file)))
        assert stored["spec"]["mode"] == "Audit"
        assert stored["spec"]["nodeSelector"] == {"matchLabels": {"node-pool": "databases"}}


@pytest.mark.parametrize(("name", "near"), [("node-b", "; did you mean node-a?"), ("nothing-like-it", "")])
def test_no_profile_is_suggested_for_a_node_that_does_not_exist(filled, name, near):
    done = podnuma("profile", "suggest", name, kubeconfig=filled.kubeconfig)
    assert (done.returncode, done.stderr) == (Exit.NOT_FOUND, f"there is no Node {name}{near}\n")


def offline(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PODNUMA, "profile", *map(str, words)], check=False, capture_output=True, text=True, timeout=50
    )


def test_an_administrator_may_install_and_a_stranger_may_not(filled, namespace):
    filled.api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}, namespace
    )
    done = podnuma("check", "-o", "json", kubeconfig=filled.kubeconfig)
    found = {one["check"]: one for one in json.loads(done.stdout)["items"]}
    assert done.returncode == Exit.OK, done.stdout
    assert found["api-server"]["found"].startswith("v1.")
    assert {name: found[name]["state"] for name in ("api-server", "definitions", "rights")} == dict.fromkeys(
        ("api-server", "definitions", "rights"), "ok"
    )
    stranger = podnuma("check", "-o", "json", kubeconfig=filled.kubeconfig_for(namespace, "nobody"))
    found = {one["check"]: one for one in json.loads(stranger.stdout)["items"]}
    assert stranger.returncode == Exit.NO
    assert found["rights"]["state"] == "failed"
    assert "create daemonsets.apps" in found["rights"]["found"]
    assert found["runtimes"]["state"] == found["other-managers"]["state"] == "unknown"


def test_an_empty_cluster_says_where_topologies_come_from(clean_cluster):
    done = podnuma("map", kubeconfig=clean_cluster.kubeconfig)
    assert done.returncode == Exit.NOT_FOUND
    assert "there is no NodeTopology; the agent of a node makes it when it starts" in done.stderr


def test_a_cluster_without_podnuma_and_one_of_another_version_are_told_apart():
    with ControlPlane() as bare:
        assert podnuma("check", kubeconfig=bare.kubeconfig).stdout.count(" is not served yet") == 1
        done = podnuma("map", kubeconfig=bare.kubeconfig)
        assert done.returncode == Exit.NOT_SERVED
        assert done.stderr.startswith(
            "this cluster does not know nodetopologies.podnuma.dev: podnuma is not "
        )
        definition = yaml.safe_load((ROOT / "crds" / "nodetopologies.yaml").read_text())
        definition["spec"]["versions"][0]["name"] = "v2"
        bare.api.create(definition)
        until(lambda: _served(bare), "v2 to be served", 30)
        done = podnuma("map", kubeconfig=bare.kubeconfig)
        assert done.returncode == Exit.NOT_SERVED
        assert done.stderr.startswith("this cluster serves podnuma.dev in v2, this podnuma speaks v1alpha1; ")


def _served(cluster: ControlPlane) -> bool:
    try:
        return cluster.api.find("/apis/podnuma.dev/v2/nodetopologies") is not None
    except ApiStatusError:
        # 429 while the storage of a new definition is made.
        return False
