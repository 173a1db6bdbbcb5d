"""What an administrator and a pod see of the operator, on a real API server."""

from __future__ import annotations

import functools
import json
import re

import pytest
from podnuma.allocator import cpuset
from podnuma.cli.exits import Exit

from testbed.waiting import until
from tests.integration.cli_runs import podnuma
from tests.integration.operator_site import API, GROUP, SOON, machine, pod, profile

pytestmark = pytest.mark.timeout(120)

KUBELET = "Pod Scope pod with pod-level resources failed admission under pod-scope topology manager"

# Of the mirror of a static pod.
MIRROR = {"kubernetes.io/config.mirror": "0a1b", "kubernetes.io/config.hash": "0a1b"}


def mirror(site):
    """Return the metadata of the mirror that the kubelet of n1 makes of its static pod."""
    uid = site.api.get("/api/v1/nodes/n1")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True}
    return {"annotations": MIRROR, "ownerReferences": [owner]}


def test_cpus_of_a_deleted_pod_go_to_a_new_one(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("a", 6))
    site.create(pod("b", 6))
    assert {site.decided("a"), site.decided("b")} == {"1-3,9-11", "4-6,12-14"}
    freed = site.cpus("a")
    site.delete("a")
    site.gone("a")
    site.create(pod("c", 6))
    assert site.decided("c") == freed


def test_a_finished_pod_holds_nothing(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("a", 6))
    site.decided("a")
    site.finish("a")
    site.gone("a")
    assert site.pod("a") is not None


def test_describe_of_a_rejected_pod_says_what_to_do_next(site):
    site.furnish(onRejection="Share")
    site.report_hardware()
    site.create(pod("big", 9))
    assert site.decided("big") == "-"
    until(lambda: site.events("TopologyAffinityError"), "the event on the pod", SOON)
    told = site.cluster.kubectl("describe", "pod", "big", "-n", site.namespace)
    assert "needs 9 CPUs on one NUMA node; the largest has " in told
    assert "Fits with: pod cpu " in told
    assert "(on n1)" in told
    until(lambda: site.allocation("big")["status"]["phase"] == "Rejected", "phase Rejected", SOON)
    row = site.cluster.kubectl("get", "pa", "-n", site.namespace, "--no-headers").split()
    assert row[:7] == ["big", "n1", "pod", "-", "-", "-", "-"]
    assert row[7] == "Rejected"


def test_a_refused_pod_carries_a_condition_until_there_is_room(site):
    site.furnish(onRejection="Share")
    site.report_hardware()
    for name in ("a", "b", "c"):
        site.create(pod(name, 6))
        site.decided(name)
    told = until(lambda: admitted_condition(site, "c"), "the condition on c", SOON)
    assert told["status"] == "False"
    assert told["reason"] == "TopologyAffinityError"
    assert told["message"] == site.allocation("c")["spec"]["decision"]["explanation"]
    assert admitted_condition(site, "a") is None
    site.delete("a")
    until(lambda: admitted_condition(site, "c") is None, f"the condition to go\n{site.logs()}", SOON)
    managers = {entry["manager"] for entry in site.pod("c")["metadata"].get("managedFields", [])}
    assert "podnuma-operator" not in managers


def test_what_an_agent_finds_is_an_event_of_the_pod_that_kubectl_describes(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("a", 6))
    site.decided("a")
    condition = {
        "type": "Contended",
        "status": "True",
        "reason": "SomebodyElseWrites",
        "message": "container main: cpuset.cpus is 0-15; somebody else changed it 5 times within 9 s",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    path = f"{GROUP}/namespaces/{site.namespace}/podallocations/a/status"
    site.api.merge(path, {"status": {"conditions": [condition]}})
    told = until(lambda: site.events("Contended"), f"the event\n{site.logs()}", SOON)
    assert told == [condition["message"]]
    assert "somebody else changed it 5 times" in site.cluster.kubectl(
        "describe", "pod", "a", "-n", site.namespace
    )


def admitted_condition(site, name):
    conditions = site.pod(name)["status"].get("conditions", [])
    return next((one for one in conditions if one["type"] == "podnuma.dev/Admitted"), None)


def test_a_workload_is_explained_after_its_pods_were_evicted(site):
    """Nothing is left of the pods; the refusal is told about their ReplicaSet, once per node."""
    site.furnish()
    site.report_hardware()
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod("x", 9)["spec"]},
        },
    }
    site.api.create(body)
    until(lambda: len(site.events("Evicted")) > 1, f"two evictions\n{site.logs()}", 60)
    apps = f"/apis/apps/v1/namespaces/{site.namespace}"
    site.api.merge(f"{apps}/deployments/web", {"spec": {"replicas": 0}})
    pods = f"/api/v1/namespaces/{site.namespace}/pods"
    until(lambda: not site.api.items(pods), "all pods to go", 60)

    def kept():
        """Return the pod that the one kept event names; a pod refused later takes its place."""
        events = site.api.items(f"/api/v1/namespaces/{site.namespace}/events")
        about = [
            event
            for event in events
            if event["involvedObject"]["kind"] == "ReplicaSet" and event["reason"] == "TopologyAffinityError"
        ]
        assert len(about) == 1
        return about[0]["related"]["name"]

    def asked(*words):
        """Return the pod that was kept all the while that the question was asked, and the answer."""
        before = kept()
        done = podnuma(
            "explain", *(words or [before]), "-n", site.namespace, kubeconfig=site.cluster.kubeconfig
        )
        return (before, done) if kept() == before else None

    for words in (["deploy/web"], ["deployment", "web"], []):
        question = functools.partial(asked, *words)
        evicted, done = until(question, "an answer while no event comes", 60)
        assert f"{evicted} on n1" in done.stdout, done.stdout + done.stderr
        assert "TopologyAffinityError: needs 9 CPUs on one NUMA node" in done.stdout
        assert "the kubelet would say: " in done.stdout
    described = site.cluster.kubectl("describe", "replicaset", "-n", site.namespace)
    assert re.search(r"  needs 9 CPUs on one NUMA node; .* \(pod web-\S+ on n1\)\n", described)


def test_stateful_sets_and_jobs_are_explained_after_their_pods_were_evicted(site):
    """Pods of a StatefulSet have the name of the evicted one; a Job that has failed makes none any more."""
    site.furnish()
    site.report_hardware()
    spec = pod("x", 9)["spec"]
    chosen = {"selector": {"matchLabels": {"app": "data"}}}
    template = {"metadata": {"labels": {"app": "data"}}, "spec": spec}
    stateful_set = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "data"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}}
    once = {"backoffLimit": 0, "template": {"spec": {**spec, "restartPolicy": "Never"}}}
    site.create({**stateful_set, "spec": {"serviceName": "data", **chosen, "template": template}})
    site.create({**job, "spec": once})

    def kept():
        """Return the names of the refused pods, by the kind of their controller."""
        events = site.api.items(f"/api/v1/namespaces/{site.namespace}/events")
        about = [one for one in events if one["reason"] == "TopologyAffinityError" and "related" in one]
        found = {one["involvedObject"]["kind"]: one["related"]["name"] for one in about}
        return found if found.keys() >= {"StatefulSet", "Job"} else None

    refused = until(kept, f"refusals that are kept of both\n{site.logs()}", 60)
    asked = functools.partial(podnuma, kubeconfig=site.cluster.kubeconfig)
    cause = "TopologyAffinityError: needs 9 CPUs on one NUMA node; the largest has "
    # While its pods come and go: a refusal of the one before is told although one of that name is there.
    told = functools.partial(asked, "explain", "sts/data", "-n", site.namespace)
    until(lambda: cause in told().stdout, "the refusal of a pod of the StatefulSet", SOON)
    apps = f"/apis/apps/v1/namespaces/{site.namespace}"
    site.api.merge(f"{apps}/statefulsets/data", {"spec": {"replicas": 0}})
    path = f"/api/v1/namespaces/{site.namespace}/pods"
    until(lambda: not site.api.items(path), "all pods to go", 60)
    answers = {
        "sts/data": (Exit.OK, f"StatefulSet {site.namespace}/data: 0 pods, "),
        "job/once": (Exit.NO, f"Job {site.namespace}/once: 0 pods of 1, 1 refused within the last hour\n"),
        **{
            name: (Exit.NO, f"pod {site.namespace}/{name} is gone; it was refused\n")
            for name in refused.values()
        },
    }
    for name, (code, opening) in answers.items():
        done = asked("explain", name, "-n", site.namespace)
        assert (done.returncode, done.stdout[: len(opening)]) == (code, opening), done.stderr
        assert " on n1" in done.stdout
        assert cause in done.stdout
        assert f"    the kubelet would say: {KUBELET}\n" in done.stdout


def without_pool(name):
    """A pod of which one container wants the whole budget, so that nothing is left for the other."""
    value = pod(name, 4)
    value["spec"]["containers"][0]["resources"] = value["spec"]["resources"]
    return value


REFUSED = {
    "cpus": (
        pod("cpus", 9),
        "needs 9 CPUs on one NUMA node; the largest has 8 free. Fits with: pod cpu 8 and main cpu 7",
    ),
    "memory": (
        pod("memory", 4, memory="40Gi"),
        "needs 40Gi memory on one NUMA node; the largest has 31Gi free",
    ),
    "node": (pod("node", 15), "needs 15 CPUs; the node has 14 free"),
    # A budget of which slices leave nothing to share is no lack of room on a NUMA node.
    "greedy": (
        without_pool("greedy"),
        "containers with CPUs of their own take all 4 CPUs of the budget; none is left for side",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_cause_of_a_refusal_is_the_same_short_one_wherever_it_is_told(site, tmp_path, name):
    """In PodAllocation, condition, event and plan: cause first, what fits, amounts as people read them."""
    refused, cause = REFUSED[name]
    site.furnish(onRejection="Share")
    site.report_hardware()
    site.create(refused)
    assert site.decided(name) == "-"
    decision = site.allocation(name)["spec"]["decision"]
    assert decision["explanation"].startswith(cause)
    assert decision["message"] == KUBELET
    (message,) = until(lambda: site.events("TopologyAffinityError"), "the event on the pod", SOON)
    assert message == decision["explanation"] + " (on n1)"
    assert len(message) <= 250
    assert re.findall(r"\d{5,}|\d+Ki\b", message) == []
    told = until(lambda: admitted_condition(site, name), "the condition", SOON)
    assert told["message"] == decision["explanation"]
    site.delete(name)
    site.gone(name)
    file = tmp_path / "pod.yaml"
    tolerant = {**refused["spec"], "tolerations": [{"operator": "Exists"}]}
    file.write_text(json.dumps({**refused, "spec": tolerant}))
    words = ("plan", "-f", file, "-n", site.namespace, "-o", "json")
    done = podnuma(*words, kubeconfig=site.cluster.kubeconfig)
    (planned,) = json.loads(done.stdout)["items"]
    assert [one["explanation"] for one in planned["refusals"]] == [decision["explanation"]], done.stderr


def test_a_rejected_pod_is_evicted_as_far_as_its_disruption_budget_allows(site):
    site.furnish()
    site.report_hardware()
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all", "namespace": site.namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
    }
    site.api.create(budget)
    site.create(pod("big", 9, labels={"app": "x"}))
    # A pod that is not ready may always be evicted unless the budget says otherwise: make it ready.
    ready = [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]
    path = f"/api/v1/namespaces/{site.namespace}/pods/big/status"
    site.api.merge(path, {"status": {"phase": "Running", "conditions": ready}})
    until(lambda: site.events("EvictionBlocked") or site.pod("big") is None, "an eviction", SOON)
    site.api.delete(f"/apis/policy/v1/namespaces/{site.namespace}/poddisruptionbudgets/all")
    until(lambda: site.pod("big") is None, f"the eviction\n{site.logs()}", 60)
    site.gone("big")


def test_podallocations_changed_by_hand_come_back_with_an_event(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("db"))
    site.decided("db")
    before = site.allocation("db")["spec"]
    path = f"{GROUP}/namespaces/{site.namespace}/podallocations/db"
    site.api.merge(path, {"spec": {"cpus": "4-7,12-15", "memoryNodes": "1"}})
    until(lambda: site.allocation("db")["spec"] == before, f"the edit to be undone\n{site.logs()}", SOON)
    site.api.delete(path)
    (kept,) = until(lambda: site.events("Kept"), "an event about the deletion", SOON)
    assert "stays until the pod has ended" in kept
    assert site.allocation("db")["spec"] == before
    (restored,) = until(lambda: site.events("Restored"), "an event about the edit", SOON)
    assert "spec.cpus" in restored
    assert "4-7,12-15" in restored
    site.delete("db")
    site.gone("db")


def test_a_profile_that_does_not_fit_is_refused_by_name_field_and_value(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("db"))
    site.decided("db")
    site.api.apply(profile(reservedSystemCPUs="0,96"))
    refused = until(
        lambda: (
            site.condition("nodeprofiles", "main", "Ready").get("reason") == "NodesRefused"
            and site.condition("nodeprofiles", "main", "Ready")
        ),
        "the refusal",
        SOON,
    )
    for words in ("NodeProfile main", "node n1", "reservedSystemCPUs", "0,96", "drop 96"):
        assert words in refused["message"]
    told = site.cluster.kubectl("describe", "nodeprofile", "main")
    assert "Stalled" in told
    assert "drop 96" in told
    until(
        lambda: "still apply" in site.condition("nodetopologies", "n1", "SettingsValid").get("message", ""),
        "the NodeTopology to say which settings hold",
        SOON,
    )
    assert site.cpus("db") == "1-2,9-10"
    site.create(pod("next"))
    assert site.decided("next") == "4-5,12-13"


def test_conflicting_profiles_are_both_told_what_to_do(site):
    site.furnish()
    site.report_hardware()
    site.api.apply(profile("other"))
    for name in ("main", "other"):

        def in_conflict(name=name):
            return site.condition("nodeprofiles", name, "Conflict").get("status") == "True"

        until(in_conflict, f"the conflict of {name}", SOON)
        told = site.cluster.kubectl("describe", "nodeprofile", name)
        for words in ("main", "other", "equal spec.priority 0", "raise the priority"):
            assert words in told


def test_a_node_without_agent_says_so_on_profile_topology_and_pod(site):
    site.furnish()
    site.create(pod("db"))
    until(lambda: site.events("Undecided"), "the event on the pod", SOON)
    for kind, name in (("nodeprofile", "main"), ("nodetopology", "n1")):

        def described(kind=kind, name=name):
            return "check that the podnuma agent runs there" in site.cluster.kubectl("describe", kind, name)

        until(described, f"{kind} {name} to say what is missing", SOON)


def test_a_namespace_with_podallocations_can_be_deleted(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("db"))
    site.decided("db")
    site.cluster.kubectl("delete", "namespace", site.namespace, "--timeout=45s")
    assert site.api.find(f"/api/v1/namespaces/{site.namespace}") is None


def test_a_node_that_is_gone_takes_its_nodetopology_and_comes_back_new(site):
    site.furnish("n1", "n2")
    site.report_hardware("n1", "n2")
    before = site.api.get(f"{GROUP}/nodetopologies/n1")["metadata"]["uid"]
    site.api.delete("/api/v1/nodes/n1")
    until(lambda: site.api.find(f"{GROUP}/nodetopologies/n1") is None, "NodeTopology n1 to go", 30)
    site.add_node("n1")
    site.report_hardware("n1")
    found = site.api.get(f"{GROUP}/nodetopologies/n1")["metadata"]
    assert found["uid"] != before
    assert found["ownerReferences"][0]["uid"] == site.api.get("/api/v1/nodes/n1")["metadata"]["uid"]
    assert site.api.find(f"{GROUP}/nodetopologies/n2") is not None


def test_mirror_pods_of_static_pods_are_decided_and_never_evicted(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("static", **mirror(site)))
    site.create(pod("toobig", 9, **mirror(site)))
    assert site.decided("static") == "1-2,9-10"
    assert site.decided("toobig") == "-"
    spec = site.allocation("static")["spec"]
    assert (spec["podUID"], spec["uidOnNode"]) == (site.pod("static")["metadata"]["uid"], "0a1b")
    site.create(pod("evictable", 9))
    until(lambda: site.pod("evictable") is None, "the eviction of an ordinary pod", SOON)
    assert "deletionTimestamp" not in site.pod("toobig")["metadata"]


def test_the_deletion_of_a_mirror_pod_frees_nothing_and_the_next_mirror_finds_it(site):
    """Whoever deletes a mirror, its containers run on: a newcomer gets other CPUs."""
    site.furnish()
    site.report_hardware()
    site.create(pod("static", **mirror(site)))
    held, known = site.decided("static"), site.allocation("static")
    path = f"{GROUP}/namespaces/{site.namespace}/podallocations/static/status"
    site.api.merge(path, {"status": {"phase": "Applied"}})
    site.delete("static")
    site.create(pod("newcomer"))
    newcomer = site.decided("newcomer")
    assert not cpuset.parse(newcomer) & cpuset.parse(held)
    again = site.create(pod("static", **mirror(site)))["metadata"]["uid"]
    until(lambda: site.allocation("static")["spec"]["podUID"] == again, "the next mirror's record", SOON)
    assert (site.cpus("static"), site.cpus("newcomer")) == (held, newcomer)
    found = site.allocation("static")["metadata"]
    assert found["uid"] == known["metadata"]["uid"]
    assert "deletionTimestamp" not in found
    site.assert_sound()


def test_hardware_that_shrinks_under_a_pod_is_reported_and_takes_nothing(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("db"))
    site.decided("db")
    site.report_hardware(hardware=machine(cores=2, nodes=1))
    until(
        lambda: site.condition("nodetopologies", "n1", "SettingsValid").get("status") == "False",
        "the settings to be refused",
        SOON,
    )
    assert site.cpus("db") == "1-2,9-10"


def test_no_trace_of_the_operator_is_left_on_pods_nodes_and_namespaces(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("db"))
    site.decided("db")
    for found in (
        site.pod("db"),
        site.api.get("/api/v1/nodes/n1"),
        site.api.get(f"/api/v1/namespaces/{site.namespace}"),
    ):
        managers = {entry["manager"] for entry in found["metadata"].get("managedFields", [])}
        assert not any("podnuma" in manager or "kopf" in manager for manager in managers)
        assert "finalizers" not in found["metadata"]
    assert site.allocation("db")["metadata"]["finalizers"] == ["podnuma.dev/cgroup"]


def test_settings_edited_by_hand_under_a_profile_are_put_back(site):
    site.furnish()
    site.report_hardware()
    before = site.api.get(f"{GROUP}/nodetopologies/n1")["spec"]
    edit = {"spec": {"mode": "Audit", "podSelector": {"matchLabels": {"a": "b"}}}}
    site.api.merge(f"{GROUP}/nodetopologies/n1", edit)
    until(
        lambda: site.api.get(f"{GROUP}/nodetopologies/n1")["spec"] == before,
        f"the settings to be back\n{site.logs()}",
        SOON,
    )


def test_statuses_edited_by_hand_are_put_back(site):
    site.furnish(onRejection="Share")
    site.report_hardware()
    site.create(pod("db"))
    site.create(pod("big", 9))
    assert (site.decided("db"), site.decided("big")) == ("1-2,9-10", "-")
    edits = {
        f"{GROUP}/nodetopologies/n1": {"summary": {"exclusive": "all"}, "allocation": {"pods": 99}},
        f"{GROUP}/nodeprofiles/main": {"nodesMatched": 7, "conditions": []},
        f"{GROUP}/namespaces/{site.namespace}/podallocations/big": {"phase": "Applied"},
    }
    until(lambda: site.allocation("big").get("status", {}).get("phase") == "Rejected", "the refusal", SOON)
    until(lambda: told(site, f"{GROUP}/nodeprofiles/main").get("podsRejected") == 1, "the count", SOON)
    topology = f"{GROUP}/nodetopologies/n1"
    until(lambda: told(site, topology).get("allocation", {}).get("rejected") == 1, "the node's count", SOON)
    until(lambda: told(site, topology)["summary"]["exclusive"] == "4/14", "the node's summary", SOON)
    before = {path: told(site, path) for path in edits}
    for path, edit in edits.items():
        site.api.merge(f"{path}/status", {"status": edit})
    for path, known in before.items():
        back = functools.partial(lambda path, known: told(site, path) == known, path, known)
        until(back, f"the status of {path} to be put back\n{site.logs()}", SOON)


def told(site, path):
    """Return a status without the times of its conditions, in any order."""
    status = site.api.get(path).get("status", {})
    conditions = [{**one, "lastTransitionTime": ""} for one in status.get("conditions", [])]
    return {**status, "conditions": sorted(conditions, key=lambda one: one["type"])}


def test_settings_written_by_hand_hold_where_no_profile_wins(site):
    site.furnish(nodeSelector={"matchLabels": {"pool": "none"}})
    spec = {key: value for key, value in profile()["spec"].items() if key != "nodeSelector"}
    site.api.create({"apiVersion": API, "kind": "NodeTopology", "metadata": {"name": "n1"}, "spec": spec})
    site.report_hardware()
    site.create(pod("db"))
    assert site.decided("db") == "1-2,9-10"
    assert site.api.get(f"{GROUP}/nodetopologies/n1")["spec"]["profile"]["name"] == "-"
